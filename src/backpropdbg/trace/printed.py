"""What the program printed, beside the events: what of it stood there at which of them."""

import bisect
import threading
from typing import Protocol

MOST = 2**20
_PIECE = 4096


class Pieces(Protocol):
    """What was printed, in memory or in a file."""

    def note(self, position: int, stream: str, text: str) -> None:
        """Add text that is printed before the event at this position."""

    def count(self, position: int) -> int:
        """How many characters stood there at a position, those too that are forgotten."""

    def tail(self, position: int, most: int) -> tuple[tuple[str, str], ...]:
        """The last `most` of them, as (stream, text)."""


class Printed:
    """The newest `most` characters of it.

    A piece is marked with the position of the first event after it: it stands there from that event on.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._marks: list[int] = []
        self._pieces: list[tuple[str, str]] = []
        self._counts: list[int] = []  # characters up to and with each piece
        self._lock = threading.RLock()  # a signal handler may print within a print

    def note(self, position: int, stream: str, text: str) -> None:
        """Add text that is printed before the event at this position."""
        with self._lock:
            total = self._counts[-1] if self._counts else 0
            last = self._pieces[-1] if self._pieces else ("", "")
            if last[0] == stream and self._marks[-1] == position and len(last[1]) < _PIECE:
                self._pieces[-1], self._counts[-1] = (stream, last[1] + text), total + len(text)
            else:
                self._marks.append(position)
                self._pieces.append((stream, text))
                self._counts.append(total + len(text))
            self._forget()

    def _forget(self) -> None:
        """Let the oldest pieces go, many at once."""
        if self._counts[-1] - (self._counts[0] - len(self._pieces[0][1])) <= 2 * self._most:
            return
        gone = min(bisect.bisect_right(self._counts, self._counts[-1] - self._most), len(self._counts) - 1)
        for known in (self._marks, self._pieces, self._counts):
            del known[:gone]

    def count(self, position: int) -> int:
        """How many characters stood there at a position, those too that are forgotten."""
        with self._lock:
            at = bisect.bisect_right(self._marks, position)
            if at:
                return self._counts[at - 1]
            return self._counts[0] - len(self._pieces[0][1]) if self._counts else 0

    def tail(self, position: int, most: int) -> tuple[tuple[str, str], ...]:
        """The last `most` of them, as (stream, text)."""
        found: list[tuple[str, str]] = []
        with self._lock:
            at = bisect.bisect_right(self._marks, position)
            while at and most > 0:
                at -= 1
                stream, text = self._pieces[at]
                found.append((stream, text[-most:]))
                most -= len(text)
        return tuple(reversed(found))
