"""The command palette: keys, commands, parameters and uses are found by a part of their name."""

from test_app import opened, screen, until
from textual.command import CommandList, CommandPalette

from backpropdbg.cli import command_help
from backpropdbg.tui.command import CommandLine
from backpropdbg.tui.complete import COMMANDS
from backpropdbg.tui.config import settings
from backpropdbg.wire.session import Running


def test_every_command_has_a_line() -> None:
    told = command_help()
    assert sorted(told) == list(COMMANDS)
    assert all(line.startswith(name) and "\n" not in line for name, line in told.items())


async def found(pilot, query: str) -> None:
    """Open the palette, type, and wait until it found something."""
    await pilot.press("ctrl+p")
    await until(pilot, lambda: isinstance(pilot.app.screen, CommandPalette))
    await pilot.press(*("space" if sign == " " else sign for sign in query))
    await until(pilot, lambda: pilot.app.screen.query_one(CommandList).option_count)
    await pilot.pause(0.3)


async def test_it_lists_keys_and_commands_with_what_they_do() -> None:
    chosen = settings("[keys]\nstep = 'f7'\n", "c")
    async with opened(settings=chosen, commands=command_help) as (app, session, pilot):
        await found(pilot, "")
        text = screen(app)
        assert "step" in text and "the next event of any parameter or of the loop (f7)" in text
        await pilot.press("escape")
        await found(pilot, "layout")
        text = screen(app)
        assert "layout [reset | zoom PANE | hide PANE | show PANE" in text and "layout-reset" in text
        await pilot.press("escape")
        assert session.sent == []


async def test_what_is_chosen_is_done() -> None:
    async with opened(commands=command_help) as (app, session, pilot):
        await found(pilot, "step next event of any")
        await pilot.press("enter")
        await until(pilot, lambda: session.sent == ["step"] and not app.busy)
        await found(pilot, "untilmiddle#2")
        await pilot.press("enter")
        await until(pilot, lambda: session.sent[1:] == ["until middle#2"])
        await found(pilot, "focusbias")
        await pilot.press("enter")
        await until(pilot, lambda: session.sent[2:] == ["focus middle_linear.bias"])
        await found(pilot, ":goto")
        await pilot.press("enter")
        await until(pilot, lambda: app.query_one(CommandLine).value == "goto " and app.focused is not None)


async def test_nothing_chosen_goes_to_the_input_of_a_running_program() -> None:
    async with opened() as (app, session, pilot):
        session.say(Running())
        await until(pilot, lambda: app.running)
        await found(pilot, "focusbias")
        await pilot.press("enter")
        await until(pilot, lambda: "i interrupts it" in screen(app))
        assert session.sent == []
