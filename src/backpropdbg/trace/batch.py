"""What waits to be written to a recording."""

from typing import Protocol

from backpropdbg.events import Event
from backpropdbg.trace.format import Known


class Mark(Protocol):
    """What the file knows of a tensor; see `writer.InFile`."""

    number: int
    shown: int


class Batch:
    """What is written in one transaction.

    Attributes:
        events: one after the other. first: the position of the first of them.
        known: from which position on. since: the time of the first that waits, 0.0 where nothing does.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.first = 0
        self.known: list[tuple[int, Known]] = []
        self.nbytes = 0
        self.since = 0.0
        self._printed: list[tuple[int, str, list[str]]] = []

    def print(self, position: int, stream: str, text: str) -> None:
        """Take what the program printed."""
        if self._printed and self._printed[-1][:2] == (position, stream):
            self._printed[-1][2].append(text)
        else:
            self._printed.append((position, stream, [text]))

    def printed(self, before: int) -> list[tuple[int, int, str, bytes]]:
        """All of it, as rows. before: how many characters were printed before."""
        rows = []
        for position, stream, texts in self._printed:
            text = "".join(texts)
            before += len(text)
            rows.append((position, before, stream, text.encode("utf-8", "surrogatepass")))
        return rows
