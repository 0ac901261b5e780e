import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from backpropdbg.errors import CommandError
from backpropdbg.wire import client

FAKE = str(Path(__file__).parent.parent / "wire" / "fake_child.py")
WORDS = {
    *("say", "sleep", "expect", "screenshot", "quit", "source", "restart", "ledger"),
    *("step", "bad", "bug", "look", "print", "raise", "die", "exit", "spin", "break", "lines"),
}


@pytest.fixture(autouse=True)
def fake_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that the fake child knows, and the fake child in place of the true program."""

    def check(line: str) -> None:
        if line.split()[0] not in WORDS:
            raise CommandError(f"unknown command {line.split()[0]!r}")

    module = types.ModuleType("backpropdbg.debugger.commands")
    module.check = check  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "backpropdbg.debugger.commands", module)
    monkeypatch.setattr(client, "default_command", lambda: [sys.executable, FAKE])


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Write a script and return its path."""

    def write(text: str | bytes, name: str = "s.bpdb") -> str:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write
