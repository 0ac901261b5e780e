"""`up` and `down` select a frame of the program's; `display` shows expressions at each stop."""

import inspect
import re

import pytest
import torch
from playing import play, said


def train(lr: float) -> None:
    torch.manual_seed(0)
    here = "train"
    model = Net()
    stepper = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(2):
        stepper.zero_grad()
        model(torch.ones(2, 3)).sum().backward()
        stepper.step()
    assert here == "train"


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        here = "forward"
        out = self.layer(x)
        assert here == "forward"
        return out


def program() -> None:
    train(0.25)


def line_of(text: str) -> str:
    lines = inspect.getsource(inspect.getmodule(program)).splitlines()
    return f"test_frames.py:{1 + next(n for n, line in enumerate(lines) if text in line)}"


CALL, FORWARD, BACKWARD = line_of("model(torch.ones"), line_of("self.layer(x)"), line_of(".sum().backward()")


def test_print_list_and_where_follow_the_selected_frame():
    lines = ["until forward", "p here", "up", "p here, lr", "where", "list", "down", "p here", "c"]
    told = said(play(program, *lines))
    assert told[1:4] == ["'forward'", f"{CALL} train", "('train', 0.25)"]
    marked = [line for line in told[4].splitlines() if line.startswith(">")]
    assert marked == [f"> {CALL} train"] and f"\n  {FORWARD} forward" in told[4]
    assert re.search(r"(?m)^> *(\d+) .*model\(torch\.ones", told[5])[1] == CALL.rpartition(":")[2]
    assert told[6:8] == [f"{FORWARD} forward", "'forward'"]


def test_the_source_of_the_situation_follows_until_the_next_stop():
    drawn = []

    def look(debugger):
        debugger._redraw = drawn.append

    seen = play(program, "until forward", "up", "s", "where", "c", look=look)
    assert [f"test_frames.py:{s.source.line}" for s in drawn] == [CALL]
    assert f"test_frames.py:{seen.situations[0].source.line}" == FORWARD
    assert not re.search(r"(?m)^[> ] ", seen.said[3].text)


def test_ours_win_in_any_frame():
    assert said(play(program, "until backward layer.weight", "up", "p use", "c"))[2] == "1"


def test_in_backward_the_first_frame_is_the_one_that_called_backward():
    told = said(play(program, "until backward layer.weight", "list", "up", "down", "list", "c"))
    assert told[2] == f"{line_of('train(0.25)')} program"
    assert told[3] == f"{BACKWARD} train"
    shown = [re.search(r"(?m)^> *(\d+)", text)[1] for text in (told[1], told[4])]
    assert shown == [FORWARD.rpartition(":")[2], BACKWARD.rpartition(":")[2]]


def test_beyond_the_ends_there_is_no_frame():
    seen = play(program, "until forward", "down", *["up"] * 200, "c")
    failed = [r.text for r in seen.said if not r.ok]
    assert failed[0] == f"{FORWARD} forward: this is the innermost frame"
    assert failed[-1].endswith(": this is the outermost frame")


def test_displays_are_in_the_situation_of_each_stop():
    lines = ["display iteration * 100", "display use", "until backward layer.weight", "undisplay 1", "c"]
    seen = play(program, *lines)
    assert said(seen)[:2] == ["1: iteration * 100 = 100", "2: use = 1"]
    assert seen.situations[0].displays == ("iteration * 100 = 100", "use = 1")
    assert seen.said[3].text == "no longer displayed: iteration * 100"


def test_display_lists_and_redraws():
    drawn = []

    def look(debugger):
        debugger._redraw = drawn.append

    seen = play(program, "display", "display 1 + 1", "display nonsense", "display", "undisplay 2", "display", look=look)
    told = said(seen)
    assert told[0] == "nothing is displayed"
    assert told[3].startswith("1: 1 + 1 = 2\n2: nonsense: NameError") and told[3].count("\n") == 1
    assert told[5] == "1: 1 + 1 = 2"
    assert [len(s.displays) for s in drawn] == [1, 2, 1]


def test_a_matrix_is_displayed_on_one_line():
    seen = play(program, "display weight", "until backward layer.weight", "c", focus="layer.weight")
    (shown,) = seen.situations[0].displays
    assert shown.startswith("weight = tensor([[") and "\n" not in shown


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("undisplay 7", "no display 7; there are: none"),
        ("undisplay", "undisplay: '' is no number of a display; display lists them"),
        ("display 1 +", "display: '1 +' is no expression: invalid syntax"),
        ("up 3", "up: takes no argument, got '3'"),
    ],
)
def test_an_error_is_one_line(line, error):
    assert [r.text for r in play(program, line, "c").said if not r.ok] == [error]
