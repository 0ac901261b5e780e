import queue
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backpropdbg.wire.client import ChildSession
from backpropdbg.wire.session import Message

FAKE = str(Path(__file__).with_name("fake_child.py"))


class Probe:
    """A session on the fake child, and what it received."""

    def __init__(self, options: dict[str, object], command: list[str] | None = None) -> None:
        self.session = ChildSession(options, command or [sys.executable, FAKE])
        self.inbox: queue.Queue[Message] = queue.Queue()
        self.seen: list[Message] = []

    def start(self) -> "Probe":
        self.session.start(self.inbox.put)
        return self

    def until(self, kind: type, timeout: float = 10) -> Message:
        deadline = time.monotonic() + timeout
        while True:
            message = self.inbox.get(timeout=max(0.01, deadline - time.monotonic()))
            self.seen.append(message)
            if isinstance(message, kind):
                return message

    def do(self, line: str, kind: type) -> Message:
        self.session.command(line)
        return self.until(kind)


@pytest.fixture
def probe() -> Iterator[Callable[..., Probe]]:
    made: list[Probe] = []

    def make(*args: object, **options: object) -> Probe:
        command = args[0] if args else None
        made.append(Probe(options, command))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.session.close()
