"""Tab on the command line."""

import pytest
from fake_session import STOP
from test_app import opened, screen, until

from backpropdbg.debugger.commands.table import TABLE
from backpropdbg.debugger.expressions import is_ours
from backpropdbg.debugger.locations import PHASES
from backpropdbg.tui.command import CommandLine
from backpropdbg.tui.complete import COMMANDS, NAMES, PLACES, complete
from backpropdbg.tui.results import Results


def test_the_commands_are_those_of_the_table() -> None:
    import backpropdbg.debugger.commands  # fills the table

    assert backpropdbg.debugger.commands
    assert list(COMMANDS) == sorted({command.name for command in TABLE.values()})


def test_places_and_names_are_those_of_the_debugger() -> None:
    assert (*PHASES, "iteration", "nan") == PLACES
    assert [name for name in NAMES if not is_ours(name)] == ["model", "optimizer", "torch", "math"]


@pytest.mark.parametrize(
    ("line", "grown", "words"),
    [
        ("foc", "focus ", []), ("re", "re", ["recheck", "restart"]), ("tb", "tbreak ", []), ("xyz", "xyz", []),
        ("focus mid", "focus middle_linear.", ["middle_linear.bias", "middle_linear.weight"]),
        ("focus middle_linear.b", "focus middle_linear.bias ", []), ("why inp", "why input_linear.weight ", []),
        ("until backward middle#", "until backward middle#", ["middle#1", "middle#2", "middle#3"]),
        ("until backward middle#2", "until backward middle#2 ", []), ("until back", "until backward ", []),
        ("break accumulate middle_linear.weight i", "break accumulate middle_linear.weight i", ["if", "input_linear",
         "input_linear.weight"]),
        ("break nan if gr", "break nan if grad ", []), ("print par", "print partial ", []),
        ("print torch.norm(par", "print torch.norm(partial ", []), ("print A", "print A", ["A2", "A3"]),
        ("goto n", "goto now ", []), ("info b", "info breaks ", []), ("help whe", "help where ", []),
        ("restart ", "restart --to HERE ", []), ("set ", "set partial = ", []), 
        ("set partial = par", "set partial = partial ", []),
    ],
)  # fmt: skip
def test_complete(line: str, grown: str, words: list[str]) -> None:
    assert complete(line, STOP) == (grown, words)


def test_before_the_first_stop_there_are_commands_only() -> None:
    assert complete("foc", None) == ("focus ", []) and complete("focus m", None) == ("focus m", [])


async def test_tab_completes_and_lists() -> None:
    async with opened() as (app, session, pilot):
        await pilot.press("colon", *"fo", "tab", *"mid", "tab")
        line = app.query_one(CommandLine)
        assert line.value == "focus middle_linear." and app.focused is line
        await until(pilot, lambda: "middle_linear.bias  middle_linear.weight" in app.query_one(Results).text)
        await pilot.press("b", "tab")
        assert line.value == "focus middle_linear.bias "
        await until(pilot, lambda: not app.query_one(Results).display)
        await pilot.press("enter")
        await until(pilot, lambda: session.sent == ["focus middle_linear.bias"])
        await pilot.press("colon", *"print  + 1", *["left"] * 4, *"gr", "tab")
        assert line.value == "print grad  + 1" and line.cursor_position == len("print grad ")


async def test_f1_is_help_also_on_the_command_line() -> None:
    async with opened() as (app, _, pilot):
        await pilot.press("colon", "f1")
        await until(pilot, lambda: "any other key closes this" in screen(app))
        await pilot.press("f1")
        await until(pilot, lambda: "any other key closes this" not in screen(app))
