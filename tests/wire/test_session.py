"""A ChildSession against the fake child: order, ends of every kind, restart."""

import contextlib
import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from backpropdbg.questions import TimelineOf
from backpropdbg.wire.session import (
    Answered,
    Cells,
    Ended,
    Printed,
    ProgramOutput,
    Rest,
    Result,
    Running,
    Said,
    Stopped,
)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def pid_of(one) -> int:
    return one.session._child.process.pid


def test_output_comes_before_its_stop(probe) -> None:
    one = probe().start()
    assert one.until(Stopped).situation.position == 0
    assert "".join(m.text for m in one.seen[:-1]) == "hello from the program\n"
    one.seen.clear()
    one.do("flood", Stopped)
    kinds = [type(m) for m in one.seen]
    assert kinds[:2] == [Result, Running] and kinds[-1] is Stopped
    text = "".join(m.text for m in one.seen if isinstance(m, ProgramOutput) and m.stream == "stdout")
    assert text == "x" * 100 + "\n" + "y" * 300_000 + "\nout 1\n"
    assert "".join(m.text for m in one.seen if isinstance(m, ProgramOutput) and m.stream == "stderr") == "err 1\n"
    one.seen.clear()
    one.do("print 1", Result)
    assert "".join(m.text for m in one.seen[:-1]) == "printed at the stop\n"


def test_descriptors_may_have_high_numbers(probe) -> None:
    """`select` refuses those from 1024 on, which a host with many open files gets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    try:
        with contextlib.ExitStack() as stack:
            while stack.enter_context(Path(os.devnull).open("rb")).fileno() < 1030:
                pass
            one = probe().start()
            one.until(Stopped)
            one.do("flood", Stopped)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_past_is_asked_for(probe) -> None:
    one = probe().start()
    one.until(Stopped)
    one.session.printed(12, 5)
    assert one.until(Printed) == Printed(12, (("stdout", "12 ?"), ("stderr", "oh")))
    one.session.ask(TimelineOf(3, 8, 4))
    made = one.until(Answered).answer
    assert (made.first, made.last, made.here, made.now) == (1, 9, 2, 3)
    assert [(m.iteration, m.position, m.loss) for m in made.moments] == [(3, 7, "NaN"), (4, 8, None)]


def test_order_holds_over_many_stops(probe) -> None:
    one = probe().start()
    one.until(Stopped)
    for position in range(1, 200):
        one.seen.clear()
        assert one.do("step", Stopped).situation.position == position
        out = [m.text for m in one.seen if isinstance(m, ProgramOutput) and m.stream == "stdout"]
        assert "".join(out) == f"out {position}\n"


def test_results_and_failures(probe) -> None:
    one = probe().start()
    one.until(Stopped)
    assert one.do("look", Result) == Result("look", "did look")
    assert one.do("bad", Result) == Result("bad", "no such command: bad", ok=False)
    assert one.do("bug", Result) == Result("bug", "internal error: ZeroDivisionError: oops", ok=False)
    assert one.do("surrogate", Result).text == "a?b"
    assert one.do("look again", Result).ok
    one.session.window("weight", 2, 2)
    assert one.until(Cells).window.values == (("NaN", 1.0),)
    one.session.window("nothing", 2, 2)
    assert one.until(Cells) == Cells("nothing", None)
    one.session.window("weight", -1, 2)
    assert one.until(Cells).window is None


def test_a_command_waits_for_no_number(probe) -> None:
    """GIVEN a stop some of whose numbers take for ever WHEN something is asked or done THEN that comes first."""
    one = probe().start()
    one.until(Stopped)
    one.do("lack", Result)
    assert one.do("look", Result).text == "did look"
    one.session.window("weight", 2, 3)
    assert one.until(Cells).window is not None
    one.seen.clear()
    one.do("complete", Result)
    rest = one.until(Rest).situation
    assert rest.position == 0 and rest.proof == "all of it" and [type(m) for m in one.seen] == [Result, Rest]
    one.do("lack", Result)
    assert one.do("step", Stopped).situation.position == 1


def test_a_question_that_takes_for_ever_holds_up_no_command(probe) -> None:
    one = probe().start()
    one.until(Stopped)
    one.session.window("endless", 2, 3)
    one.session.ask(TimelineOf(3, 8, 4))
    assert one.do("look", Result).text == "did look"
    one.seen.clear()
    assert one.do("step", Stopped).situation.position == 1
    one.session.window("weight", 2, 3)
    assert one.until(Cells).name == "weight"
    assert not any(isinstance(m, Cells | Answered) for m in one.seen[:-1]), (
        "nobody wants what was asked of another stop"
    )


def test_quit_while_numbers_are_computed(probe) -> None:
    one = probe().start()
    one.until(Stopped)
    one.do("lack", Result)
    pid = pid_of(one)
    one.session.close()
    assert not alive(pid)


def test_running_program_takes_only_interrupt(probe) -> None:
    one = probe().start()
    one.until(Stopped)
    one.do("spin", Running)
    assert one.do("look", Result) == Result("look", "the program is running; interrupt it first", ok=False)
    one.session.interrupt()
    one.until(Stopped)


def test_kill_9_of_the_child(probe) -> None:
    one = probe().start()
    one.until(Stopped)
    os.kill(pid_of(one), signal.SIGKILL)
    assert one.until(Ended) == Ended("the program was killed by SIGKILL", -9)
    assert one.do("step", Result).ok is False
    one.session.window("weight", 2, 2)
    assert one.until(Cells).window is None
    one.session.restart()
    assert one.until(Stopped).situation.position == 0


@pytest.mark.parametrize(
    ("line", "ended"),
    [
        ("die", Ended("the program was killed by SIGKILL", -9)),
        ("raise", Ended("the program raised ValueError: x", 3, raised=True)),
        ("exit 0", Ended("the program ended", 0)),
        ("exit 3", Ended("the program ended with exit code 3", 3)),
        ("exit 7", Ended("the program ended with exit code 7", 7)),
    ],
)
def test_every_end(probe, line, ended) -> None:
    one = probe().start()
    one.until(Stopped)
    assert one.do(line, Ended) == ended
    if line == "raise":
        text = "".join(m.text for m in one.seen if isinstance(m, ProgramOutput) and m.stream == "stderr")
        assert text == "Traceback: ValueError: x\n"


@pytest.mark.parametrize("options", [{}, {"import": 30}, {"stubborn": True}, {"import": 30, "stubborn": True}])
@pytest.mark.parametrize("wait", [0.0, 0.3])
def test_close_at_any_moment(probe, options, wait) -> None:
    one = probe(**options).start()
    if "import" not in options and wait:
        one.until(Stopped)
    time.sleep(wait)
    child = one.session._child
    start = time.monotonic()
    one.session.close()
    one.session.close()
    assert time.monotonic() - start < 2
    if child is not None:
        assert not alive(child.process.pid)


def test_close_while_the_program_runs_and_before_start(probe) -> None:
    probe().session.close()
    one = probe().start()
    one.until(Stopped)
    one.do("spin", Running)
    pid = pid_of(one)
    start = time.monotonic()
    one.session.close()
    assert time.monotonic() - start < 2 and not alive(pid)
    one.session.command("look")
    one.session.interrupt()
    one.session.restart()


def test_close_from_within_receive_and_with_a_stuck_face(probe) -> None:
    one = probe()
    one.session.start(lambda message: one.session.close())
    one.session._pump.join(5)
    assert not one.session._pump.is_alive()
    other = probe()
    held, release = threading.Event(), threading.Event()
    other.session.start(lambda message: (held.set(), release.wait(10)))
    assert held.wait(10)
    child = other.session._child
    start = time.monotonic()
    other.session.close()
    assert time.monotonic() - start < 2 and child.gone.wait(1)
    release.set()


def test_restart_keeps_successful_breakpoints(probe) -> None:
    one = probe().start()
    one.until(Stopped)
    for line in ("break w", "look", "graph modules", "tbreak v", "bad", "graph nodes", "graph", "condition 1 x"):
        one.do(line, Result)
    one.do("step", Stopped)
    old = pid_of(one)
    one.seen.clear()
    assert one.do("restart", Stopped).situation.position == 0
    assert not alive(old)
    assert not any(isinstance(m, Ended) for m in one.seen)
    assert one.do("lines", Result).text == "break w | tbreak v | graph nodes | condition 1 x | lines"


def test_the_first_stop_after_a_restart_has_what_was_set_before(probe) -> None:
    """It is drawn anew for each line that is repeated; only the last of these is handed out."""
    one = probe().start()
    one.until(Stopped)
    for name in ("v", "w"):
        one.do(f"focus {name}", Stopped)
        one.until(Result)
    one.do("break w", Result)
    one.seen.clear()
    assert one.do("restart", Stopped).situation.position == 0
    assert one.do("lines", Result).text == "focus w | break w | lines"
    assert [m.situation.position for m in one.seen if isinstance(m, Stopped)] == [0]


def test_restart_to_here_hands_out_that_stop_alone(probe) -> None:
    """What is repeated after a restart draws the first stop anew; that is none to show."""
    one = probe().start()
    one.until(Stopped)
    one.do("focus w", Stopped)
    one.until(Result)
    one.do("step", Stopped)
    one.seen.clear()
    assert one.do("restart --to HERE", Stopped).situation.position == 1
    assert [m.situation.position for m in one.seen if isinstance(m, Stopped)] == [1]
    assert one.do("lines", Result).text == "focus w | goto iteration 1 ForwardUse 1 | lines"


def test_child_that_can_not_start_or_talks_nonsense(probe) -> None:
    assert one_end(probe(["/no/such/program"])).startswith("the program could not be started")
    assert "exit code 5" in one_end(probe([sys.executable, "-c", "raise SystemExit(5)"]))
    garbage = (
        "import os,socket,time; s=socket.socket(fileno=int(os.environ['BACKPROPDBG_FD']));"
        "p,_=s.accept(); p.sendall(b'garbage\\r\\n\\r\\n'); time.sleep(30)"
    )
    assert "nonsense" in one_end(probe([sys.executable, "-c", garbage]))
    silent = (
        "import os,socket,time; s=socket.socket(fileno=int(os.environ['BACKPROPDBG_FD'])); s.accept()[0].close();"
        "s.close(); time.sleep(30)"
    )
    assert "SIGKILL" in one_end(probe([sys.executable, "-c", silent]))


def one_end(one) -> str:
    return one.start().until(Ended).cause


def test_token_is_not_left_in_the_environment(probe) -> None:
    one = probe().start()
    one.until(Stopped)
    assert "BACKPROPDBG_TOKEN" not in os.environ
    assert one.session._child.token not in " ".join(one.session._child.process.args)


@pytest.mark.parametrize("how", ["kill", "close"])
def test_forked_worker_is_inert_and_ends_too(probe, how) -> None:
    one = probe().start()
    one.until(Stopped)
    one.seen.clear()
    assert one.do("fork", Stopped).situation.position == 1
    text = "".join(m.text for m in one.seen if isinstance(m, ProgramOutput) and m.stream == "stdout")
    worker = int(text.split()[1])
    assert one.do("look", Result).ok and alive(worker)
    if how == "kill":
        os.kill(pid_of(one), signal.SIGKILL)
        assert not one.until(Ended).raised
    else:
        one.session.close()
    deadline = time.monotonic() + 2
    while alive(worker) and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return
        time.sleep(0.02)
    assert not alive(worker)


@pytest.mark.parametrize("wait", [0.1, 0.4, 0.8])
def test_close_during_the_import_of_torch(probe, wait) -> None:
    code = (
        "import os; from backpropdbg.wire.server import Server;"
        "s = Server.from_environment();"
        "import torch, time; time.sleep(30)"
    )
    one = probe([sys.executable, "-c", code]).start()
    time.sleep(wait)
    pid = pid_of(one)
    start = time.monotonic()
    one.session.close()
    assert time.monotonic() - start < 2 and not alive(pid)


def test_what_stays_muted_is_said_after_a_restart(probe) -> None:
    one = probe().start()
    one.until(Stopped)
    one.do("mute w#1", Result)
    one.seen.clear()
    one.do("restart", Stopped)
    assert [m.text for m in one.seen if isinstance(m, Said)] == ["still muted: w#1\n"]
