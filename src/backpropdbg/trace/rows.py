"""Batches of a recording as rows of its tables, in short transactions."""

import contextlib
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from backpropdbg.events import Accumulated, BackwardStarted, BackwardUse, Event
from backpropdbg.held import Facts, Form, Held, Packed
from backpropdbg.keep import Keep
from backpropdbg.trace import lay
from backpropdbg.trace.batch import Batch, Entry, Mark
from backpropdbg.trace.format import Known, encoder, lost
from backpropdbg.trace.heap import Heap
from backpropdbg.trace.limits import Limits, Measure, sealed

_MOST_STATES = 64
_MOST_FORMS = 10_000
_HOT = 2**20  # bytes of a tensor that is measured while it is at hand: to read it again would take longer
_PORTION = 8  # of what the policy grants, this part goes into one transaction: only then its room is used again


class Rows:
    """Writes to an open database, and the bytes of tensors to a heap.

    measure: takes the statistics of tensors. of: what the file knows of one.
    """

    def __init__(
        self, db: sqlite3.Connection, heap: Heap, keep: Keep, measure: Measure, of: Callable[[Held], Mark | None]
    ) -> None:
        self._db, self._heap, self._most, self._measure, self._of = db, heap, keep.size, measure, of
        self._limits = Limits(db, heap, keep, measure)
        self._encode = encoder(self._number)
        self._writing = self._printed = 0
        self._sources: dict[str, int] = {}
        self._states: dict[bytes, int] = {}
        self._lets_go = keep.size is not None or keep.last is not None
        self._only: dict[str, Held | None] = {}  # by parameter: its partial in this backward; None where it has several
        self._bodies: dict[Form, tuple[bytes, int]] = {}  # of facts that are a form and no more

    def _number(self, held: Held) -> int | None:
        mark = self._of(held)
        return mark.number if mark is not None else None

    def undo(self) -> None:
        """Take back what was written of a batch that failed."""
        with contextlib.suppress(sqlite3.Error):
            self._db.rollback()

    def write(self, batch: Batch) -> None:
        """Write all of a batch. Raises what SQLite and the disk do; then what is half written is to be undone."""
        rest = True
        for events in batch.parts(self._most // _PORTION if self._most else None):
            pieces, tensors, data = self._tensors(events)
            places = self._heap.put(pieces)
            self._db.execute("BEGIN IMMEDIATE")
            self._write_events(events)
            self._db.executemany("INSERT INTO tensors VALUES (?, ?, ?)", tensors)
            rows = [(*row, place, len(piece)) for row, place, piece in zip(data, places, pieces, strict=True)]
            self._db.executemany("INSERT INTO data (id, shown, crc, place, size) VALUES (?, ?, ?, ?, ?)", rows)
            again = [(mark.shown, mark.number) for entry in events for mark in entry.again]
            self._db.executemany("UPDATE data SET shown = ?1 WHERE id = ?2 AND shown < ?1", again)
            if rest:
                self._write_rest(batch)
                rest = False
            gone = self._limits.let_go(sum(map(len, pieces)), self._writing)
            self._db.execute("COMMIT")
            for place, size in gone:
                self._heap.give_back(place, size)

    # -- events ----------------------------------------------------------------------------------

    def _write_events(self, events: Sequence[Entry]) -> None:
        rows = [(entry.position, *self._row(entry.event)) for entry in events]
        self._db.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?)", rows)
        for position, number, *_ in rows:
            if number != self._writing:
                self._writing = number
                self._db.execute("INSERT OR IGNORE INTO iterations VALUES (?, ?)", (number, position))

    def _row(self, event: Event) -> tuple[int, str, bytes, int]:
        try:
            body = self._encode(event)
        except Exception as error:  # a name or a number that no file holds: the rest goes on
            event = lost(event, error)
            body = self._encode(event)
        return event.iteration, type(event).__name__, body, zlib.crc32(body)

    def _write_rest(self, batch: Batch) -> None:
        """What a batch has beside its events."""
        printed = batch.printed(self._printed)
        self._db.executemany("INSERT INTO output (position, total, stream, text) VALUES (?, ?, ?, ?)", printed)
        self._printed = printed[-1][1] if printed else self._printed
        for position, known in batch.known:
            self._write_known(position, known)
        sources = lay.sources(_paths(batch.events), self._sources)
        self._db.executemany("INSERT OR IGNORE INTO sources VALUES (?, ?)", sources)

    def _write_known(self, position: int, known: Known) -> None:
        body = msgspec.msgpack.encode(known)
        if body not in self._states:
            if len(self._states) >= _MOST_STATES:
                self._states.clear()
            self._states[body] = self._db.execute("INSERT INTO states (body) VALUES (?)", (body,)).lastrowid or 0
        self._db.execute("INSERT OR REPLACE INTO known VALUES (?, ?)", (position, self._states[body]))

    # -- tensors ---------------------------------------------------------------------------------

    def _tensors(self, events: Iterable[Entry]) -> tuple[list[Any], list[Any], list[Any]]:
        """The bytes of all fresh tensors that are kept, the rows of all, and what the rows of the bytes begin with."""
        pieces: list[Any] = []
        tensors: list[Any] = []
        data: list[Any] = []
        passing: list[tuple[int, Packed]] = []  # that no file keeps, though it could
        for entry in events:
            same = self._only_partial(entry.event)
            for held, mark in entry.fresh:
                packed = held.pack() if self._most != 0 or held.nbytes < _HOT else None
                if same is not None and packed is not None and _are_one(held, packed, same):
                    mark.number = self._number(same) or mark.number
                    continue
                if packed is None or (self._lets_go and len(packed.data) >= _HOT):
                    tensors.append((mark.number, *sealed(held.facts())))
                else:
                    tensors.append((mark.number, *self._unmeasured(packed.form)))
                if packed is None:
                    continue
                if self._most is None or len(packed.data) <= self._most:
                    pieces.append(packed.data)
                    # What waits in this batch may show it, too.
                    data.append((mark.number, max(entry.event.iteration, mark.shown), zlib.crc32(packed.data)))
                elif len(packed.data) < _HOT:
                    passing.append((len(tensors) - 1, packed))
        for (n, _), facts in zip(passing, self._measure([packed for _, packed in passing]), strict=True):
            tensors[n] = (tensors[n][0], *sealed(facts))
        return pieces, tensors, data

    def _unmeasured(self, form: Form) -> tuple[bytes, int]:
        found = self._bodies.get(form)
        if found is None:
            if len(self._bodies) >= _MOST_FORMS:
                self._bodies.clear()
            found = self._bodies[form] = sealed(Facts(form))
        return found

    def _only_partial(self, event: Event) -> Held | None:
        """The partial that this `.grad` most likely is: where a parameter was used once, both are the same tensor."""
        if isinstance(event, BackwardUse):
            name = event.use.parameter
            self._only[name] = None if name in self._only else event.partial
        elif isinstance(event, BackwardStarted):
            self._only = dict.fromkeys(name for name, held in event.carried.items() if held is not None)
        elif isinstance(event, Accumulated):
            found = self._only.pop(event.parameter, None)
            return found if found is not None and found.in_memory and event.grad.in_memory else None
        return None


def _are_one(held: Held, packed: Packed, other: Held) -> bool:
    """True where two tensors have the same bits and lie in memory in the same way."""
    if not held.same_bits(other):
        return False
    theirs = other.pack()
    return theirs is not None and theirs.form == packed.form


def _paths(events: Iterable[Entry]) -> list[str]:
    """The files that these events name."""
    places = [getattr(entry.event, "where", None) for entry in events]
    places += [use.where for entry in events for use in getattr(entry.event, "uses", ())]
    return list(dict.fromkeys([place.path for place in places if place is not None]))
