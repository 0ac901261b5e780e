"""What waits to be written to a recording."""

from typing import NamedTuple

from backpropdbg.events import Event
from backpropdbg.held import Held
from backpropdbg.trace.format import Known


class Entry(NamedTuple):
    """One event. fresh: tensors that none showed before. again: numbers of those that an older iteration showed."""

    position: int
    event: Event
    fresh: list[Held]
    again: list[int]


class Batch:
    """What is written in one transaction.

    Attributes:
        known: from which position on. since: the time of the first that waits, 0.0 where nothing does.
    """

    def __init__(self) -> None:
        self.events: list[Entry] = []
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
