"""What the policy has no room for: the bytes of the oldest tensors go, what is known of them stays."""

import sqlite3
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from backpropdbg.held import Facts, Packed
from backpropdbg.keep import Keep
from backpropdbg.trace.heap import Heap
from backpropdbg.trace.many import insert, where

Measure = Callable[[Sequence[Packed]], list[Facts]]
_facts = msgspec.msgpack.Decoder(Facts).decode
_OLDEST = "SELECT id, place, size, data.crc, facts FROM data JOIN tensors USING (id)"


def sealed(facts: Facts) -> tuple[bytes, int]:
    """What a row of the table `tensors` says, and its checksum."""
    body = msgspec.msgpack.encode(facts)
    return body, zlib.crc32(body)


class Limits:
    """Those of one recording. measure: takes the statistics of tensors whose bytes are about to go.

    A tensor is measured only now, many at once: most recordings never reach their limit.
    """

    def __init__(self, db: sqlite3.Connection, heap: Heap, keep: Keep, measure: Measure) -> None:
        self._db, self._heap, self._keep, self._measure = db, heap, keep, measure
        self._bytes = 0

    def let_go(self, added: int, newest: int) -> list[tuple[int, int]]:
        """Let bytes go, of the oldest iterations that show them; where they are, to be used again after a commit.

        added: how many bytes came to it. newest: the iteration that is written.
        """
        self._bytes += added
        keep = self._keep
        gone: list[Any] = []
        if keep.last is not None:
            gone += self._db.execute(f"{_OLDEST} WHERE shown <= ?", (newest - keep.last,)).fetchall()
        if keep.size is not None:
            more = self._bytes - keep.size
            if more > 0:
                for row in self._db.execute(f"{_OLDEST} ORDER BY shown, id"):
                    gone.append(row)
                    more -= row[2]
                    if more <= 0:
                        break
        self._know(gone)
        where(self._db, "DELETE FROM data WHERE id IN", [row[0] for row in gone])
        places = [row[1:3] for row in gone]
        self._bytes -= sum(size for _, size in places)
        return places

    def _know(self, gone: Sequence[Any]) -> None:
        """Measure those that nobody measured, as long as the bytes are there, and are what was written."""
        numbers, tensors = [], []
        rows = [(number, place, size, crc, facts.form) for number, place, size, crc, facts in _unknown(gone)]
        places = [(place, size) for _, place, size, _, _ in rows]
        for (number, _, _, crc, form), data in zip(rows, self._heap.get(places), strict=True):
            if zlib.crc32(data) == crc:
                numbers.append(number)
                tensors.append(Packed(form, data))
        known = [(n, *sealed(facts)) for facts, n in zip(self._measure(tensors), numbers, strict=True)]
        insert(self._db, "INSERT OR REPLACE INTO tensors VALUES", known)


def _unknown(gone: Sequence[Any]) -> list[Any]:
    found = [(*row, _facts(facts)) for *row, facts in gone]
    return [row for row in found if row[-1].norm is None]
