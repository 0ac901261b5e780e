import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from backpropdbg.debugger.arguments import anything
from backpropdbg.debugger.commands import TABLE
from backpropdbg.debugger.commands.table import Command
from backpropdbg.wire import client

FAKE = str(Path(__file__).parent.parent / "wire" / "fake_child.py")
WORDS = {
    *("say", "sleep", "expect", "screenshot", "quit", "source", "restart", "ledger"),
    *("step", "bad", "bug", "look", "print", "raise", "die", "exit", "spin", "break", "lines"),
}


@pytest.fixture(autouse=True)
def fake_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that the fake child knows, and the fake child in place of the true program."""

    for word in WORDS:
        monkeypatch.setitem(TABLE, word, Command(word, lambda debugger, text: "", anything))
    monkeypatch.setattr(client, "default_command", lambda: [sys.executable, FAKE])


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Write a script and return its path."""

    def write(text: str | bytes, name: str = "s.bpdb") -> str:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write
