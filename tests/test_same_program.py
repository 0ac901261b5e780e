"""A watched program stays itself: the same bytes on stdout, exit status, traceback and weights as under plain python.

The programs are those of demos/, and the awkward ones of tests/awkward. Each runs by plain python and in every mode,
each time in a fresh copy of its folder.
"""

import difflib
import itertools
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

ROOT = Path(__file__).parent.parent
AWKWARD = ROOT / "tests" / "awkward"
MODES = {
    "run": ("-m", "backpropdbg", "run"),
    "report": ("-m", "backpropdbg", "report"),
    "record": ("under_record.py",),
}
# Known defects that wait for their cure. What is cured has to leave this set: the test says so.
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON") or name == "PYTHONPATH"},
    "PYTHONWARNINGS": "ignore:Failed to initialize NumPy",
    "OMP_NUM_THREADS": "1",
    "WEIGHTS": "weights.pt",
}


class Case(msgspec.Struct, frozen=True):
    """A command line after `python`, and how it ends by itself.

    Attributes:
        code: its exit status, negative for a signal.
        says: what it prints to stdout or stderr, so that it is known to come as far as it should.
        forgives: folders and files whose frames may stand on its stderr. torch walks the whole stack by itself there.
        not_in: a mode that can't have it.
    """

    words: str
    code: int = 0
    says: str = "loss"
    stdin: bytes = b""
    forgives: tuple[str, ...] = ()
    not_in: str = ""

    def __str__(self) -> str:
        return self.words.replace(".py", "").replace("/", ".")


class Done(msgspec.Struct, frozen=True):
    """What a process left."""

    code: int
    stdout: str
    stderr: str
    weights: bytes


CASES = [
    *(
        Case(f"whole.py demos/{path.name}", says="start:" if path.stem == "maml" else "step 1")
        for path in sorted((ROOT / "demos").glob("*.py"))
    ),
    Case("in_forward.py", 1, "no more than three"),
    Case("in_backward.py", 1, "no gradient of shape []"),
    Case("caught.py", 0, "-- group"),
    Case("exits.py zero", 0, "the end"),
    Case("exits.py number", 7, "the end"),
    Case("exits.py large", 300 & 255, "the end"),
    Case("exits.py negative", 255, "the end"),
    Case("exits.py text", 1, "a text:\nno number"),
    Case("exits.py none", 0, "the end"),
    Case("exits.py object", 1, "(1, 2)"),
    Case("crashes.py in-forward", 9, "the end"),
    Case("crashes.py in-backward", 11, "the end"),
    Case("crashes.py at-once", 5, "flushed"),
    Case("crashes.py segfault", -signal.SIGSEGV, "flushed"),
    Case("exits.py abort", -signal.SIGABRT, "begins"),
    Case("crashes.py kill", -signal.SIGKILL, "flushed"),
    Case("crashes.py term", -signal.SIGTERM, "flushed"),
    Case("crashes.py int", -signal.SIGINT, "KeyboardInterrupt"),
    Case("crashes.py interrupted", -signal.SIGINT, "KeyboardInterrupt"),
    Case("exits.py replaced", 13, "another program"),
    Case("exits.py while-exiting", 1, "not so fast"),
    Case("hooks_of_python.py", 1, "the very end"),
    Case("threads.py", 0, "main is gone, 2"),
    Case("output.py", 0, "last, no newline"),
    Case("reads.py", 1, "EOFError", b"you\n1\n2\n\xff"),
    Case("itself.py a '' -m --help", 0, "Settings(lr=0.5"),
    Case("checkpoints.py", 0, "again"),
    Case("forks.py", 0, "child ended with 4"),
    Case("spawns.py", 0, "child ended with 5"),
    Case("warns.py", 0, "caught an error"),
    Case("anomaly.py", 1, "returned nan values", forgives=("backpropdbg/", "<frozen runpy>")),
    Case("signals.py", -signal.SIGINT, "caught stopped by SIGTERM"),
    Case("torch_itself.py", 0, "[True, True, True, True]"),
    Case("compiled.py", 0, "graphs"),
    Case("broken.py", 1, "SyntaxError", not_in="record"),
    Case("-m package -m a b", 1, "NotImplementedError: the rest"),
    Case("-m package.work a b", 3, "__main__, A package"),
]


def run(folder: Path, case: Case, before: tuple[str, ...] = ()) -> Done:
    """Run a case in a folder of its own, whose name then stands nowhere in what it printed."""
    shutil.copytree(AWKWARD, folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "demos", folder / "demos", ignore=shutil.ignore_patterns("*.bpdb", "__pycache__"))
    (folder / "broken.py").write_text('print("never"\n')
    done = subprocess.run(
        [sys.executable, *before, *shlex.split(case.words)],
        cwd=folder,
        env=ENVIRONMENT,
        input=case.stdin,
        capture_output=True,
        timeout=120,
    )

    def cleaned(data: bytes) -> str:
        text = data.decode("utf-8", "backslashreplace").replace(str(folder), "/folder")
        return re.sub(r"\b0x[0-9a-f]+", "0x", text)

    weights = folder / "weights.pt"
    return Done(
        done.returncode,
        cleaned(done.stdout),
        cleaned(done.stderr),
        weights.read_bytes() if weights.exists() else b"",
    )


def without_frames(text: str, *files: str) -> str:
    """A traceback without the frames of these files and folders."""
    names = "|".join(map(re.escape, files))
    return re.sub(rf'(?m)^  File "[^"\n]*(?:{names})[^"\n]*", line.*\n(?:    .*\n)*', "", text)


def differences(mode: str, plain: Done, watched: Done, forgives: tuple[str, ...] = ()) -> list[str]:
    """In what the watched program was another one."""
    found = []
    if watched.code != plain.code:
        found.append(f"{mode}: exit status {watched.code}, not {plain.code}")
    if watched.stdout != plain.stdout:
        found += [f"{mode}: stdout", *_lines(plain.stdout, watched.stdout)]
    if watched.weights != plain.weights:
        found.append(f"{mode}: other weights")
    if mode == "record":  # the script that records stands below the program
        forgives = (*forgives, "under_record.py", "<frozen runpy>")
    theirs, ours = (without_frames(text, *forgives) if forgives else text for text in (plain.stderr, watched.stderr))
    same = theirs in ours if mode in ("report", "stops") else theirs == ours  # what these say goes to stderr
    if not same:
        found += [f"{mode}: stderr", *_lines(theirs, ours)]
    return found


def _lines(wanted: str, got: str) -> list[str]:
    lines = difflib.unified_diff(wanted.splitlines(), got.splitlines(), "plain", "watched", n=1, lineterm="")
    return [f"  {line[:200]}" for line in lines][:40]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_is_the_same_program(tmp_path: Path, case: Case) -> None:
    with ThreadPoolExecutor(2) as pool:  # two processes at a time
        plain = pool.submit(run, tmp_path / "plain", case)
        watched = {mode: pool.submit(run, tmp_path / mode, case, MODES[mode]) for mode in MODES if mode != case.not_in}
        by_itself = plain.result()
        assert by_itself.code == case.code, by_itself.stderr
        assert case.says in by_itself.stdout + by_itself.stderr
        assert by_itself.weights or case.words.split()[0] in ("broken.py", "exits.py")
        found = {mode: differences(mode, by_itself, done.result(), case.forgives) for mode, done in watched.items()}
    assert not [line for lines in found.values() for line in lines], "\n".join(itertools.chain(*found.values()))


def test_a_condition_that_raises_is_no_business_of_the_program(tmp_path: Path) -> None:
    """Nor are the stops at it: each stops, says why, and goes on."""
    case = Case("whole.py demos/rnn.py --steps 3", says="step 2")
    commands = ("-c", "break backward cell if 1 / 0", "-c", "continue")
    with ThreadPoolExecutor(2) as pool:
        plain = pool.submit(run, tmp_path / "plain", case)
        watched = pool.submit(run, tmp_path / "watched", case, (*MODES["run"], *commands)).result()
    assert watched.stderr.count("breakpoint 1, condition 1 / 0: ZeroDivisionError: division by zero\n") == 3 * 5
    assert not differences("stops", plain.result(), watched)


def test_every_awkward_program_is_run() -> None:
    there = {path.name for path in AWKWARD.glob("*.py")} - {"training.py", "under_record.py"}
    assert there | {"broken.py"} == {case.words.split()[0] for case in CASES if case.words[0] != "-"}


def test_what_was_ignored_when_it_was_started_is_ignored(tmp_path: Path) -> None:
    """In the background of a shell that is SIGINT, under nohup SIGHUP."""
    (tmp_path / "asks.py").write_text(
        "import signal\nprint([repr(signal.getsignal(n)) for n in (signal.SIGINT, signal.SIGHUP)])\n"
    )
    ours = f"{shlex.quote(sys.executable)} -m backpropdbg"
    for before in (shlex.quote(sys.executable), f"{ours} run", f"{ours} report"):
        for ignored, count in (("INT HUP", 2), ("HUP", 1)):
            words = ["sh", "-c", f"trap '' {ignored}; exec {before} asks.py"]
            done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60)
            assert done.stdout.count("Handlers.SIG_IGN") == count, (before, ignored, done)
