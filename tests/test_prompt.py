"""`run` without a screen, and `set_trace()`: on a real terminal, and with everything in pipes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

WAIT = 60
TRAIN = """\
import sys, time
import torch

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    loss = model(torch.randn(4, 2)).sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print("step", step, flush=True)
    if "sleep" in sys.argv:
        print("sleeping", flush=True)
        time.sleep(60)
if "ask" in sys.argv:
    print("hello", repr(sys.stdin.readline()), sys.stdin.isatty(), sys.stdout.isatty())
if "raise" in sys.argv:
    raise ValueError("on purpose")
sys.exit(5)
"""
TRACED = """\
import torch, backpropdbg
w = torch.ones(2, requires_grad=True)
print("before", flush=True)
for n in range(2):
    backpropdbg.set_trace()
    (w * 2).sum().backward()
    print("after", n, w.grad.tolist(), flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "traced.py").write_text(TRACED)
    return tmp_path


@pytest.fixture
def spawn(folder: Path) -> Iterator[object]:
    """Start Python on a terminal; gone at the end, whatever happens."""
    started: list[pexpect.spawn[str]] = []

    def start(*words: str) -> "pexpect.spawn[str]":
        command = ["-W", "ignore", *words]
        child = pexpect.spawn(
            sys.executable, command, cwd=str(folder), timeout=WAIT, encoding="utf-8", dimensions=(40, 200)
        )
        started.append(child)
        return child

    yield start
    for child in started:
        child.close(force=True)


def at_prompt(child: "pexpect.spawn[str]", line: str = "") -> str:
    """Wait for the prompt, type a line, and return what came before the prompt."""
    child.expect_exact("(bpdb) ")
    before = child.before or ""
    if line:
        child.sendline(line)
    return before


def ended(child: "pexpect.spawn[str]") -> int | None:
    child.expect(pexpect.EOF)
    child.wait()
    return child.exitstatus if child.signalstatus is None else -child.signalstatus


def run(folder: Path, *words: str, text: str = "") -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-W", "ignore", *words]
    return subprocess.run(command, cwd=folder, input=text, capture_output=True, text=True, timeout=120)


PROMPT = ("-m", "backpropdbg", "run", "--prompt")


def test_stepping_at_a_prompt(spawn) -> None:
    child = spawn(*PROMPT, "train.py")
    at_prompt(child, "until backward 1#1")
    assert "BACKWARD" in at_prompt(child, "print iteration + 41")
    assert "42" in at_prompt(child, "nonsense")
    assert "unknown command 'nonsense'" in at_prompt(child, "until update")
    assert "after optimizer.step()" in at_prompt(child, "c")
    assert "The program ended with exit code 5." in at_prompt(child, "q")
    assert ended(child) == 5


def test_an_empty_line_repeats(spawn) -> None:
    child = spawn(*PROMPT, "train.py")
    at_prompt(child, "until iteration 2")
    first = at_prompt(child, "print 6 * 7")
    assert "iteration 2" in first
    assert "42" in at_prompt(child)
    child.sendline("")
    assert "42" in at_prompt(child, "q")
    assert ended(child) == 0


def test_what_is_typed_while_it_runs_is_the_programs(spawn) -> None:
    child = spawn(*PROMPT, "train.py", "ask")
    at_prompt(child, "c")
    child.expect_exact("step 2")
    child.sendline("you")
    child.expect_exact("hello 'you\\n' True True")
    at_prompt(child, "q")
    assert ended(child) == 5


def test_ctrl_c_breaks_in_where_no_event_comes(spawn) -> None:
    child = spawn(*PROMPT, "train.py", "sleep")
    at_prompt(child, "c")
    child.expect_exact("sleeping")
    time.sleep(0.2)
    child.sendintr()
    assert "interrupted" in at_prompt(child, "list")
    assert "time.sleep(60)" in at_prompt(child, "q")
    assert ended(child) == 0


def test_the_second_ctrl_c_is_the_programs(spawn, folder: Path) -> None:
    (folder / "busy.py").write_text(BUSY)
    child = spawn(*PROMPT, "busy.py")
    child.expect_exact("ready")
    child.sendintr()
    time.sleep(0.5)
    child.sendintr()
    child.expect_exact("mine 1")


BUSY = """
import signal, time
import torch
count = 0
def mine(number, frame):
    global count
    count += 1
    print("mine", count, flush=True)
signal.signal(signal.SIGINT, mine)
print("ready", flush=True)
while True:
    time.sleep(0.1)
"""


def test_detach_lets_it_run_on(spawn) -> None:
    child = spawn(*PROMPT, "train.py")
    at_prompt(child, "until iteration 2")
    at_prompt(child, "detach")
    assert ended(child) == 5
    assert "step 2" in (child.before or "") and "(bpdb)" not in (child.before or "")


def test_what_came_before_an_exception_can_be_looked_at(spawn) -> None:
    child = spawn(*PROMPT, "train.py", "raise")
    at_prompt(child, "c")
    assert "FINISHED  raised ValueError" in at_prompt(child, "where")
    assert "train.py:" in at_prompt(child, "rs")
    assert "(past: event" in at_prompt(child, "ledger")
    assert "running sum" in at_prompt(child, "q")
    assert ended(child) == 1


def test_an_exception_and_restart(spawn) -> None:
    child = spawn(*PROMPT, "train.py", "raise")
    at_prompt(child, "c")
    said = at_prompt(child, "restart")
    assert "ValueError: on purpose" in said and "The program raised ValueError: on purpose." in said
    assert "iteration 1" in at_prompt(child, "c")
    at_prompt(child, "q")
    assert ended(child) == 1


def test_end_of_input_quits(folder: Path) -> None:
    done = run(folder, *PROMPT, "train.py", text="until iteration 2\n")
    assert (done.returncode, done.stdout) == (0, "step 0\n")
    assert "iteration 2" in done.stderr


def test_end_of_input_quits_also_within_the_commands_of_a_breakpoint(folder: Path) -> None:
    done = run(folder, *PROMPT, "train.py", text="break backward 1\ncommands 1\nprint 1\nquit\n")
    assert (done.returncode, done.stdout) == (0, "") and done.stderr.count("can't be one of the commands") == 1


@pytest.mark.parametrize("line", ["quit 999", "quit abc"])
def test_quit_takes_an_exit_code_and_nothing_else(folder: Path, line: str) -> None:
    done = run(folder, *PROMPT, "train.py", text=f"{line}\nquit 7\n")
    assert done.returncode == 7 and f"{line.split()[1]!r} is no exit code" in done.stderr


def test_commands_and_the_program_share_a_pipe(folder: Path) -> None:
    done = run(folder, *PROMPT, "train.py", "ask", text="c\nyou\nquit 9\n")
    assert "hello 'you\\n' False False" in done.stdout


def test_commands_given_beforehand(folder: Path) -> None:
    words = ("-m", "backpropdbg", "run", "--until", "iteration 2", "-c", "print 6 * 7", "train.py")
    done = run(folder, *words)
    assert (done.returncode, done.stdout) == (5, "step 0\nstep 1\nstep 2\n")
    assert "iteration 2" in done.stderr and "(bpdb) print 6 * 7\n42\n" in done.stderr


def test_a_command_that_fails_ends_it(folder: Path) -> None:
    done = run(folder, "-m", "backpropdbg", "run", "-c", "expect iteration == 2", "train.py")
    assert (done.returncode, done.stdout) == (1, "")
    assert "expected iteration == 2: iteration is 1" in done.stderr


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--until", "iteration nine", "train.py"], "'iteration nine': iteration takes one whole number"),
        (["-c", "flarp", "train.py"], "unknown command 'flarp'"),
        (["nowhere.py"], "run nowhere.py: no such file"),
        (["--until"], "expected one argument"),
    ],
)
def test_mistakes_are_one_line(folder: Path, words: list[str], named: str) -> None:
    done = run(folder, "-m", "backpropdbg", "run", *words)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.count("\n") == 1
    assert named in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_reach_the_program(folder: Path, number: signal.Signals) -> None:
    """Without a prompt a signal is the program's, whose death is ours."""
    command = [sys.executable, "-W", "ignore", "-m", "backpropdbg", "run", "train.py", "sleep"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watched:
        assert watched.stdout is not None
        while watched.stdout.readline() != "sleeping\n":
            pass
        time.sleep(0.3)
        os.kill(watched.pid, number)
        errors = watched.communicate(timeout=WAIT)[1]
    assert watched.returncode == -number
    assert ("KeyboardInterrupt" in errors) == (number == signal.SIGINT) and "backpropdbg" not in errors


# -- set_trace() ---------------------------------------------------------------------------------


def test_set_trace_in_a_plain_program(spawn) -> None:
    child = spawn("traced.py")
    assert "before" in at_prompt(child, "list")
    assert ">   5      backpropdbg.set_trace()" in at_prompt(child, "until backward w#1")
    assert "BACKWARD" in at_prompt(child, "print partial.tolist()")
    assert "[2.0, 2.0]" in at_prompt(child, "c")
    assert "after 0 [2.0, 2.0]" in at_prompt(child, "detach")
    child.expect_exact("after 1 [4.0, 4.0]")
    assert ended(child) == 0


def test_quit_of_set_trace_ends_the_program(spawn) -> None:
    child = spawn("traced.py")
    at_prompt(child, "restart")
    assert "run it with" in at_prompt(child, "q")
    assert ended(child) == 0
    assert "after" not in (child.before or "") and "Traceback" not in (child.before or "")


def test_set_trace_under_run_stops_there(folder: Path) -> None:
    done = run(folder, "-m", "backpropdbg", "run", "-c", "c", "-c", "list", "traced.py")
    assert done.returncode == 0 and done.stdout == "before\nafter 0 [2.0, 2.0]\nafter 1 [4.0, 4.0]\n"
    assert ">   5      backpropdbg.set_trace()" in done.stderr


def test_a_program_without_torch_runs_to_its_end(folder: Path) -> None:
    (folder / "plain.py").write_text(
        "import threading\nprint('hi', threading.active_count() > 0)\nraise SystemExit(6)\n"
    )
    done = run(folder, *PROMPT, "plain.py", text="q\n")
    assert (done.returncode, done.stdout) == (6, "hi True\n") and "Traceback" not in done.stderr
    assert "exit code 6" in done.stderr


def test_a_closed_standard_input_is_the_end_of_input(folder: Path) -> None:
    command = f"{sys.executable} -W ignore -m backpropdbg run --prompt train.py <&-"
    done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "") and "Traceback" not in done.stderr
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -W ignore traced.py <&-"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (1, "before\n") and "Traceback" not in done.stderr


def test_quit_of_set_trace_takes_a_code(folder: Path) -> None:
    assert run(folder, "traced.py", text="quit 4\n").returncode == 4
    assert run(folder, "traced.py", text="list\n").returncode == 1  # nobody is there any more


def test_report_does_not_write_over_the_script(folder: Path) -> None:
    done = run(folder, "-m", "backpropdbg", "report", "-o", "train.py", "train.py")
    assert done.returncode == 2 and "is the script itself" in done.stderr
    assert (folder / "train.py").read_text() == TRAIN
