"""Stops and optimizer over the screen: they ask, turn breakpoints off and on, delete, scroll and close."""

import pytest
from fake_session import STOP
from msgspec.structs import replace
from test_app import opened, screen, until

from backpropdbg.questions import OptimizerOf, StopsOf
from backpropdbg.tui.stops import NO_STOPS
from backpropdbg.wire.session import Stopped


@pytest.mark.parametrize("size", [(120, 36), (80, 24)])
async def test_enter_turns_a_breakpoint_off_and_on_and_delete_removes(size) -> None:
    async with opened(size) as (app, session, pilot):
        await pilot.press("B")
        await until(pilot, lambda: "breakpoint 1: backward middle_linear if loss > 3 hit 2 times" in screen(app))
        assert "print loss" in screen(app) and "watchpoint 2: [bold]weight (disabled)" in screen(app)
        assert "display 1: loss = 59.92" in screen(app) and session.asked.count(StopsOf()) == 1
        await pilot.press("enter")
        await until(pilot, lambda: session.sent == ["disable 1"] and "print loss (disabled)" in screen(app))
        assert "> breakpoint 1" in screen(app)
        await pilot.press("down")
        await until(pilot, lambda: "> watchpoint 2" in screen(app) and "> breakpoint 1" not in screen(app))
        await pilot.press("enter")
        await until(pilot, lambda: session.sent[1:] == ["enable 2"] and "weight (disabled)" not in screen(app))
        await pilot.press("down", "enter")
        await until(pilot, lambda: "A display is always shown" in screen(app))
        await pilot.press("delete")
        await until(pilot, lambda: session.sent[2:] == ["undisplay 1"] and "loss = 59.92" not in screen(app))
        await pilot.press("delete", "delete")
        await until(pilot, lambda: session.sent[3:] == ["clear 2", "clear 1"] and NO_STOPS[:40] in screen(app))
        await pilot.press("delete", "enter", "s", "B")
        await until(pilot, lambda: app.screen is app.base)
        assert len(session.sent) == 5


async def test_a_click_turns_one_off() -> None:
    async with opened() as (app, session, pilot):
        await pilot.press("B")
        await until(pilot, lambda: "hit 2 times" in screen(app))
        await pilot.click("#stops-list", offset=(5, 0))
        await until(pilot, lambda: session.sent == ["disable 1"])


async def test_the_optimizer_scrolls_is_asked_anew_at_a_stop_and_closes() -> None:
    async with opened((80, 24)) as (app, session, pilot):
        await pilot.press("o")
        await until(pilot, lambda: "SGD lr=0.01" in screen(app) and "line 3 [red]" in screen(app))
        assert STOP.focus in screen(app) and "line 59" not in screen(app)
        await pilot.press("end")
        await until(pilot, lambda: "line 59 [red]" in screen(app))
        session.say(Stopped(replace(STOP, position=18)))
        await until(pilot, lambda: session.asked.count(OptimizerOf()) == 2)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.base)


async def test_between_commands_and_end_no_line_is_sent_by_accident() -> None:
    async with opened() as (app, session, pilot):
        await pilot.press(":", *"commands 1", "enter", "escape", "B")
        await until(pilot, lambda: "`end` ends them" in screen(app))
        assert app.screen is app.base and session.sent == ["commands 1"]
