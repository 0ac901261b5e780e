"""A recording as it is read: events by position, decoded when asked for; of what was decoded, a little is kept."""

import contextlib
import sqlite3
import zlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from backpropdbg.errors import RecordingError
from backpropdbg.events import Damaged, Event
from backpropdbg.held import Held, Stored
from backpropdbg.trace.format import About, Ended, Known, decoder
from backpropdbg.trace.tables import UNREADABLE, Tables
from backpropdbg.trace.tensors import Tensors

_BLOCK = 256  # events that are read at once
_BLOCKS = 64  # that are kept
_MOST_TEXTS = 1_000
_LAST_TEXT = "SELECT max(number) FROM output WHERE position <= ?"
_MOST_EVENTS = 2**40
_LEAST_ROW = 10  # bytes of an event in the file
_EVENTS = "SELECT position, iteration, kind, body, crc FROM events"


class Reader(Tables):
    """Reads one file. What is damaged of it does not hide the rest.

    A `Damaged` stands for an event that can't be read, a tensor whose bytes are damaged is not kept. All else
    raises RecordingError where it is damaged.

    Args:
        db: an open database whose tables are ours. make: a handle to a tensor in the file. name: of the file.

    Attributes:
        tensors: those of the file.
    """

    def __init__(self, db: sqlite3.Connection, make: Callable[[Stored], Held], name: str) -> None:
        super().__init__(db, name)
        self.tensors = Tensors(self, make)
        self._decode = decoder(self.tensors.held)
        self._blocks: OrderedDict[int, list[Event]] = OrderedDict()
        self._starts: dict[int, int] | None = None  # of iterations, where their table is damaged

    # -- events ----------------------------------------------------------------------------------

    def reach(self) -> tuple[int, int]:
        """The position of the first event, and that after the last one."""
        # One query for both would read all of them.
        (low,), (high,) = (self.row(f"SELECT {end}(position) FROM events") for end in ("min", "max"))
        if low is None:
            return 0, 0
        self._check_reach(low, high)
        return low, high + 1

    def _check_reach(self, low: int, high: int) -> None:
        """No file has more events than it has room for."""
        (pages,), (size,) = self.row("PRAGMA page_count"), self.row("PRAGMA page_size")
        if not (0 <= low <= high < _MOST_EVENTS and (high - low) * _LEAST_ROW <= pages * size):
            raise RecordingError(f"{self.name} is damaged: its events go from {low} to {high}")

    def extent(self) -> tuple[int, int]:
        """The same; up to where a file is damaged so that nobody knows what comes after that."""
        try:
            return self.reach()
        except RecordingError as error:
            why = str(error).rpartition(": ")[2]
        first = end = 0
        with self.lock, contextlib.suppress(RecordingError, *UNREADABLE):
            for (position,) in self.db.execute("SELECT position FROM events ORDER BY position"):
                if end and position != end:
                    break
                first, end = first if end else position, position + 1
        self.find_damaged(f"what is after event {end - 1}", why)
        return first, end

    def event(self, position: int) -> Event:
        """One event."""
        return self.events(position, position + 1)[0]

    def events(self, start: int, end: int) -> list[Event]:
        """Those from `start` on, before `end`."""
        found: list[Event] = []
        for number in range(start // _BLOCK, -(-end // _BLOCK)):
            first = number * _BLOCK
            found += self._block(number, min(_BLOCK, end - first))[max(0, start - first) : end - first]
        return found

    def _block(self, number: int, size: int) -> list[Event]:
        """A run of events, of which `size` are needed."""
        with self.lock:
            block = self._blocks.get(number, [])
            if len(block) < size:
                block = self._blocks[number] = self._read(number * _BLOCK, size)
                while len(self._blocks) > _BLOCKS:
                    self._blocks.popitem(last=False)
            self._blocks.move_to_end(number)
            return block

    def _read(self, first: int, size: int) -> list[Event]:
        """A run of events: as many as the file has of a block, and at least `size`."""
        block: list[Event] = []
        found = {row[0]: row[1:] for row in self._rows_of(first, first + _BLOCK)}
        while len(block) < size or first + len(block) in found:
            position = first + len(block)
            try:
                block.append(self._event(found.get(position)))
            except (RecordingError, TypeError) as error:
                why = str(error)
                self.find_damaged(f"event {position}", why)
                number = block[-1].iteration if block else self._iteration_at(position)
                block.append(Damaged(number, why))
        return block

    def _rows_of(self, start: int, end: int) -> list[Any]:
        """The rows of all events from `start` on, before `end`, that can be read."""
        with contextlib.suppress(RecordingError):
            return self.rows(f"{_EVENTS} WHERE position >= ? AND position < ?", start, end)
        found = []
        for position in range(start, end):
            with contextlib.suppress(RecordingError):
                found += self.rows(f"{_EVENTS} WHERE position = ?", position)
        return found

    def _event(self, row: Any) -> Event:
        if row is None:
            raise RecordingError("it is missing")
        iteration, kind, body, crc = row
        if zlib.crc32(body) != crc:
            raise RecordingError("its checksum is another one")
        event = self._decode(kind, body)
        if event.iteration != iteration:
            raise RecordingError("it is of two iterations at once")
        return event

    def _iteration_at(self, position: int) -> int:
        """The iteration that an event of unknown contents belongs to."""
        with contextlib.suppress(RecordingError):
            row = self.row("SELECT number FROM iterations WHERE start <= ? ORDER BY start DESC LIMIT 1", position)
            return 1 if row is None else self.whole(row[0])
        return 1

    def start(self, iteration: int) -> int | None:
        """The first position of an iteration; None where it is not known."""
        if self._starts is None:
            with contextlib.suppress(RecordingError):
                row = self.row("SELECT start FROM iterations WHERE number = ?", iteration)
                return None if row is None else self.whole(row[0])
        return self._found_starts().get(iteration)

    def span(self, iteration: int) -> tuple[int, int] | None:
        """The first position of an iteration, and that of the next one (or a very large one); None where unknown."""
        start = self.start(iteration)
        if start is None:
            return None
        if self._starts is None:
            with contextlib.suppress(RecordingError):
                (following,) = self.row("SELECT min(start) FROM iterations WHERE start > ?", start)
                return start, following if following is not None else 2**62
        return start, min((other for other in self._found_starts().values() if other > start), default=2**62)

    def iterations(self) -> list[int]:
        """Numbers of all iterations, the oldest first."""
        if self._starts is None:
            with contextlib.suppress(RecordingError):
                return [self.whole(number) for (number,) in self.rows("SELECT number FROM iterations ORDER BY start")]
        return list(self._found_starts())

    def _found_starts(self) -> dict[int, int]:
        """Where each iteration starts, found in the events since the table of it is damaged."""
        if self._starts is None:
            self.find_damaged("the table of iterations", "it was made anew from the events")
            first, end = self.extent()
            self._starts = {}
            for start in range(first, end, _BLOCK):
                for position, event in enumerate(self.events(start, min(start + _BLOCK, end)), start):
                    self._starts.setdefault(event.iteration, position)
        return self._starts

    def find(self, kinds: list[str]) -> list[tuple[int, int]]:
        """Position and iteration of every event of one of these kinds."""
        places = ", ".join("?" * len(kinds))
        text = f"SELECT position, iteration FROM events WHERE kind IN ({places}) ORDER BY position"
        return [(position, self.whole(iteration)) for position, iteration in self.rows(text, *kinds)]

    # -- the rest --------------------------------------------------------------------------------

    def known(self, position: int) -> Known:
        """What was known of the program at a position."""
        latest = "SELECT state FROM known WHERE position <= ? ORDER BY position DESC LIMIT 1"
        try:
            row = self.row(f"SELECT body FROM states WHERE id = ({latest})", position)
            return self.body(row[0], Known) if row is not None else Known()
        except RecordingError as error:
            self.find_damaged("what was known of the program", str(error).rpartition(": ")[2])
            return Known()

    def about(self) -> About:
        """What was recorded."""
        row = self.row("SELECT value FROM meta WHERE key = 'about'")
        return self.body(row[0], About) if row is not None else About("")

    def ended(self) -> Ended | None:
        """How it ended; None where nobody said so: it is being written, or was killed."""
        row = self.row("SELECT value FROM meta WHERE key = 'ended'")
        return self.body(row[0], Ended) if row is not None else None

    def note(self, position: int, stream: str, text: str) -> None:
        """Nothing: a file is only read here."""

    def count(self, position: int) -> int:
        """How many characters the program had printed before the event at a position."""
        row = self.row(f"SELECT total FROM output WHERE number = ({_LAST_TEXT})", position)
        return 0 if row is None else self.whole(row[0])

    def tail(self, position: int, most: int) -> tuple[tuple[str, str], ...]:
        """The last `most` of them, as (stream, text)."""
        text = f"SELECT stream, text FROM output WHERE number <= ({_LAST_TEXT}) ORDER BY number DESC LIMIT ?"
        found: list[tuple[str, str]] = []
        for stream, printed in self.rows(text, position, _MOST_TEXTS) if most > 0 else []:
            if not isinstance(stream, str) or not isinstance(printed, bytes):
                raise RecordingError(f"{self.name} is damaged: what was printed is no text")
            shown = printed.decode("utf-8", "surrogatepass")[-most:]
            found.append((stream, shown))
            most -= len(shown)
            if most <= 0:
                break
        return tuple(reversed(found))

    def lines(self, path: str) -> list[str]:
        """The lines of a file of the program's, as they were; none where they were not recorded."""
        row = self.row("SELECT text FROM sources WHERE path = ?", path)
        if row is None or not isinstance(row[0], bytes):
            return []
        return row[0].decode("utf-8", "replace").splitlines(keepends=True)

    def close(self) -> None:
        """Close the file."""
        with self.lock:
            self.db.close()
            self.tensors.close()
