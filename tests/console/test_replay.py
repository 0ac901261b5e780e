"""Headless replay on the fake child."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from backpropdbg.cli import main

HERE = Path(__file__).parent


def test_text(write, capfd) -> None:
    path = write('demo\nstep\nsay "Hello  there"\nlook\nsleep 100\nscreenshot a.svg\nquit 4\nbad\n')
    assert main(["replay", path]) == 4
    out, err = capfd.readouterr()
    assert out == (
        "hello from the program\niteration 1  FORWARD  stop 0\nA sentence.\n(bpdb) step\n"
        "out 1\niteration 1  FORWARD  stop 1\nA sentence.\n\nHello  there\n\n(bpdb) look\ndid look\n"
        "(bpdb) sleep 100\n(sleep: nothing to do without a screen)\n"
        "(bpdb) screenshot a.svg\n(screenshot: nothing to do without a screen)\n"
    )
    assert err == "err 1\n"


def test_first_failure_stops(write, capfd) -> None:
    path = write("demo\nlook\nbad thing\nlook again\n")
    assert main(["replay", path]) == 1
    out, err = capfd.readouterr()
    assert "did look" in out and "again" not in out
    assert err == f"{path}:3: no such command: bad\n"


@pytest.mark.parametrize(
    ("line", "code", "cause"),
    [("raise", 3, "raised ValueError: x"), ("die", 1, "SIGKILL"), ("exit 7", 1, "exit code 7"), ("exit 0", 0, "")],
)
def test_program_ends(write, capfd, line, code, cause) -> None:
    path = write(f"demo\n{line}\n")
    assert main(["replay", path]) == code
    err = capfd.readouterr().err
    if cause:
        assert f"{path}:2: the program" in err and cause in err
    if line == "raise":
        assert err.startswith("Traceback: ValueError: x\n")


def test_commands_after_the_end_fail_but_restart_helps(write, capfd) -> None:
    path = write("demo\nexit 0\nlook\n")
    assert main(["replay", path]) == 1
    assert f"{path}:3: the program has ended" in capfd.readouterr().err
    assert main(["replay", write("demo\nexit 0\nrestart\nlook\n")]) == 0
    assert "did look" in capfd.readouterr().out


def test_jsonl(write, capfd) -> None:
    assert main(["replay", write('demo\nstep\nsay "hi"\nlook\nexit 0\n'), "--format", "jsonl"]) == 0
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [line["type"] for line in lines] == [
        *("output", "stop", "result", "output", "output", "stop", "say", "result", "result", "ended")
    ] or [line["type"] for line in lines if line["type"] != "output"] == [
        *("stop", "result", "stop", "say", "result", "result", "ended")
    ]
    stop = next(line for line in lines if line["type"] == "stop")
    assert stop["situation"]["loss"] == "NaN" and stop["situation"]["position"] == 0
    assert lines[-1] == {"type": "ended", "cause": "the program ended", "code": 0, "raised": False}
    assert {"type": "say", "text": "hi"} in lines
    assert {"type": "result", "command": "look", "text": "did look", "ok": True} in lines


def test_parse_error_is_one_line(write, capfd) -> None:
    path = write("demo\nfrobnicate\n")
    assert main(["replay", path]) == 2
    out, err = capfd.readouterr()
    assert out == "" and err.startswith(f"backpropdbg: {path}:2: unknown command 'frobnicate'; ")
    assert err.count("\n") == 1


RUNNER = f"""
import sys
from backpropdbg.debugger.arguments import anything
from backpropdbg.debugger.commands import TABLE
from backpropdbg.debugger.commands.table import Command
for word in ("spin", "look"):
    TABLE[word] = Command(word, lambda debugger, text: "", anything)
from backpropdbg.wire import client
client.default_command = lambda: [sys.executable, {str(HERE.parent / "wire" / "fake_child.py")!r}]
from backpropdbg.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_ctrl_c_ends_both(write) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", RUNNER, "replay", write("demo\nspin\n")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "spin" in line:
            break
    time.sleep(0.2)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    threads = [Path(p).read_text().split() for p in map(str, Path(f"/proc/{process.pid}/task").glob("*/children"))]
    pids = {int(pid) for group in [children, *threads] for pid in group}
    assert pids
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=5)
    assert process.returncode == 130 and "Traceback" not in err
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_broken_pipe_is_quiet(write) -> None:
    path = write("demo\n" + "look\n" * 3000)
    process = subprocess.Popen(
        [sys.executable, "-c", RUNNER, "replay", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(10) == 141


def test_demo_without_a_terminal_plays_the_first_script(write, capfd, monkeypatch) -> None:
    path = Path(write("demo --uses 3\nlook\n", "shared_weight.bpdb"))
    monkeypatch.setattr("importlib.resources.files", lambda package: path.parent)
    assert main(["demo", "--seed", "5"]) == 0
    assert "(bpdb) look\ndid look\n" in capfd.readouterr().out


def test_play_needs_a_terminal(write, capfd) -> None:
    assert main(["replay", write("demo\n"), "--play", "2"]) == 2
    assert "needs a terminal" in capfd.readouterr().err
