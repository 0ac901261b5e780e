"""Batches of a recording as rows of its tables, in short transactions."""

import contextlib
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

import msgspec

from backpropdbg.events import BackwardStarted, Event
from backpropdbg.held import Held
from backpropdbg.keep import Keep
from backpropdbg.trace import lay
from backpropdbg.trace.batch import Batch
from backpropdbg.trace.format import Known, encoder, lost
from backpropdbg.trace.heap import Heap
from backpropdbg.trace.limits import Limits, Measure
from backpropdbg.trace.many import insert, where
from backpropdbg.trace.part import Parts

_MOST_STATES = 64


class Rows:
    """Writes to an open database, and the bytes of tensors to a heap.

    measure: takes the statistics of tensors. of: the mark of one, None for one that no event shows for long.
    """

    def __init__(
        self, db: sqlite3.Connection, heap: Heap, keep: Keep, measure: Measure, of: Callable[[Held], Any]
    ) -> None:
        self._db, self._heap, self._of = db, heap, of
        self._parts = Parts(keep, measure, of)
        self._limits = Limits(db, heap, keep, measure)
        self._encode = encoder(self._number)
        self._writing = self._printed = 0
        self._sources: dict[str, int] = {}
        self._states: dict[bytes, int] = {}

    def _number(self, held: Any) -> int | None:
        mark = self._of(held)
        return None if mark is None else mark.number

    def undo(self) -> None:
        """Take back what was written of a batch that failed."""
        with contextlib.suppress(sqlite3.Error):
            self._db.rollback()

    def write(self, batch: Batch) -> int:
        """Write all of a batch; return the number of its newest tensor.

        Raises what SQLite and the disk do; then what is half written is to be undone.
        """
        done, rest = 0, True
        while rest or done < len(batch.events):
            part = self._parts.make(islice(batch.events, done, None))
            rows = part.rows(self._heap.put(part.pieces))
            self._db.execute("BEGIN IMMEDIATE")
            self._write_events(part.events, batch.first + done)
            insert(self._db, "INSERT INTO tensors VALUES", part.tensors)
            insert(self._db, "INSERT INTO data VALUES", rows)
            for number in set(part.again.values()):
                shown = [mark for mark, newest in part.again.items() if newest == number]
                where(self._db, "UPDATE data SET shown = ? WHERE shown < ? AND id IN", shown, number, number)
            if rest:
                self._write_rest(batch)
                rest = False
            gone = self._limits.let_go(part.size, self._writing)
            self._db.execute("COMMIT")
            for place, size in gone:
                self._heap.give_back(place, size)
            done += len(part.events)
        return self._parts.count

    def _write_events(self, events: Sequence[Event], first: int) -> None:
        rows = []
        for position, event in enumerate(events, first):
            try:
                body = self._encode(event)
            except Exception as error:  # a name or a number that no file holds: the rest goes on
                event = lost(event, error)
                body = self._encode(event)
            number = event.iteration
            rows.append((position, number, type(event).__name__, body, zlib.crc32(body)))
            if number != self._writing:
                self._writing = number
                self._db.execute("INSERT OR IGNORE INTO iterations VALUES (?, ?)", (number, position))
        insert(self._db, "INSERT INTO events VALUES", rows)

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


def _paths(events: Iterable[Event]) -> set[str]:
    """The files that these events name."""
    places = {getattr(event, "where", None) for event in events}
    for event in events:
        if type(event) is BackwardStarted:
            places.update([use.where for use in event.uses])
    return {place.path for place in places if place is not None}
