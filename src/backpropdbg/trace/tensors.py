"""The tensors of a recording: what is known of each, and its bytes, which are read when they are asked for."""

import zlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from backpropdbg.errors import RecordingError
from backpropdbg.held import Facts, Form, Held, Packed, Stored
from backpropdbg.trace.heap import Found
from backpropdbg.trace.tables import Tables

T = TypeVar("T")
_MOST_CACHED = 64 * 2**20  # bytes
_OTHER_SIZE = "they have another size than it says"


class _InFile:
    """One tensor of the file; see `held.Stored`."""

    __slots__ = ("_number", "_tensors")

    def __init__(self, tensors: "Tensors", number: int) -> None:
        self._tensors, self._number = tensors, number

    @property
    def kept(self) -> bool:
        return self._tensors.has(self._number)

    def facts(self) -> Facts:
        return self._tensors.facts(self._number)

    def pack(self) -> Packed | None:
        return self._tensors.pack(self._number)

    def load(self, make: Callable[[Packed], T]) -> T | None:
        return self._tensors.load(self._number, make)


class Tensors:
    """Those of one file. One whose bytes are damaged is not kept.

    Args:
        make: a handle to a tensor in the file.
    """

    def __init__(self, tables: Tables, make: Callable[[Stored], Held]) -> None:
        self._tables, self._make = tables, make
        self._version: int = tables.db.execute("PRAGMA user_version").fetchone()[0]
        self._heap: Found | None = None
        self._handles: WeakValueDictionary[int, Held] = WeakValueDictionary()
        self._tensors: OrderedDict[tuple[int, object], tuple[Any, int]] = OrderedDict()
        self._cached = 0
        self._sound: set[int] = set()  # tensors whose bytes are what was written
        self._damaged: set[int] = set()
        self._packed: tuple[int, Packed] | None = None  # the newest that was read, and nobody made a tensor of

    def held(self, number: int) -> Held:
        """The handle to a tensor; there is one at most."""
        held = self._handles.get(number)
        if held is None:
            held = self._handles[number] = self._make(_InFile(self, number))
        return held

    def count(self) -> tuple[int | None, int | None]:
        """How many there are, and of how many the file has the bytes; None where that can't be read."""
        counts: list[int | None] = [None, None]
        for n, table in enumerate(("tensors", "data")):
            try:
                (counts[n],) = self._tables.row(f"SELECT count(*) FROM {table}")
            except RecordingError as error:
                self._tables.find_damaged(f"the table {table}", str(error).rpartition(": ")[2])
        return counts[0], counts[1]

    def has(self, number: int) -> bool:
        """True while the file has the bytes of a tensor."""
        if number in self._sound:
            return not self._gone(number)
        return self.pack(number) is not None

    def facts(self, number: int) -> Facts:
        """What is known of a tensor."""
        row = self._tables.row("SELECT facts, crc FROM tensors WHERE id = ?", number)
        if row is None:
            raise RecordingError(f"{self._tables.name} is damaged: tensor {number} is missing")
        if not isinstance(row[0], bytes) or zlib.crc32(row[0]) != row[1]:
            raise RecordingError(
                f"{self._tables.name} is damaged: what is known of tensor {number} has another checksum"
            )
        return self._tables.body(row[0], Facts)

    def pack(self, number: int) -> Packed | None:
        """The bytes of a tensor; None where they are gone, or damaged."""
        with self._tables.lock:
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
            found: tuple[object, object] | None = self._tables.row("SELECT bytes, crc FROM data WHERE id = ?", number)
            return found
        row = self._tables.row("SELECT place, size, crc FROM data WHERE id = ?", number)
        if row is None:
            return None
        if type(row[1]) is not int or not form.fits(row[1]):
            raise RecordingError(_OTHER_SIZE)
        if self._heap is None:
            key = self._tables.row("SELECT value FROM meta WHERE key = 'key'")
            self._heap = Found(self._tables.name, key and key[0])
        return self._heap.get(row[0], row[1]), row[2]

    def _gone(self, number: int) -> bool:
        return self._tables.row("SELECT 1 FROM data WHERE id = ?", number) is None

    def _lose(self, number: int, why: str) -> None:
        self._sound.discard(number)
        self._damaged.add(number)
        self._tables.find_damaged(f"the bytes of tensor {number}", why)

    def load(self, number: int, make: Callable[[Packed], T]) -> T | None:
        """The tensor that `make` makes of its bytes; None where they are gone."""
        with self._tables.lock:
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

    def close(self) -> None:
        """Close what the bytes are in."""
        if self._heap is not None:
            self._heap.close()
