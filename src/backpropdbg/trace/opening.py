"""A recording is opened: nothing in it is trusted, and nothing is written to it.

Only our own tables may be in it (no view, trigger or virtual table), no text of it runs as SQL, no path in it is
opened, and each query has to end in some time.
"""

import contextlib
import os
import shutil
import sqlite3
import stat
import tempfile
import time
from collections.abc import Callable
from urllib.parse import quote

from backpropdbg.errors import RecordingError
from backpropdbg.events import Event
from backpropdbg.held import Held, Stored
from backpropdbg.trace.file import Names
from backpropdbg.trace.format import APPLICATION_ID, OLDEST, SCHEMAS, VERSION, Known
from backpropdbg.trace.history import Trace
from backpropdbg.trace.lay import is_ours
from backpropdbg.trace.reader import Reader
from backpropdbg.trace.tables import UNREADABLE

_LONGEST = 20.0  # seconds of one query
_LARGEST = 2**31 - 1  # bytes of one value
_PAGES = 8_000  # of 1 KiB that SQLite may keep


class Opened(Trace):
    """The trace in a file: it reads as a live one does, but nothing is added."""

    def __init__(self, path: str, make: Callable[[Stored], Held]) -> None:
        super().__init__()
        self.path = path
        self.printed = self.reader = Reader(_open(path), make, path)
        self.about, self.ended = self.reader.about(), self.reader.ended()
        self._news: dict[int, list[str]] = {}
        self._known: tuple[int, Known] | None = None
        self._first, self._end = self.reader.extent()
        if not self._end:
            raise RecordingError(self.damage or f"{path}: nothing was recorded")

    @property
    def damage(self) -> str:
        """What was found to be damaged so far, in one line; "" where nothing was."""
        found = self.reader.damage
        more = f"; and so are {len(found) - 1} more of its parts" if len(found) > 1 else ""
        return next((f"{self.path} is damaged: {what}: {why}{more}" for what, why in found.items()), "")

    def news(self, position: int) -> tuple[str, ...]:
        """What was found to be damaged since this was asked for another position; one line for each part."""
        found = [f"{self.path} is damaged: {what}: {why}" for what, why in self.reader.damage.items()]
        told = sum(len(lines) for lines in self._news.values())
        self._news.setdefault(position, []).extend(found[told:])
        return tuple(self._news[position])

    def check(self) -> None:
        """Read all events, so that `damage` tells of them all."""
        for position in range(self._first, self._end):
            self[position]

    def __len__(self) -> int:
        return self._end

    @property
    def first(self) -> int:
        return self._first

    def append(self, event: Event) -> int:
        raise RecordingError(f"{self.path} is a recording: nothing is added")

    def __getitem__(self, position: int) -> Event:
        if not self._first <= position < self._end:
            raise IndexError(f"no event {position}: there are {self._first} to {self._end - 1}")
        return self.reader.event(position)

    def iterations(self) -> list[int]:
        return self.reader.iterations()

    def start(self, number: int) -> int | None:
        return self.reader.start(number)

    def learn(self, names: Names) -> None:
        """Nothing: what is known is in the file."""

    def known(self, position: int) -> Known:
        """What was known of the program at a position."""
        if self._known is None or self._known[0] != position:
            self._known = position, self.reader.known(position)
        return self._known[1]

    @property
    def names(self) -> Names:
        return self.names_at(self._end - 1)

    def names_at(self, position: int) -> Names:
        return self.known(position).names

    def iteration(self, number: int, until: int | None = None) -> list[Event]:
        span = self.reader.span(number)
        if span is None:
            return []
        return self.between(span[0], min(span[1], self._end if until is None else until + 1))

    def between(self, start: int, end: int) -> list[Event]:
        return self.reader.events(start, end)

    def find(self, kinds: tuple[type[Event], ...]) -> list[tuple[int, int]]:
        return [row for row in self.reader.find([kind.__name__ for kind in kinds]) if row[0] < self._end]

    def lines(self, path: str) -> list[str]:
        return self.reader.lines(path)

    def refresh(self) -> None:
        """See what was added since, by whoever records it."""
        with contextlib.suppress(RecordingError):  # of a damaged one we see no more than before
            self._first, self._end = self.reader.reach()
            self.ended = self.reader.ended()


def _open(path: str) -> sqlite3.Connection:
    """Open a file for reading only. Raises RecordingError in one line where it is no recording of ours."""
    try:
        there = os.stat(path)
    except (OSError, ValueError) as error:
        raise RecordingError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if not stat.S_ISREG(there.st_mode):
        kind = "a folder" if stat.S_ISDIR(there.st_mode) else "no plain file"
        raise RecordingError(f"{path} is {kind}; give a recording (a .bptrace file)")
    if not os.access(path, os.R_OK):
        raise RecordingError(f"{path}: can't be read")
    if not is_ours(path):
        raise RecordingError(f"{path} is {'empty' if not there.st_size else 'no recording'}; give a .bptrace file")
    try:
        return _checked(_reading(path), path)
    except UNREADABLE as error:
        raise RecordingError(f"{path} is damaged: {str(error)[:200]}") from None


def _reading(path: str) -> sqlite3.Connection:
    """A connection that can read. In a folder that can't be written to SQLite needs help."""
    name = quote(os.path.abspath(path))
    with contextlib.suppress(sqlite3.OperationalError):
        return _connect(f"file:{name}?mode=ro")
    if not os.path.exists(path + "-wal"):
        return _connect(f"file:{name}?mode=ro&immutable=1")
    with tempfile.TemporaryDirectory(prefix="backpropdbg-") as folder:  # the log has to be merged somewhere
        copy = os.path.join(folder, "copy")
        shutil.copyfile(path, copy)
        shutil.copyfile(path + "-wal", copy + "-wal")
        return _connect(f"file:{quote(copy)}")


def _connect(uri: str) -> sqlite3.Connection:
    db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=2.0)
    db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LARGEST)
    for setting in ("trusted_schema = OFF", "query_only = ON", "cell_size_check = ON", f"cache_size = -{_PAGES}"):
        db.execute(f"PRAGMA {setting}")
    db.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # it opens the file, and its log, only now
    return db


def _checked(db: sqlite3.Connection, path: str) -> sqlite3.Connection:
    """Raise RecordingError unless the tables are ours, to the letter."""
    (application,), (version,) = (
        db.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version")
    )
    if application != APPLICATION_ID:
        raise RecordingError(f"{path} is no recording; give a .bptrace file")
    if version > VERSION:
        raise RecordingError(
            f"{path} is of a newer backpropdbg (format {version}; this one reads {OLDEST} to {VERSION}): update it"
        )
    found = db.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL LIMIT 100").fetchall()
    if 0 < version < OLDEST:
        reads = f"{OLDEST} to {VERSION}"
        raise RecordingError(
            f"{path} is of an older backpropdbg (format {version}; this one reads {reads}): record it again"
        )
    if version < 1 or dict(found) != SCHEMAS[version] or len(found) != len(SCHEMAS[version]):
        raise RecordingError(f"{path} is damaged, or no recording: its tables are not ours")
    _limit_time(db)
    return db


def _limit_time(db: sqlite3.Connection) -> None:
    """End a query that a damaged file never lets end."""
    began: list[float] = [0.0, 0.0]

    def tick() -> int:
        now = time.monotonic()
        if now - began[1] > 1.0:  # another query
            began[0] = now
        began[1] = now
        return int(now - began[0] > _LONGEST)

    db.set_progress_handler(tick, 100_000)
