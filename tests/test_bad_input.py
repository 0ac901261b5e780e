"""Bad input gets one clear line: which value is wrong, what would be right, `file:line`. Never a traceback of ours."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from msgspec import Struct

from backpropdbg.cli import main

Capture = pytest.CaptureFixture[str]


class Mistake(Struct, frozen=True):
    """A script whose `line` is wrong while it runs, and what the one line on stderr must say."""

    script: str
    line: int
    words: tuple[str, ...]


# -- the command line ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("demo --uses -1", "--uses: '-1' is neither 'random' nor a whole number from 0"),
        ("demo --uses=-1", "--uses: '-1' is neither 'random' nor a whole number from 0"),
        ("demo --hidden 0", "--hidden: '0' is not a whole number from 1"),
        ("demo --hidden 100000000", "--hidden: '100000000' is not a whole number from 1 to 65536"),
        ("demo --lr nan", "--lr: 'nan' is not a number of at least 0"),
        ("demo --optimizer foo", "--optimizer: invalid choice: 'foo' (choose from"),
        ("demo --optimizer adam --momentum 0.5", "--momentum: adam has none; use it with --optimizer sgd"),
        ("demo --keep 0", "--keep: '0' is not a size such as 256MB"),
        ("demo --nonsense", "--nonsense"),
        ("demo extra", "extra"),
        ("", "COMMAND"),
        ("nonsense", "'nonsense' (choose from"),
        ("replay", "FILE"),
        ("replay x --format xml", "--format: invalid choice: 'xml' (choose from"),
    ],
)
def test_command_line(capsys: Capture, words: str, named: str) -> None:
    assert main(words.split()) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("backpropdbg: ") and err.count("\n") == 1
    assert named in err


# -- scripts that are wrong before anything runs -------------------------------------------------


@pytest.fixture
def nothing_may_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(options: object) -> None:
        raise AssertionError("the program was started")

    monkeypatch.setattr("backpropdbg.console.replay.ChildSession", start)


@pytest.mark.parametrize(
    ("script", "line", "named"),
    [
        ("demo\nfrobnicate\n", 2, "unknown command 'frobnicate'; there are: step"),
        ("demo\nnxt\n", 2, "unknown command 'nxt'; did you mean 'next'?"),
        ("demo\nn\nn 3\n", 3, "next: takes no argument, got '3'"),
        ("demo\nuntil\n", 2, "until: where? a LOC is: [forward|backward|accumulate|update]"),
        ("demo\nuntil backwards middle_linear\n", 2, "'backwards middle_linear' is no LOC: after the phase"),
        ("demo\nuntil middle_linear#0\n", 2, "'middle_linear#0' is no TARGET[#N]: N counts uses from 1"),
        ("demo\nuntil iteration x\n", 2, "'iteration x': iteration takes one whole number from 1"),
        ("demo\nbreak update if iteration >\n", 2, "'iteration >' is no expression: invalid syntax"),
        ("demo\nexpect 1 +\n", 2, "expect: '1 +' is no expression: invalid syntax"),
        ("demo\nexpect\n", 2, "expect: needs an expression, e.g."),
        ("demo\nprint grad.norm(\n", 2, "print: 'grad.norm(' is no expression: '(' was never closed"),
        ("demo\nelement one,two\n", 2, "'one,two' is no index; give one whole number per dimension"),
        ("demo\nsay no quotes here\n", 2, "say: takes one text in quotes"),
        ("demo\nquit now\n", 2, "quit: 'now' is no exit code; give a whole number"),
        ("demo --uses -1\nquit\n", 1, "--uses: '-1' is neither"),
        ("step\n", 1, "the first command must be `demo [options]`, `run SCRIPT [ARGS]` or `open FILE`, not 'step'"),
        ("", 1, "no command here; the first command must be `demo [options]`"),
        ("# words\n\n", 1, "no command here; the first command must be `demo [options]`"),
        ("demo\n\x00\x7fELF\n", 2, "control character, this is no script"),
    ],
)
@pytest.mark.usefixtures("nothing_may_run")
def test_scripts_are_parsed_whole(capsys: Capture, tmp_path: Path, script: str, line: int, named: str) -> None:
    path = tmp_path / "s.bpdb"
    path.write_text(script, encoding="utf-8")
    assert main(["replay", str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"backpropdbg: {path}:{line}: ") and err.count("\n") == 1
    assert named in err


@pytest.mark.parametrize("kind", ["missing", "directory", "binary", "device", "unreadable"])
@pytest.mark.usefixtures("nothing_may_run")
def test_unreadable_scripts(capsys: Capture, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "s.bpdb"
    if kind == "directory":
        path.mkdir()
    elif kind == "binary":
        path.write_bytes(b"demo\n\x89PNG\r\n\xff\xfe")
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind == "unreadable":
        path.write_text("demo\nquit\n")
        path.chmod(0)
        if os.access(path, os.R_OK):
            pytest.skip("root reads everything")
    named = {
        "missing": ":1: no such file",
        "directory": ":1: is not a plain file",
        "binary": ":2: not UTF-8 text (byte 0x89)",
        "device": ":1: is not a plain file",
        "unreadable": ":1: can't read it: Permission denied",
    }
    assert main(["replay", str(path)]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"backpropdbg: {path}{named[kind]}\n")


def test_a_wrong_third_line_does_not_even_import_torch(tmp_path: Path) -> None:
    path = tmp_path / "s.bpdb"
    path.write_text("demo\nstep\nfrobnicate\nquit\n")
    code = (
        "import sys\nfrom backpropdbg.cli import main\nassert main(sys.argv[1:]) == 2\n"
        "assert not {'torch', 'textual', 'multiprocessing', 'backpropdbg.child.program'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, "replay", str(path)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    assert re.fullmatch(r"backpropdbg: \S+:3: unknown command 'frobnicate'.*\n", done.stderr)


# -- scripts that go wrong while they run --------------------------------------------------------

MISTAKES = {
    "name": Mistake("demo\nexpect nonsense > 1\nsay 'never'\n", 2, ("nonsense > 1", "name 'nonsense' is not defined")),
    "attribute": Mistake("demo\nprint weight.nrom()\nsay 'never'\n", 2, ("weight.nrom()", "no attribute 'nrom'")),
    "division": Mistake("demo\nstep\nprint 1 / 0\nsay 'never'\n", 3, ("1 / 0: ZeroDivisionError",)),
    "target": Mistake(
        "demo\nuntil midle_linear\nsay 'never'\n", 2, ("'midle_linear'", "did you mean 'middle_linear'?")
    ),
    "focus": Mistake("demo\nfocus midle\nsay 'never'\n", 2, ("no parameter 'midle'",)),
    "element": Mistake("demo\nelement 9,9\nsay 'never'\n", 2, ("element 9,9", "shape [5, 5]")),
    "breakpoint": Mistake("demo\nclear 7\nsay 'never'\n", 2, ("no breakpoint 7; there are: none",)),
    "iteration": Mistake("demo\nuntil iteration 1\nsay 'never'\n", 2, ("iteration 1 is not ahead",)),
    "ended": Mistake("demo --iterations 1\nc\nstep\nsay 'never'\n", 3, ("the program has ended; restart",)),
    "expect": Mistake(
        "demo\nexpect iteration + 1 == len(locals) * 0\nsay 'never'\n",
        2,
        ("expected iteration + 1 == len(locals) * 0", "iteration + 1 is 2", "len(locals) * 0 is 0"),
    ),
    "expect one side": Mistake("demo\nexpect uses == 3\nsay 'never'\n", 2, ("expected uses == 3: uses is 0",)),
    "expect nothing": Mistake("demo\nexpect loss\nsay 'never'\n", 2, ("expected loss: it is None",)),
}
OTHERS = {
    "condition": "demo\nbreak backward middle_linear.weight#2 if 1 / 0\nc\nexpect use == 2\nsay 'stopped there'\n",
    "raises": "demo\nprint setattr(model, 'middle_linear', None)\nc\nc\nquit\n",
    "raises early": "demo --hidden 65536\nquit\n",
    "uses random": "demo --uses random\nuntil iteration 2\nquit\n",
}


LITTLE_MEMORY = """
import resource, sys
from backpropdbg.cli import main
resource.setrlimit(resource.RLIMIT_AS, (12 * 2**30, 12 * 2**30))
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], tuple[Path, int, str, str]]]:
    """Replay one of the scripts above by name: its path, exit code, stdout and stderr. All go side by side."""
    folder = tmp_path_factory.mktemp("scripts")

    def run(name: str, text: str) -> tuple[Path, int, str, str]:
        path = folder / f"{name.replace(' ', '_')}.bpdb"
        path.write_text(text)
        how = ("-c", LITTLE_MEMORY) if name == "raises early" else ("-m", "backpropdbg")
        done = subprocess.run(
            [sys.executable, *how, "replay", str(path)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return path, done.returncode, done.stdout, done.stderr

    texts = {name: mistake.script for name, mistake in MISTAKES.items()} | OTHERS
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        futures: dict[str, Future[tuple[Path, int, str, str]]] = {n: pool.submit(run, n, t) for n, t in texts.items()}
        yield lambda name: futures[name].result()
        pool.shutdown(cancel_futures=True)


Replayed = Callable[[str], tuple[Path, int, str, str]]


@pytest.mark.parametrize("name", MISTAKES)
def test_the_first_failure_stops_a_script(replayed: Replayed, name: str) -> None:
    mistake = MISTAKES[name]
    path, code, out, err = replayed(name)
    assert code == 1
    assert err.startswith(f"{path}:{mistake.line}: ") and err.count("\n") == 1
    assert all(word in err for word in mistake.words), err
    assert "never" not in out and "Traceback" not in out


def test_a_condition_that_fails_stops_there_and_says_why(replayed: Replayed) -> None:
    _, code, out, err = replayed("condition")
    assert (code, err) == (0, "")
    assert out.count("breakpoint 1, condition 1 / 0: ZeroDivisionError: division by zero\n") == 1
    assert "stopped there" in out and "Traceback" not in out


@pytest.mark.parametrize(("name", "line", "error"), [("raises", 3, "TypeError"), ("raises early", 1, "RuntimeError")])
def test_a_program_that_raises(replayed: Replayed, name: str, line: int, error: str) -> None:
    """Exit code 3, and the program's own traceback without a frame of ours."""
    path, code, _, err = replayed(name)
    assert code == 3
    assert err.count("Traceback") == 1 and err.startswith("Traceback (most recent call last):\n")
    assert err.splitlines()[-1].startswith(f"{path}:{line}: the program raised {error}: ")
    ours = {Path(f).parent.name for f in re.findall(r'File "(\S+/backpropdbg/\S+)"', err)}
    assert ours == {"demo"}


def test_uses_random_is_the_default(replayed: Replayed) -> None:
    assert replayed("uses random")[1] == 0
