"""The bytes of tensors. They stand in no table: SQLite copies, checks and syncs each of them several times.

While a recording is made they have a file of their own beside it, which grows at its end, and is written again where
the policy let tensors go. In the end it is put behind the last page of the database, which SQLite never looks at: a
recording is one file. A key says that the two belong together.
"""

import bisect
import contextlib
import os
import shutil
import stat
import sys
from collections.abc import Sequence
from itertools import accumulate
from typing import BinaryIO

from backpropdbg.errors import RecordingError

Bytes = bytes | bytearray | memoryview
KEY = 16
_MAGIC = b"bptensor"
_BESIDE = "-data"
_TOGETHER = 1000  # pieces that one call to the system takes
# Bytes; for many more the system takes memory that it never touched, which is dear in a virtual machine.
_AT_ONCE = 2**20
_COPIED = 2**22  # at once


def beside(path: str) -> str:
    """The file that stands beside a recording in the making."""
    return path + _BESIDE


class Room:
    """Which parts of a file are free: those that were given back, and all after its end."""

    def __init__(self, end: int) -> None:
        self.end = end
        self._free: list[tuple[int, int]] = []  # from, to; sorted, and no two touch

    def take(self, sizes: Sequence[int]) -> list[int]:
        """Where pieces of these sizes may go: the first free part that holds one takes those that follow, too."""
        places: list[int] = []
        ends = list(accumulate(sizes))
        while len(places) < len(ends):
            n, done = self._first(sizes[len(places)]), len(places)
            start, end = self._free[n] if n < len(self._free) else (self.end, sys.maxsize)
            base = start - (ends[done - 1] if done else 0)
            holds = bisect.bisect(ends, end - base, done)
            places += [base + after - size for after, size in zip(ends[done:holds], sizes[done:holds], strict=True)]
            filled = base + ends[holds - 1]
            if n == len(self._free):
                self.end = filled
            else:
                self._free[n : n + 1] = [(filled, end)] if end > filled else []
        return places

    def _first(self, size: int) -> int:
        """Which free part is the first that holds so many bytes; after the last one, where none does."""
        return next((n for n, (start, end) in enumerate(self._free) if end - start >= size), len(self._free))

    def give(self, start: int, size: int) -> None:
        """Give a part back."""
        end = start + size
        n = bisect.bisect(self._free, (start, end))
        if n < len(self._free) and self._free[n][0] == end:
            end = self._free.pop(n)[1]
        if n and self._free[n - 1][1] == start:
            n -= 1
            start = self._free.pop(n)[0]
        if end > start:
            self._free.insert(n, (start, end))


class Heap:
    """Takes the bytes of tensors while a recording is made. Raises OSError."""

    def __init__(self, path: str, key: bytes) -> None:
        self._file = open(beside(path), "w+b", buffering=0)  # noqa: SIM115
        self._room = Room(len(_MAGIC) + KEY)
        self._write(0, [_MAGIC + key])

    def put(self, pieces: Sequence[Bytes]) -> list[int]:
        """Write all of them; return where each is."""
        sizes = [len(piece) for piece in pieces]
        places = self._room.take(sizes)
        first, waiting = 0, 0
        for n, (place, size, following) in enumerate(zip(places, sizes, [*places[1:], None], strict=False), 1):
            waiting += size
            if following != place + size or waiting >= _AT_ONCE or n - first == _TOGETHER:
                self._write(places[first], pieces[first:n])
                first, waiting = n, 0
        return places

    def _write(self, place: int, pieces: Sequence[Bytes]) -> None:
        """Write what follows each other, in one call: each lets other threads run, and waits for its turn."""
        self._file.seek(place)
        written = os.writev(self._file.fileno(), pieces) if hasattr(os, "writev") else 0
        if written < sum(map(len, pieces)):
            left = memoryview(b"".join(pieces))[written:]
            while left:
                left = left[self._file.write(left) :]

    def get(self, places: Sequence[tuple[int, int]]) -> list[memoryview]:
        """What was put there; each with its size. What lies in a row is read together."""
        found: list[memoryview] = []
        while len(found) < len(places):
            first = last = len(found)
            start = end = places[first][0]
            while last < len(places) and places[last][0] == end and end - start < _COPIED:
                end += places[last][1]
                last += 1
            self._file.seek(start)
            read = memoryview(self._file.read(end - start))
            found += [read[place - start : place - start + size] for place, size in places[first:last]]
        return found

    def give_back(self, place: int, size: int) -> None:
        """These bytes are nobody's any more, and no transaction that fails will say otherwise."""
        self._room.give(place, size)

    def close(self) -> None:
        """Write no more."""
        self._file.close()


class Found:
    """Reads the bytes of a recording's tensors, wherever they are. Not for several threads at once."""

    def __init__(self, path: str, key: object) -> None:
        """Raises RecordingError where they are not there."""
        places = [(beside(path), 0), (path, _pages(path))]
        for name, start in places:
            with contextlib.suppress(OSError):
                if stat.S_ISREG(os.stat(name).st_mode):
                    self._file, self._start = open(name, "rb", buffering=0), start  # noqa: SIM115
                    head = self._at(0, len(_MAGIC) + KEY)
                    if isinstance(key, bytes) and head is not None and bytes(head) == _MAGIC + key:
                        return
                    self._file.close()
        raise RecordingError(f"they are not in the file, and {beside(path)}, which would have them, is not there")

    def get(self, place: object, size: object) -> bytearray:
        """So many bytes. Raises RecordingError where they are not there."""
        if type(place) is not int or type(size) is not int or place < 0 or size < 0:
            raise RecordingError("nobody knows where they are")
        found = self._at(place, size)
        if found is None:
            raise RecordingError("they are not in the file")
        return found

    def _at(self, place: int, size: int) -> bytearray | None:
        if self._start + place + size > os.fstat(self._file.fileno()).st_size:
            return None
        found = bytearray(size)
        self._file.seek(self._start + place)
        left = memoryview(found)
        while left:
            n = self._file.readinto(left)
            if not n:
                return None
            left = left[n:]
        return found

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _pages(path: str) -> int:
    """Bytes of the database in a file, as its header says; they are followed by those of tensors, if any are there."""
    with open(path, "rb") as file:
        head = file.read(32).ljust(32, b"\0")
    size = int.from_bytes(head[16:18], "big")
    return int.from_bytes(head[28:32], "big") * (2**16 if size == 1 else size)


def make_one(path: str) -> None:
    """Put what stands beside a recording behind its pages. Raises OSError; then they are as they were."""
    end = _pages(path)
    with open(beside(path), "rb") as source, open(path, "r+b") as file:
        if os.fstat(file.fileno()).st_size != end:
            raise OSError("the database is not whole")
        try:
            _copy(source, file, end)
        except OSError:
            with contextlib.suppress(OSError):
                file.truncate(end)
            raise
    os.unlink(beside(path))


def _copy(source: BinaryIO, file: BinaryIO, end: int) -> None:
    file.seek(end)
    shutil.copyfileobj(source, file, _COPIED)
    file.flush()
