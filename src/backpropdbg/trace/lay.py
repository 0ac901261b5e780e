"""The file of a recording on the disk: made anew, closed, and why it can't be written."""

import contextlib
import ctypes
import os
import sqlite3
import stat
import sys
import tokenize
from collections.abc import Iterable, Iterator
from urllib.parse import quote

import msgspec

from backpropdbg.errors import RecordingError
from backpropdbg.trace.format import APPLICATION_ID, SCHEMA, VERSION, About, Ended, readable
from backpropdbg.trace.heap import KEY, Heap

_MOST_SOURCE = 2**20  # bytes of one file of the program's
_MOST_SOURCES = 2**24
_BESIDE = ("-wal", "-shm", "-journal", "-data")
_LOG = 4_000  # pages of 4 KiB, after which it is merged and the disk waited for


def new_file(path: str, about: About) -> tuple[sqlite3.Connection, Heap]:
    """Make an empty recording. Raises RecordingError where there is something else, or nothing can be written."""
    check(path)
    fresh, key = f"{path}.{os.getpid()}.new", os.urandom(KEY)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(fresh)
        db = _connect(fresh)
        try:
            db.execute("PRAGMA synchronous = OFF")  # nobody reads it yet
            db.execute("BEGIN")
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {VERSION}")
            for text in SCHEMA.values():
                db.execute(text)
            meta = {"about": msgspec.msgpack.encode(readable(about)), "key": key}
            db.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
            db.execute("COMMIT")
        finally:
            db.close()
        for ending in _BESIDE:  # of the one that is replaced: they would be taken for the new one's
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path + ending)
        os.replace(fresh, path)
        db = _connect(path)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute(f"PRAGMA wal_autocheckpoint = {_LOG}")
        return db, Heap(path, key)
    except (sqlite3.Error, OSError) as error:
        with contextlib.suppress(OSError):
            os.unlink(fresh)
        raise RecordingError(f"can't record to {path!r}: {reason(error, path)}") from None


def _connect(path: str) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=2.0)


def reading(path: str) -> sqlite3.Connection:
    """Another connection to a file of this process's own, that only reads."""
    return sqlite3.connect(
        f"file:{quote(os.path.abspath(path))}?mode=ro",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=2.0,
    )


def check(path: str) -> None:
    """Raise RecordingError where something else is there, or the folder can't be written to."""
    try:
        there = os.stat(path)
    except FileNotFoundError:
        folder = os.path.dirname(os.path.abspath(path))
        if not (os.path.isdir(folder) and os.access(folder, os.W_OK)):
            what = "can't be written to" if os.path.isdir(folder) else "is not there"
            raise RecordingError(f"can't record to {path!r}: the folder {folder!r} {what}") from None
        return
    except (OSError, ValueError) as error:
        raise RecordingError(f"can't record to {path!r}: {reason(error, path)}") from None
    if not stat.S_ISREG(there.st_mode):
        what = "a folder" if stat.S_ISDIR(there.st_mode) else "no plain file"
        raise RecordingError(f"can't record to {path!r}: it is {what}")
    if there.st_size and not is_ours(path):
        raise RecordingError(f"can't record to {path!r}: there is a file that is no recording; give another name")
    held = hold(path)
    if held is None:
        raise RecordingError(f"can't record to {path!r}: another process is recording to it; give another name")
    os.close(held)


def hold(path: str) -> int | None:
    """Say to others that this file is being recorded to, until what is returned is closed; None where it is already."""
    held = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        import fcntl

        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        return None
    except (ImportError, OSError):  # Windows, or a file system without locks
        pass
    return held


def is_ours(path: str) -> bool:
    """True where a plain file begins as a recording does."""
    try:
        with open(path, "rb") as file:
            head = file.read(100)
    except OSError:
        return False
    return head[:16] == b"SQLite format 3\0" and head[68:72] == APPLICATION_ID.to_bytes(4, "big")


def close(db: sqlite3.Connection, ended: Ended) -> bool:
    """Say how the recording ended, and leave no log beside it; True where all of the database is in its own file."""
    whole = False
    db.execute("INSERT OR REPLACE INTO meta VALUES ('ended', ?)", (msgspec.msgpack.encode(readable(ended)),))
    with contextlib.suppress(sqlite3.OperationalError):  # where somebody reads it the log stays, as whole as it is
        whole = not db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        db.execute("PRAGMA journal_mode = DELETE")
    db.close()
    return whole


def forget(db: sqlite3.Connection) -> None:
    """In a forked worker: never close a copy of the parent's database, not even at the interpreter's end."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(db))


def reason(error: Exception, path: str) -> str:
    """Why a file can't be written, in a few words."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, MemoryError):
        return "not enough memory"
    text = str(error)
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        return f"there is no folder {folder!r}"
    if "unable to open" in text or "readonly" in text:
        return f"the folder {folder!r} can't be written to"
    return {"disk I/O error": "the disk is full, or the file may not grow"}.get(text, text)


def sources(paths: Iterable[str], known: dict[str, int]) -> Iterator[tuple[str, bytes]]:
    """The text of the program's files that are not known yet. known: their sizes, and those that came before."""
    for path in paths:
        if path in known:
            continue
        known[path] = 0
        text = _source(path)
        if text is not None and sum(known.values()) + len(text) <= _MOST_SOURCES:
            known[path] = len(text)
            with contextlib.suppress(UnicodeEncodeError):
                path.encode()
                yield path, text


def _source(path: str) -> bytes | None:
    try:
        there = os.stat(path)
        if not stat.S_ISREG(there.st_mode) or there.st_size > _MOST_SOURCE:
            return None
        with tokenize.open(path) as file:
            return file.read().encode("utf-8", "replace")
    except (OSError, ValueError, SyntaxError):
        return None


def versions() -> dict[str, str]:
    """What a recording was made with."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": sys.version.split()[0]}
    for name in ("backpropdbg", "torch"):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
