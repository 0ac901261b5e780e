import pytest
from msgspec.structs import replace

from backpropdbg.console.render import harmless, render_stop
from backpropdbg.situation import Situation

BASE = Situation(
    4, 3, "backward", "BackwardUse", "middle_linear#2 of 3", "DynamicNet", 41.87, 0, "SGD", "middle_linear.weight",
    (5, 5), (0, 1), (), (), (), (), "running sum", (), None, ("Use #2's gradient arrived.", "Cancelled."),
)  # fmt: skip


def test_stop() -> None:
    assert render_stop(BASE) == ("iteration 3  BACKWARD  middle_linear#2 of 3\nUse #2's gradient arrived.\nCancelled.")


def test_what_is_displayed_comes_last() -> None:
    shown = replace(BASE, proof="bit for bit as before the backward", displays=("use = 2", "uses = 3"))
    assert render_stop(shown).splitlines()[-3:] == [
        "Weights: bit for bit as before the backward.",
        "use = 2",
        "uses = 3",
    ]


def test_nothing_that_a_terminal_obeys_gets_through():
    text = "a\x1b[2Jb\x07\x9bc\x7f\td\n\u00e9 \u2026\ud800"
    assert harmless(text) == "a?[2Jb??c?\td\n\u00e9 \u2026\ud800"


@pytest.mark.parametrize("reason", ["breakpoint 1", "watchpoint 12", "step", "until update", ""])
def test_a_stop_says_which_breakpoint_it_is_of(reason: str) -> None:
    line = render_stop(replace(BASE, reason=reason)).splitlines()[0]
    named = f"({reason})" if reason[-1:].isdigit() else ""
    assert line == f"iteration 3  BACKWARD  middle_linear#2 of 3 {named}".rstrip()
