"""What README.md says to type exists."""

import re
import shlex
from pathlib import Path

import pytest

from backpropdbg.cli import demo_options, main
from backpropdbg.debugger.commands import check

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"(?:<!-- (\w+) -->\n)?```sh\n(.*?)```", README, re.DOTALL)
SETUP = "python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt "
PYTHON = ".venv/bin/python -m backpropdbg "


def _help(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main([*words, "--help"])
    assert not caught.value.code
    return capsys.readouterr().out


def test_the_two_commands() -> None:
    """One pasted line starts the demo from nothing, one passes the tests. .ci/run takes the second from here."""
    marked = {mark: text for mark, text in BLOCKS if mark}
    assert marked == {
        "demo": SETUP + ". && .venv/bin/python -m backpropdbg demo\n",
        "test": SETUP + "-e '.[test]' && .venv/bin/python -m pytest\n",
    }
    assert (ROOT / "constraints.txt").is_file()


def test_the_replay_commands(capsys: pytest.CaptureFixture[str]) -> None:
    known = _help(capsys, "replay")
    commands = [line for mark, text in BLOCKS if not mark for line in text.splitlines()]
    assert commands
    for line in commands:
        assert line.startswith(PYTHON)
        subcommand, path, *options = shlex.split(line.removeprefix(PYTHON))
        assert subcommand in ("replay", "run") and (ROOT / path).is_file()
        assert subcommand == "run" or all(word in known for word in options if word.startswith("--"))


def test_inline_commands_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    """`backpropdbg ...` and `--option value` between backquotes."""
    subcommands = re.findall(r"`(?:python -m )?backpropdbg (\w+)", README) + re.findall(r"-m backpropdbg (\w+)", README)
    overview = _help(capsys)
    assert subcommands and all(re.search(rf"(?m)^ +{word} ", overview) for word in subcommands)
    options = re.findall(r"`(--[^`]+)`", README)
    assert options
    for text in options:
        demo_options(text.split())


def test_debugger_commands() -> None:
    """The examples for the command line."""
    example = README[README.index("The command line takes") :].split("\n\n")[0]
    commands = re.findall(r"`([^`]+)`", example)
    assert len(commands) >= 7
    for command in commands:
        check(command)


def test_the_table_of_scripts() -> None:
    listed = re.findall(r"(?m)^\| `demos/(\S+)` \| \S", README)
    assert sorted(listed) == sorted(path.name for path in (ROOT / "demos").glob("*.bpdb"))
