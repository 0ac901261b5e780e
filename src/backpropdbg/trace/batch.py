"""What waits to be written to a recording."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from msgspec import Struct

from backpropdbg.events import Event
from backpropdbg.held import Held
from backpropdbg.trace.format import Known


class Mark(Protocol):
    """What the file knows of a tensor; see `writer.InFile`."""

    number: int
    shown: int
    written: bool


class Entry(Struct, frozen=True, gc=False):
    """One event. fresh: tensors that none showed before. again: those that an older iteration showed.

    It is nothing that the collector looks at: many wait, and would have it run through all of the program's objects.
    """

    position: int
    event: Event
    fresh: Sequence[tuple[Held, Mark]]
    again: Sequence[Mark]


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

    def parts(self, most: int | None) -> Iterator[list[Entry]]:
        """The events, at least one list, each with at most that many bytes of fresh tensors, or one event."""
        part: list[Entry] = []
        size = 0
        for entry in self.events:
            mine = sum(held.nbytes for held, _ in entry.fresh)
            if part and most is not None and size + mine > most:
                yield part
                part, size = [], 0
            part.append(entry)
            size += mine
        yield part

    def printed(self, before: int) -> list[tuple[int, int, str, bytes]]:
        """All of it, as rows. before: how many characters were printed before."""
        rows = []
        for position, stream, texts in self._printed:
            text = "".join(texts)
            before += len(text)
            rows.append((position, before, stream, text.encode("utf-8", "surrogatepass")))
        return rows
