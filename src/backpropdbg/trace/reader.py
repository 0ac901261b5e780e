"""A recording as it is read: events by position, decoded when asked for; of what was decoded, a little is kept."""

import contextlib
import sqlite3
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import msgspec

from backpropdbg.errors import RecordingError
from backpropdbg.events import Damaged, Event
from backpropdbg.held import Facts, Form, Held, Packed, Stored
from backpropdbg.trace.format import About, Ended, Known, decoder
from backpropdbg.trace.heap import Found

T = TypeVar("T")
_BLOCK = 256  # events that are read at once
_BLOCKS = 64  # that are kept
_MOST_CACHED = 64 * 2**20  # bytes of tensors
_MOST_TEXTS = 1_000
_LAST_TEXT = "SELECT max(number) FROM output WHERE position <= ?"
_MOST_EVENTS = 2**40
_MOST_DAMAGE = 1000
_OTHER_SIZE = "they have another size than it says"
_LEAST_ROW = 10  # bytes of an event in the file
_EVENTS = "SELECT position, iteration, kind, body, crc FROM events"
UNREADABLE = (sqlite3.Error, UnicodeDecodeError, OverflowError, MemoryError)


class _InFile:
    """One tensor of the file; see `held.Stored`."""

    __slots__ = ("_number", "_reader")

    def __init__(self, reader: "Reader", number: int) -> None:
        self._reader, self._number = reader, number

    @property
    def kept(self) -> bool:
        return self._reader.has(self._number)

    def facts(self) -> Facts:
        return self._reader.facts(self._number)

    def pack(self) -> Packed | None:
        return self._reader.pack(self._number)

    def load(self, make: Callable[[Packed], T]) -> T | None:
        return self._reader.load(self._number, make)


class Reader:
    """Reads one file. What is damaged of it does not hide the rest.

    A `Damaged` stands for an event that can't be read, a tensor whose bytes are damaged is not kept. All else
    raises RecordingError where it is damaged.

    Args:
        db: an open database whose tables are ours. make: a handle to a tensor in the file. name: of the file.

    Attributes:
        damage: what was found to be damaged, and how.
    """

    def __init__(self, db: sqlite3.Connection, make: Callable[[Stored], Held], name: str) -> None:
        self.db, self._make, self._name = db, make, name
        self._version: int = db.execute("PRAGMA user_version").fetchone()[0]
        self._heap: Found | None = None
        self.damage: dict[str, str] = {}
        self._lock = threading.RLock()
        self._decode = decoder(self._held)
        self._handles: WeakValueDictionary[int, Held] = WeakValueDictionary()
        self._blocks: OrderedDict[int, list[Event]] = OrderedDict()
        self._tensors: OrderedDict[tuple[int, object], tuple[Any, int]] = OrderedDict()
        self._cached = 0
        self._sound: set[int] = set()  # tensors whose bytes are what was written
        self._damaged: set[int] = set()
        self._packed: tuple[int, Packed] | None = None  # the newest that was read, and nobody made a tensor of
        self._starts: dict[int, int] | None = None  # of iterations, where their table is damaged

    # -- rows ------------------------------------------------------------------------------------

    def rows(self, text: str, *values: object) -> list[Any]:
        """All rows of a query."""
        with self._lock:
            try:
                return self.db.execute(text, values).fetchall()
            except UNREADABLE as error:
                raise RecordingError(f"{self._name} is damaged: {error}") from None

    def row(self, text: str, *values: object) -> Any:
        """The first row of a query; None where there is none."""
        found = self.rows(text, *values)
        return found[0] if found else None

    def _whole(self, value: object) -> int:
        if type(value) is not int or value < 0:
            raise RecordingError(f"{self._name} is damaged: {str(value)[:40]!r} is no count")
        return value

    def _body(self, body: Any, kind: type[T]) -> T:
        try:
            return msgspec.msgpack.decode(body, type=kind)
        except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
            raise RecordingError(f"{self._name} is damaged: {str(error)[:200]}") from None

    def _find_damaged(self, what: str, why: str) -> None:
        if len(self.damage) < _MOST_DAMAGE:
            self.damage.setdefault(what, why)

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
            raise RecordingError(f"{self._name} is damaged: its events go from {low} to {high}")

    def extent(self) -> tuple[int, int]:
        """The same; up to where a file is damaged so that nobody knows what comes after that."""
        try:
            return self.reach()
        except RecordingError as error:
            why = str(error).rpartition(": ")[2]
        first = end = 0
        with self._lock, contextlib.suppress(RecordingError, *UNREADABLE):
            for (position,) in self.db.execute("SELECT position FROM events ORDER BY position"):
                if end and position != end:
                    break
                first, end = first if end else position, position + 1
        self._find_damaged(f"what is after event {end - 1}", why)
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
        with self._lock:
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
                self._find_damaged(f"event {position}", why)
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
            return 1 if row is None else self._whole(row[0])
        return 1

    def start(self, iteration: int) -> int | None:
        """The first position of an iteration; None where it is not known."""
        if self._starts is None:
            with contextlib.suppress(RecordingError):
                row = self.row("SELECT start FROM iterations WHERE number = ?", iteration)
                return None if row is None else self._whole(row[0])
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
                return [self._whole(number) for (number,) in self.rows("SELECT number FROM iterations ORDER BY start")]
        return list(self._found_starts())

    def _found_starts(self) -> dict[int, int]:
        """Where each iteration starts, found in the events since the table of it is damaged."""
        if self._starts is None:
            self._find_damaged("the table of iterations", "it was made anew from the events")
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
        return [(position, self._whole(iteration)) for position, iteration in self.rows(text, *kinds)]

    # -- tensors ---------------------------------------------------------------------------------

    def _held(self, number: int) -> Held:
        held = self._handles.get(number)
        if held is None:
            held = self._handles[number] = self._make(_InFile(self, number))
        return held

    def count_tensors(self) -> tuple[int | None, int | None]:
        """How many there are, and of how many the file has the bytes; None where that can't be read."""
        counts: list[int | None] = [None, None]
        for n, table in enumerate(("tensors", "data")):
            try:
                (counts[n],) = self.row(f"SELECT count(*) FROM {table}")
            except RecordingError as error:
                self._find_damaged(f"the table {table}", str(error).rpartition(": ")[2])
        return counts[0], counts[1]

    def has(self, number: int) -> bool:
        """True while the file has the bytes of a tensor."""
        if number in self._sound:
            return not self._gone(number)
        return self.pack(number) is not None

    def facts(self, number: int) -> Facts:
        """What is known of a tensor."""
        row = self.row("SELECT facts, crc FROM tensors WHERE id = ?", number)
        if row is None:
            raise RecordingError(f"{self._name} is damaged: tensor {number} is missing")
        if not isinstance(row[0], bytes) or zlib.crc32(row[0]) != row[1]:
            raise RecordingError(f"{self._name} is damaged: what is known of tensor {number} has another checksum")
        return self._body(row[0], Facts)

    def pack(self, number: int) -> Packed | None:
        """The bytes of a tensor; None where they are gone, or damaged."""
        with self._lock:
            if self._packed is not None and self._packed[0] == number:
                return self._packed[1]
            packed = self._bytes(number) if number not in self._damaged else None
            if packed is not None:
                self._sound.add(number)
                self._packed = (number, packed) if len(packed.data) < _MOST_CACHED else None
            return packed

    def _bytes(self, number: int) -> Packed | None:
        form = self.facts(number).form
        try:
            found = self._sealed(number, form)
            if found is None:
                return None
            data, crc = found
            if not isinstance(data, bytes | bytearray) or not form.fits(len(data)):
                raise RecordingError(_OTHER_SIZE)
            if zlib.crc32(data) != crc:
                if self._gone(number):  # and others were written in their place meanwhile
                    return None
                raise RecordingError("their checksum is another one")
        except RecordingError as error:
            self._lose(number, str(error))
            return None
        return Packed(form, data)

    def _sealed(self, number: int, form: Form) -> tuple[object, object] | None:
        """The bytes of a tensor and their checksum, both unchecked; None where they are gone."""
        if self._version < 3:
            found: tuple[object, object] | None = self.row("SELECT bytes, crc FROM data WHERE id = ?", number)
            return found
        row = self.row("SELECT place, size, crc FROM data WHERE id = ?", number)
        if row is None:
            return None
        if type(row[1]) is not int or not form.fits(row[1]):
            raise RecordingError(_OTHER_SIZE)
        if self._heap is None:
            key = self.row("SELECT value FROM meta WHERE key = 'key'")
            self._heap = Found(self._name, key and key[0])
        return self._heap.get(row[0], row[1]), row[2]

    def _gone(self, number: int) -> bool:
        return self.row("SELECT 1 FROM data WHERE id = ?", number) is None

    def _lose(self, number: int, why: str) -> None:
        self._sound.discard(number)
        self._damaged.add(number)
        self._find_damaged(f"the bytes of tensor {number}", why)

    def load(self, number: int, make: Callable[[Packed], T]) -> T | None:
        """The tensor that `make` makes of its bytes; None where they are gone."""
        with self._lock:
            if (number, make) in self._tensors:
                self._tensors.move_to_end((number, make))
                found: T = self._tensors[number, make][0]
                return found
            packed = self.pack(number)
            if packed is None:
                return None
            try:
                found = make(packed)
            except (RuntimeError, ValueError, TypeError, MemoryError) as error:
                self._lose(number, str(error)[:200])
                return None
            self._packed = None
            self._cache((number, make), found, packed.form.nbytes)
            return found

    def _cache(self, key: tuple[int, object], tensor: object, size: int) -> None:
        self._tensors[key] = tensor, size
        self._cached += size
        while self._cached > _MOST_CACHED and len(self._tensors) > 1:
            _, (_, gone) = self._tensors.popitem(last=False)
            self._cached -= gone

    # -- the rest --------------------------------------------------------------------------------

    def known(self, position: int) -> Known:
        """What was known of the program at a position."""
        latest = "SELECT state FROM known WHERE position <= ? ORDER BY position DESC LIMIT 1"
        try:
            row = self.row(f"SELECT body FROM states WHERE id = ({latest})", position)
            return self._body(row[0], Known) if row is not None else Known()
        except RecordingError as error:
            self._find_damaged("what was known of the program", str(error).rpartition(": ")[2])
            return Known()

    def about(self) -> About:
        """What was recorded."""
        row = self.row("SELECT value FROM meta WHERE key = 'about'")
        return self._body(row[0], About) if row is not None else About("")

    def ended(self) -> Ended | None:
        """How it ended; None where nobody said so: it is being written, or was killed."""
        row = self.row("SELECT value FROM meta WHERE key = 'ended'")
        return self._body(row[0], Ended) if row is not None else None

    def note(self, position: int, stream: str, text: str) -> None:
        """Nothing: a file is only read here."""

    def count(self, position: int) -> int:
        """How many characters the program had printed before the event at a position."""
        row = self.row(f"SELECT total FROM output WHERE number = ({_LAST_TEXT})", position)
        return 0 if row is None else self._whole(row[0])

    def tail(self, position: int, most: int) -> tuple[tuple[str, str], ...]:
        """The last `most` of them, as (stream, text)."""
        text = f"SELECT stream, text FROM output WHERE number <= ({_LAST_TEXT}) ORDER BY number DESC LIMIT ?"
        found: list[tuple[str, str]] = []
        for stream, printed in self.rows(text, position, _MOST_TEXTS) if most > 0 else []:
            if not isinstance(stream, str) or not isinstance(printed, bytes):
                raise RecordingError(f"{self._name} is damaged: what was printed is no text")
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
        with self._lock:
            self.db.close()
            if self._heap is not None:
                self._heap.close()
