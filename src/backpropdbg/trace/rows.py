"""Batches of a recording as rows of its tables: one transaction each, and what the policy lets go."""

import contextlib
import sqlite3
import zlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from backpropdbg.events import Event
from backpropdbg.held import Facts, Held, Packed, Stored
from backpropdbg.keep import Keep
from backpropdbg.trace import lay
from backpropdbg.trace.batch import Batch
from backpropdbg.trace.format import Known, encoder, lost

T = TypeVar("T")
_MOST_STATES = 64


class _OwnStored:
    """One tensor as the transaction sees it that is going on."""

    kept = True

    def __init__(self, db: sqlite3.Connection, number: int) -> None:
        self._db, self._number = db, number

    def facts(self) -> Facts:
        (facts,) = self._db.execute("SELECT facts FROM tensors WHERE id = ?", (self._number,)).fetchone()
        return msgspec.msgpack.decode(facts, type=Facts)

    def pack(self) -> Packed | None:
        (data,) = self._db.execute("SELECT bytes FROM data WHERE id = ?", (self._number,)).fetchone()
        return Packed(self.facts().form, data)

    def load(self, make: Callable[[Packed], T]) -> T | None:
        packed = self.pack()
        return make(packed) if packed is not None else None


class Rows:
    """Writes to an open database.

    Args:
        number: of a tensor in the file. shown: the newest iteration that is known to show it. make: a handle to one in
            the file, to measure it with.
    """

    def __init__(
        self,
        db: sqlite3.Connection,
        keep: Keep,
        number: Callable[[Held], int | None],
        shown: Callable[[Held], int],
        make: Callable[[Stored], Held],
    ) -> None:
        self._db, self._keep, self._number, self._shown, self._make = db, keep, number, shown, make
        self._encode = encoder(number)
        self._writing = self._bytes = self._printed = 0
        self._sources: dict[str, int] = {}
        self._states: dict[bytes, int] = {}

    def undo(self) -> None:
        """Take back what was written of a batch that failed."""
        with contextlib.suppress(sqlite3.Error):
            self._db.rollback()

    def write(self, batch: Batch) -> None:
        """Write all of a batch, or nothing of it. Raises what SQLite does."""
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        for entry in batch.events:
            if entry.event.iteration != self._writing:
                self._let_go()
                self._writing = entry.event.iteration
                row = entry.event.iteration, entry.position
                db.execute("INSERT OR IGNORE INTO iterations VALUES (?, ?)", row)
            for held in entry.fresh:
                self._write_tensor(held)
            if entry.again:
                again = [(self._writing, number) for number in entry.again]
                db.executemany("UPDATE data SET shown = ?1 WHERE id = ?2 AND shown < ?1", again)
        rows = [(entry.position, *self._row(entry.event)) for entry in batch.events]
        db.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?)", rows)
        printed = batch.printed(self._printed)
        db.executemany("INSERT INTO output (position, total, stream, text) VALUES (?, ?, ?, ?)", printed)
        self._printed = printed[-1][1] if printed else self._printed
        for position, known in batch.known:
            self._write_known(position, known)
        for path, text in lay.sources(_paths(batch), self._sources):
            db.execute("INSERT OR IGNORE INTO sources VALUES (?, ?)", (path, text))
        self._let_go()
        db.execute("COMMIT")

    def _row(self, event: Event) -> tuple[int, str, bytes, int]:
        try:
            body = self._encode(event)
        except Exception as error:  # a name or a number that no file holds: the rest goes on
            event = lost(event, error)
            body = self._encode(event)
        return event.iteration, type(event).__name__, body, zlib.crc32(body)

    def _write_tensor(self, held: Held) -> None:
        number = self._number(held)
        assert number is not None
        packed = held.pack() if self._keep.size != 0 else None
        if packed is not None and self._keep.size is not None and len(packed.data) > self._keep.size:
            packed = None
        # What is kept can be measured when it is let go, if ever.
        facts = msgspec.msgpack.encode(held.facts(measure=packed is None))
        self._db.execute("INSERT INTO tensors VALUES (?, ?, ?)", (number, facts, zlib.crc32(facts)))
        if packed is not None:
            size = len(packed.data)
            # What waits in this batch may show it, too: to say so later would be to write all its bytes again.
            row = number, max(self._writing, self._shown(held)), size, packed.data, zlib.crc32(packed.data)
            self._db.execute("INSERT INTO data VALUES (?, ?, ?, ?, ?)", row)
            self._bytes += size

    def _write_known(self, position: int, known: Known) -> None:
        body = msgspec.msgpack.encode(known)
        if body not in self._states:
            if len(self._states) >= _MOST_STATES:
                self._states.clear()
            self._states[body] = self._db.execute("INSERT INTO states (body) VALUES (?)", (body,)).lastrowid or 0
        self._db.execute("INSERT OR REPLACE INTO known VALUES (?, ?)", (position, self._states[body]))

    def _let_go(self) -> None:
        """Let the bytes go that the policy has no room for: of the oldest iterations that show them."""
        keep, db = self._keep, self._db
        if keep.last is not None:
            old = db.execute("SELECT id, size FROM data WHERE shown <= ?", (self._writing - keep.last,))
            self._delete(old.fetchall(), 0)
        while keep.size is not None and self._bytes > keep.size:
            oldest = db.execute("SELECT id, size FROM data ORDER BY shown, id LIMIT 64").fetchall()
            if not oldest:
                break
            self._delete(oldest, keep.size)

    def _delete(self, rows: Sequence[Any], down_to: int) -> None:
        """Measure these tensors and let them go, as many as it takes."""
        for number, size in rows:
            facts = msgspec.msgpack.encode(self._make(_OwnStored(self._db, number)).facts())
            row = facts, zlib.crc32(facts), number
            self._db.execute("UPDATE tensors SET facts = ?, crc = ? WHERE id = ?", row)
            self._db.execute("DELETE FROM data WHERE id = ?", (number,))
            self._bytes -= size
            if self._bytes <= down_to:
                break


def _paths(batch: Batch) -> list[str]:
    """The files that these events name."""
    places = [getattr(entry.event, "where", None) for entry in batch.events]
    places += [use.where for entry in batch.events for use in getattr(entry.event, "uses", ())]
    return list(dict.fromkeys([place.path for place in places if place is not None]))
