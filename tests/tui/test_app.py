"""Pilot tests: every key, every pane, small screens, the end, and the player."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pexpect
import pytest
from fake_session import STOP, FakeSession
from msgspec.structs import replace
from textual import events
from textual.pilot import Pilot

from backpropdbg.situation import SOON, Matrix, Row
from backpropdbg.tui.app import DebuggerApp
from backpropdbg.tui.command import CommandLine
from backpropdbg.tui.header import Header
from backpropdbg.tui.output import OutputPane, Printed
from backpropdbg.tui.results import Results
from backpropdbg.wire.session import Ended, ProgramOutput, Rest, Result, Running, Stopped


def screen(app: DebuggerApp) -> str:
    """Return the screen as plain text."""
    return "\n".join("".join(s.text for s in line) for line in app.screen._compositor.render_strips())


async def until(pilot: Pilot[None], true: Callable[[], object]) -> None:
    """Wait until `true()`."""
    deadline = time.monotonic() + 10  # on a loaded machine
    while time.monotonic() < deadline:
        if true():
            return
        await pilot.pause(0.01)
    raise AssertionError(f"never came true; the screen:\n{screen(pilot.app)}")


@asynccontextmanager
async def opened(
    size: tuple[int, int] = (120, 36), stop: object = STOP, **more
) -> AsyncIterator[tuple[DebuggerApp, FakeSession, Pilot[None]]]:
    session = FakeSession(stop)
    app = DebuggerApp(session, **more)
    async with app.run_test(size=size) as pilot:
        if stop is not None:
            await until(pilot, lambda: app.situation is not None and not app.running and session.windows)
            await until(pilot, lambda: "-1.253" in screen(app))
        yield app, session, pilot


async def test_numbers_that_take_long_follow() -> None:
    """GIVEN a stop without some numbers WHEN they come THEN they stand there; those of another stop never do."""
    part = replace(STOP.ledger[2], norm=SOON, cosine=SOON)
    early = replace(STOP, ledger=(*STOP.ledger[:2], part, *STOP.ledger[3:]), explanation=("... soon",), early=True)
    async with opened(stop=early) as (app, session, pilot):
        line = next(line for line in screen(app).splitlines() if "A2  use #2" in line)
        assert "2.4075" not in line and line.split("use #2")[1].split()[:3] == ["...", "...", "-0.0864"]
        asked = len(session.windows), len(session.asked)
        others = [replace(STOP, position=16), replace(STOP, focus="x"), replace(STOP, element=(0, 0))]
        for other in others:
            app.receive(Rest(replace(other, explanation=("of another stop",))))
        app.receive(Rest(STOP))
        await until(pilot, lambda: "Use #2's gradient" in screen(app))
        shown = screen(app)
        assert "2.4075     +0.74" in shown and "of another stop" not in shown and "... soon" not in shown
        assert "-1.253" in shown and (len(session.windows), len(session.asked)) == asked
        app.receive(Rest(replace(STOP, explanation=("once more",))))
        await pilot.pause()
        assert "once more" not in screen(app)


async def test_no_number_of_the_stop_before_stands_under_the_next_one() -> None:
    """GIVEN a whole stop WHEN the next one comes early THEN what is not known of it is dots."""
    rows = tuple(replace(row, norm=row.norm and SOON, cosine=row.cosine and SOON) for row in STOP.ledger)
    after = replace(STOP, position=18, where="middle_linear#1 of 3", ledger=rows, early=True)
    async with opened() as (app, _, pilot):
        app.receive(Running())
        app.receive(Stopped(after))
        await until(pilot, lambda: "middle_linear#1 of 3" in screen(app))
        ledger = [line for line in screen(app).splitlines() if "use #" in line or "running sum " in line]
        assert not any(number in line for line in ledger for number in ("2.3307", "2.4075", "3.4727", "+0.74"))
        app.receive(Running())
        app.receive(Rest(replace(STOP, position=18)))
        await pilot.pause()
        assert "3.4727" not in screen(app), "the program runs on: these are of a stop that was left"


async def test_paints_before_first_stop() -> None:
    async with opened(stop=None) as (app, session, pilot):
        await until(pilot, lambda: "starting the program ..." in screen(app))
        await pilot.press("s", "n")
        assert session.sent == [] and "i interrupts" in app.query_one(Results).text


async def test_a_recording_is_opened_and_no_program_started() -> None:
    async with opened(stop=None, begins="opening run.bptrace ...") as (app, _, pilot):
        await until(pilot, lambda: "opening run.bptrace ..." in screen(app))
        assert "starting the program" not in screen(app)


async def test_all_panes_at_once() -> None:
    async with opened() as (app, _, _pilot):
        text = screen(app)
    for part in (
        " backpropdbg   DynamicNet  iteration 1  BACKWARD  middle_linear#2 of 3  loss 59.92  seed 1816  SGD",
        "fwd  x -> input_linear", "you are here", "A1 pending", "middle_linear.weight  [3, 3]",
        "pulls up, cancels 89 %",
        "dynamic_net.py:32", "> 32", "0  +.726  +.081  -.316", "NaN!", "+Inf!", "±1.59", "weight [now]",
        "bit for bit as before", "[bold]AccumulateGrad[/bold]", "No weight moves", "(bpdb)", "q quit",
    ):  # fmt: skip
        assert part in text, part


@pytest.mark.parametrize(
    ("key", "command"),
    [("s", "step"), ("n", "next"), ("f", "finish"), ("c", "continue"),
     ("tab", "focus middle_linear.bias"), ("shift+tab", "focus middle_linear.bias"), ("up", "element 1,0"),
     ("right", "element 2,1"), ("R", "<restart>")],
)  # fmt: skip
async def test_key(key: str, command: str) -> None:
    async with opened() as (_, session, pilot):
        await pilot.press(key)
        await until(pilot, lambda: session.sent == [command])


async def test_edges_send_nothing() -> None:
    async with opened() as (_, session, pilot):
        await pilot.press("down", "left")
        assert session.sent == []


async def test_steps_after_steps() -> None:
    async with opened() as (app, session, pilot):
        for n in range(1, 4):
            await pilot.press("s")
            await until(pilot, lambda n=n: not app.busy and len(session.sent) == n)
        assert app.situation is not None and app.situation.position == 20


@pytest.mark.parametrize("key", ["i", "ctrl+c"])
async def test_running_ignores_steps_and_interrupts(key: str) -> None:
    async with opened() as (app, session, pilot):
        session.say(Running())
        await until(pilot, lambda: "running" in app.query_one(Header).text().plain)
        await pilot.press("s", "tab", "up")
        assert session.sent == [] and "i interrupts" in app.query_one(Results).text
        await pilot.press(key)
        await until(pilot, lambda: session.sent == ["<interrupt>"] and not app.running)
        assert "BACKWARD" in app.query_one(Header).text().plain


async def test_command_line() -> None:
    async with opened() as (app, session, pilot):
        await pilot.press("colon", *":info", "tab")
        await until(pilot, lambda: "back to the keys" in screen(app))
        await pilot.press("enter")
        await until(pilot, lambda: "did info" in screen(app) and "arrows element" in screen(app))
        await pilot.press("colon", *"bad", "enter")
        await until(pilot, lambda: "no such command: [red]bad[/red]" in screen(app))
        assert app.query_one(Results).has_class("error") and app.focused is None
        await pilot.press("colon", "up", "up")
        assert app.query_one(CommandLine).value == "info"
        await pilot.press("escape")
        assert app.focused is None
        await pilot.press("escape")
        assert not app.query_one(Results).display
        await pilot.press("b", "7", "enter")
        await until(pilot, lambda: session.sent == ["info", "bad", "break 7"])


async def test_keys_behind_the_enter_of_a_burst_are_keys_again() -> None:
    async with opened() as (app, session, pilot):
        for key in (":", *"info", "\r", "t", ":", *"bad", "\x1b", "t", ":", *"whatis", "\r"):
            name = {":": "colon", "\r": "enter", "\x1b": "escape"}.get(key, key)
            app.post_message(events.Key(name, key))
        await until(pilot, lambda: session.sent == ["info", "whatis"])
        await until(pilot, lambda: app.focused is None and "did whatis" in screen(app) and "3 of 1-6" in screen(app))
        assert app.query_one(CommandLine).value == ""


async def test_quit_command_has_a_code() -> None:
    async with opened() as (app, session, pilot):
        await pilot.press("colon", *"quit 7", "enter")
        await until(pilot, lambda: app.return_code is not None)
    assert app.return_code == 7 and session.closed


async def test_the_lines_of_a_breakpoint_are_typed_up_to_end_and_no_key_is_one() -> None:
    async with opened() as (app, session, pilot):
        await pilot.press("colon", *"commands 1", "enter", *"ledger", "enter")
        await until(pilot, lambda: session.sent == ["commands 1", "ledger"] and "(commands, end)" in screen(app))
        assert isinstance(app.focused, CommandLine)
        await pilot.press("escape", "s", "c")
        await until(pilot, lambda: "what a breakpoint does is being written" in screen(app))
        await pilot.press("colon", *"end", "enter", "s")
        await until(pilot, lambda: session.sent == ["commands 1", "ledger", "end", "step"])
        assert "(bpdb)" in screen(app)


async def test_commands_of_no_breakpoint_begin_nothing() -> None:
    async with opened() as (app, session, pilot):
        session.command = lambda line: session.say(Result(line, "there is no breakpoint 5", ok=False))
        await pilot.press("colon", *"commands 5", "enter")
        await until(pilot, lambda: "there is no breakpoint 5" in screen(app) and app.focused is None)
        assert "(bpdb)" in screen(app) and not app.body.open


async def test_quit_does_not_wait_for_a_slow_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backpropdbg.tui.face.GRACE", 0.2)
    async with opened() as (app, session, pilot):
        session.close = lambda: __import__("time").sleep(30)
        await pilot.press("q")
        await until(pilot, lambda: app.return_code is not None)
    assert app.return_code == 0


async def test_help_and_back() -> None:
    async with opened() as (app, session, pilot):
        await pilot.press("question_mark")
        await until(pilot, lambda: "any other key closes this" in screen(app))
        session.say(Stopped(replace(STOP, iteration=9)))
        await until(pilot, lambda: app.situation.iteration == 9)
        await pilot.press("s")
        await until(pilot, lambda: "any other key closes this" not in screen(app))
        assert session.sent == []


async def test_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with opened() as (_, _session, pilot):
        await pilot.press("ctrl+s")
        await until(pilot, (tmp_path / "backpropdbg.svg").exists)
        (tmp_path / "backpropdbg.svg").write_text("mine")
        await pilot.press("ctrl+s")
        await until(pilot, (tmp_path / "backpropdbg-2.svg").exists)
        assert (tmp_path / "backpropdbg.svg").read_text() == "mine"


async def test_escape_sequences_of_the_program_are_left_out_also_in_pieces() -> None:
    async with opened() as (app, session, pilot):
        session.say(
            *(ProgramOutput("stdout", piece) for piece in ("a\x1b[3", "1mred\x1b[0m\x1b]0;title", "\x07 end\n"))
        )
        await until(pilot, lambda: "end" in app.query_one(OutputPane).plain())
        assert app.query_one(OutputPane).plain() == "ared end"


async def test_long_lines_of_output_are_wrapped_also_after_a_resize() -> None:
    text = "".join(f"{n:04}" for n in range(60))
    async with opened() as (app, session, pilot):
        session.say(ProgramOutput("stdout", text[:100]), ProgramOutput("stdout", text[100:] + "\nnext\n"))
        pane = app.query_one(OutputPane)
        for width in (120, 160, 104):
            await pilot.resize_terminal(width, 36)
            await until(pilot, lambda: pane.rows and len(pane.rows[0][1]) == min(pane.size.width, len(text)))
            assert pane.plain() == f"{text}\nnext"
            assert "".join(row for _, row in pane.rows) == f"{text}next"


def test_output_waits_in_whole_until_it_is_too_much_to_show(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = Printed()
    assert [printed.add("stdout", f"{n}\n") for n in range(1000)] == [True] + [False] * 999
    assert printed.take() == [("stdout", f"{n}\n") for n in range(1000)] and printed.take() == []
    monkeypatch.setattr("backpropdbg.tui.output.MOST_WAITING", 100)
    for n in range(1000):
        printed.add("stderr", f"{n:09}\n")
    lost, *rest = printed.take()
    assert "left out" in lost[1] and rest == [("stderr", f"{n:09}\n") for n in range(990, 1000)]
    assert printed.add("stdout", "on") and printed.take() == [("stdout", "on")]


async def test_a_failed_script_is_still_failed_after_a_look_around() -> None:
    async with opened(script=[("bad", 1)], speed=30.0) as (app, session, pilot):
        await until(pilot, lambda: app.exit_code == 1)
        session.say(Stopped(STOP))
        await pilot.pause(0.1)
        assert app.exit_code == 1


async def test_zoom_asks_for_true_cells_around_the_element() -> None:
    async with opened() as (app, session, pilot):
        await until(pilot, lambda: bool(session.windows))
        assert all(len(asked) == 3 for asked in session.windows)
        await pilot.press("z")
        await until(pilot, lambda: "every cell here is a true one" in screen(app))
        session.step = 2
        await pilot.press("up")
        app.show(STOP)
        await until(pilot, lambda: "largest of 2x1" in screen(app))
        await pilot.press("z")
        await until(pilot, lambda: len(session.windows[-1]) == 5)
        assert session.windows[-1][3:] == (0, 0)


async def test_output_is_never_markup() -> None:
    async with opened() as (app, session, pilot):
        session.say(ProgramOutput("stdout", "loss [b]0.5"), ProgramOutput("stdout", "[/b] [/x]\nnext \x1b[2J\udcff\n"))
        await until(pilot, lambda: "next" in app.query_one(OutputPane).plain())
        assert app.query_one(OutputPane).plain() == "loss [b]0.5[/b] [/x]\nnext ?"
        await until(pilot, lambda: "loss [b]0.5[/b] [/x]" in screen(app))


async def test_output_before_the_first_stop_shows() -> None:
    async with opened(stop=None) as (app, session, pilot):
        session.say(ProgramOutput("stdout", "importing\n"))
        await until(pilot, lambda: "│importing" in screen(app))


@pytest.mark.parametrize(("raised", "code", "exit_code"), [(True, 1, 3), (False, -9, 3), (False, 0, 0)])
async def test_ended(raised: bool, code: int, exit_code: int) -> None:
    async with opened() as (app, session, pilot):
        session.say(Ended("the program raised ValueError: [x]", code, raised))
        await until(pilot, lambda: screen(app).count("the program raised ValueError: [x]") == 2)
        await pilot.press("s")
        assert session.sent == [] and "R restarts" in app.query_one(Results).text
        await pilot.press("q")
        await until(pilot, lambda: app.return_code is not None)
    assert app.return_code == exit_code


async def test_dots_of_a_program_that_is_gone_say_so() -> None:
    async with opened(stop=replace(STOP, early=True)) as (app, session, pilot):
        session.say(Ended("killed by SIGKILL", -9))
        await until(pilot, lambda: "killed by SIGKILL; ... stands for what was never computed" in screen(app))


async def test_restart_after_end() -> None:
    async with opened() as (app, session, pilot):
        session.say(Ended("killed by SIGKILL", -9))
        await until(pilot, lambda: app.ended)
        await pilot.press("R")
        await until(pilot, lambda: not app.ended and not app.running)
        assert app.exit_code == 0


async def test_restart_to_here() -> None:
    async with opened() as (app, session, pilot):
        await pilot.press("colon", *"restart --to there", "enter")
        await until(pilot, lambda: "restart takes nothing, or --to HERE" in screen(app))
        await pilot.press("colon", *"restart --to HERE", "enter")
        await until(pilot, lambda: session.sent == ["<restart to here>"] and not app.running)


async def test_small_screen_has_tabs() -> None:
    async with opened((80, 24)) as (app, _, pilot):
        text = screen(app)
        for part in ("fwd  ", "pulls up, cancels 89 %", "No weight moves", "[1 matrices]", "-1.253", "q quit"):
            assert part in text, part
        await pilot.press("2")
        await until(pilot, lambda: "dynamic_net.py:32" in screen(app) and "-1.253" not in screen(app))
        await pilot.press("3")
        await until(pilot, lambda: "output" in screen(app) and "dynamic_net.py" not in screen(app))
        await pilot.resize_terminal(120, 36)
        await until(pilot, lambda: "dynamic_net.py:32" in screen(app) and "-1.253" in screen(app))
        await pilot.resize_terminal(20, 6)
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: "3 output" in screen(app))


async def test_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with opened() as (app, session, pilot):
        assert app.no_color
        session.say(ProgramOutput("stdout", "hello\n"), Ended("killed", -9))
        await until(pilot, lambda: "hello" in screen(app))
        await pilot.press("question_mark")
        await until(pilot, lambda: "any other key closes this" in screen(app))


async def test_absent_and_many_matrices() -> None:
    many = (Matrix("partial", "P", (3, 3)), Matrix("grad", "G", state="none"), Matrix("after", "T", state="pending"))
    stop = replace(STOP, matrices=(*many, Matrix("weight", "Fourth", (3, 3))))
    async with opened(stop=stop) as (app, _, pilot):
        assert "Fourth" in screen(app) and " T " not in screen(app)  # what has a value comes first
        app.hint("an older message")
        await pilot.press("m")
        await until(pilot, lambda: " T " in screen(app) and "an older message" not in screen(app))


async def test_player_plays_pauses_and_hands_over() -> None:
    script = [('say "hello there"', 1), ("step", 2), ("sleep 0.1", 3), ("info", 4), ("step", 5)]
    async with opened(script=script, speed=30.0) as (_, session, pilot):
        await until(pilot, lambda: session.sent == ["step", "info", "step"])
    async with opened(script=[('say "hello there"', 1), ("step", 2)], speed=1.0) as (app, session, pilot):
        await until(pilot, lambda: "hello there" in screen(app))
        await pilot.press("space")
        assert app.player is not None and app.player.paused
        await pilot.press("n")
        await until(pilot, lambda: session.sent == ["next"] and not app.busy)
        await asyncio.sleep(0.1)
        assert "hello there" not in screen(app) and app.player.paused
        await pilot.press("s")
        await until(pilot, lambda: session.sent == ["next", "step"] and not app.busy)
        await pilot.press("space")
        await until(pilot, lambda: session.sent[2:3] == [f"goto {STOP.position}"])
        await until(pilot, lambda: session.sent[3:] == ["step"])


async def test_the_player_goes_on_at_once_where_nobody_moved_and_not_where_the_way_back_is_gone() -> None:
    script = [("info", 1), ('say "hello there"', 2), ("step", 3)]
    async with opened(script=script, speed=0.4) as (app, session, pilot):
        await until(pilot, lambda: "hello there" in screen(app))
        await pilot.press("space")
        await pilot.press("colon", *"info", "enter")
        await until(pilot, lambda: session.sent == ["info", "info"] and "hello there" not in screen(app))
        await pilot.press("space")
        await until(pilot, lambda: "hello there" in screen(app))
        await until(pilot, lambda: session.sent[2:] == ["step"])
    async with opened(script=script, speed=0.4) as (app, session, pilot):
        await until(pilot, lambda: "hello there" in screen(app))
        await pilot.press("n")
        await until(pilot, lambda: session.sent == ["info", "next"] and not app.busy)
        command = session.command
        session.command = lambda line: command("bad " + line)
        await pilot.press("space")
        await until(pilot, lambda: app.query_one(Results).kind == "error" and not app.busy)
        assert app.player is not None and app.player.paused and not app.returning


async def test_player_stops_at_a_failure() -> None:
    async with opened(script=[("bad thing", 3), ("step", 4)], speed=30.0) as (app, session, pilot):
        await until(pilot, lambda: "line 3: bad thing: no such command" in screen(app))
        assert session.sent == ["bad thing"] and app.exit_code == 1


async def test_stop_row_stays_in_view_on_a_small_screen() -> None:
    rows = tuple(Row("partial", f"A{n}", norm=1.0, here=n == 7) for n in range(40, 0, -1))
    async with opened((80, 24), replace(STOP, ledger=rows, explanation=("long " * 60,))) as (app, _, pilot):
        await until(pilot, lambda: "> A7 " in screen(app))
        await pilot.press("colon", *"info", "enter")
        await until(pilot, lambda: "did info" in screen(app) and "> A7 " in screen(app))


async def test_script_restart_ends_in_a_stop() -> None:
    async with opened(script=[("restart", 1), ("info", 2)], speed=30.0) as (app, session, pilot):
        await until(pilot, lambda: session.sent == ["<restart>", "info"] and not app.running)


@pytest.mark.parametrize("no_color", ["", "1"])
def test_real_terminal_is_restored(no_color: str) -> None:
    here = Path(__file__).parent
    code = (
        f"import sys; sys.path.insert(0, {str(here)!r})\n"
        "from fake_session import FakeSession\nfrom backpropdbg.tui.app import DebuggerApp\n"
        "app = DebuggerApp(FakeSession()); app.run(); sys.exit(app.return_code)"
    )
    environment = {**os.environ, "TERM": "xterm-256color", **({"NO_COLOR": no_color} if no_color else {})}
    child = pexpect.spawn(sys.executable, ["-c", code], env=environment, dimensions=(36, 120), encoding="utf-8")
    child.expect("you are here", timeout=20)
    child.send("\x03")
    child.expect("not running", timeout=10)
    child.send(":quit 5\r")
    child.expect(r"\x1b\[\?1049l", timeout=10)
    child.expect(pexpect.EOF, timeout=10)
    child.close()
    assert child.exitstatus == 5


@pytest.mark.parametrize("width", [44, 60, 80, 100, 120, 250])
async def test_the_header_cuts_the_place_before_it_leaves_it_out(width: int) -> None:
    place = "encoder.layers.11.attention.weight accumulated"
    stop = replace(STOP, where=place, reason="breakpoint 3", optimizer="SGD lr=0.01 momentum=0.9 weight_decay=0.1")
    async with opened(size=(width, 24), stop=stop) as (app, _, _):
        line = screen(app).splitlines()[0]
        assert "iteration 1" in line and ("encod" in line) == (width >= 60)
        assert (f"{place} (breakpoint 3)" in line) == (width >= 100)
