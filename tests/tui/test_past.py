"""The screen in the past and in a recording says so, its keys walk both ways, and what needs a program says why not."""

import pytest
from fake_session import STOP
from msgspec.structs import replace
from test_app import opened, screen, until

from backpropdbg.tui.results import Results
from backpropdbg.wire.session import Ended, Printed, ProgramOutput, Result, Stopped

PAST = replace(STOP, position=12, newest=340)
RECORDED = replace(PAST, recorded=True)


@pytest.mark.parametrize("stop", [STOP, PAST, RECORDED, replace(STOP, phase="finished")])
@pytest.mark.parametrize(("key", "command"), [("S", "rs"), ("N", "rn"), ("C", "rc"), ("G", "goto now")])
async def test_the_shifted_keys_go_back(stop, key: str, command: str) -> None:
    async with opened(stop=stop) as (app, session, pilot):
        await pilot.press(key)
        await until(pilot, lambda: session.sent == [command] and not app.busy)


async def test_g_opens_the_command_line() -> None:
    async with opened() as (_, session, pilot):
        await pilot.press("g", *"iteration 3", "enter")
        await until(pilot, lambda: session.sent == ["goto iteration 3"])


@pytest.mark.parametrize("size", [(120, 36), (80, 24)])
async def test_the_past_is_told_from_the_present_in_words(size: tuple[int, int]) -> None:
    async with opened(size, PAST) as (app, session, pilot):
        assert screen(app).startswith(" PAST event 12 of 340 ")
        assert "(past) " in screen(app) and "G now" in screen(app) and app.base.has_class("past")
        for part in ("iteration 1", "BACKWARD", "middle_linear#2 of 3"):
            assert part in screen(app).splitlines()[0]
        session.say(Stopped(STOP))
        await until(pilot, lambda: screen(app).startswith(" backpropdbg "))
        assert "(bpdb) " in screen(app) and "G now" not in screen(app) and not app.base.has_class("past")
        session.say(Stopped(RECORDED))
        await until(pilot, lambda: screen(app).startswith(" RECORDING event 12 of 340 "))
        assert "(recording) " in screen(app)


async def test_a_walk_is_no_run_of_the_program() -> None:
    async with opened(stop=PAST) as (app, session, pilot):
        session.say(Result("rc", "", moves=True, walks=True))
        await until(pilot, lambda: "walking" in screen(app))
        await pilot.press("colon", *"hello", "enter")
        assert "recorded: i interrupts" in app.query_one(Results).text and session.sent == []
        await pilot.press("i")
        await until(pilot, lambda: session.sent == ["<interrupt>"] and not app.busy)


async def test_nothing_runs_in_a_recording() -> None:
    async with opened(stop=RECORDED) as (app, session, pilot):
        for keys in (("R",), ("ctrl+c",), ("colon", *"restart", "enter")):
            app.hint("")
            await pilot.press(*keys)
            await until(pilot, lambda: "nothing runs here" in app.query_one(Results).text)
        session.say(Ended("the recording is closed", 0))
        await until(pilot, lambda: app.ended)
        await pilot.press("S")
        assert app.query_one(Results).text == "the recording is closed: q quits" and session.sent == []


async def test_a_script_that_restarts_a_recording_fails() -> None:
    async with opened(stop=RECORDED, script=[("restart", 1)], speed=30.0) as (app, session, pilot):
        await until(pilot, lambda: "line 1: restart: this is a recording: nothing runs here" in screen(app))
        assert app.exit_code == 1 and session.sent == []


async def test_the_keys_end_with_the_process() -> None:
    async with opened(stop=PAST) as (app, session, pilot):
        session.say(Ended("the program was killed by SIGKILL", -9))
        await until(pilot, lambda: app.ended)
        await pilot.press("S", "N", "C", "G")
        assert session.sent == [] and "R restarts" in app.query_one(Results).text
        assert not app.base.has_class("past")


async def test_the_output_is_what_was_printed_up_to_the_stop() -> None:
    async with opened(stop=STOP) as (app, session, pilot):
        session.say(ProgramOutput("stdout", "live text\n"))
        await until(pilot, lambda: "live text" in screen(app))
        session.say(Stopped(PAST), ProgramOutput("stdout", "later text\n"))
        await until(pilot, lambda: "printed before 12" in screen(app) and "a warning" in screen(app))
        assert "output up to event 12" in screen(app) and "live text" not in screen(app)
        session.say(Stopped(replace(PAST, position=9)))
        await until(pilot, lambda: "printed before 9" in screen(app) and "printed before 12" not in screen(app))
        session.say(Printed(12, (("stdout", "of another stop\n"),)))
        session.say(Stopped(replace(STOP, newest=17)))
        await until(pilot, lambda: "live text" in screen(app) and "later text" in screen(app))
        assert "printed before" not in screen(app) and "of another stop" not in screen(app)
        session.say(Stopped(replace(RECORDED, position=340)))
        await until(pilot, lambda: "printed before 340" in screen(app))


async def test_a_small_screen_shows_the_output_of_the_past_in_its_tab() -> None:
    async with opened((80, 24), PAST) as (app, _, pilot):
        assert "printed before" not in screen(app)
        await pilot.press("3")
        await until(pilot, lambda: "printed before 12" in screen(app) and "dynamic_net.py" not in screen(app))
