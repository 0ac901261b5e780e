"""The tables of a recording: rows, and what is damaged of them."""

import sqlite3
import threading
from typing import Any, TypeVar

import msgspec

from backpropdbg.errors import RecordingError

T = TypeVar("T")
UNREADABLE = (sqlite3.Error, UnicodeDecodeError, OverflowError, MemoryError)
_MOST_DAMAGE = 1000


class Tables:
    """Those of one file, whose schema is ours. Raises RecordingError where one is damaged.

    Attributes:
        name: of the file. damage: what was found to be damaged, and how. lock: whoever uses `db` holds it.
    """

    def __init__(self, db: sqlite3.Connection, name: str) -> None:
        self.db, self.name = db, name
        self.damage: dict[str, str] = {}
        self.lock = threading.RLock()

    def rows(self, text: str, *values: object) -> list[Any]:
        """All rows of a query."""
        with self.lock:
            try:
                return self.db.execute(text, values).fetchall()
            except UNREADABLE as error:
                raise RecordingError(f"{self.name} is damaged: {error}") from None

    def row(self, text: str, *values: object) -> Any:
        """The first row of a query; None where there is none."""
        found = self.rows(text, *values)
        return found[0] if found else None

    def whole(self, value: object) -> int:
        """A value that has to be a count."""
        if type(value) is not int or value < 0:
            raise RecordingError(f"{self.name} is damaged: {str(value)[:40]!r} is no count")
        return value

    def body(self, body: Any, kind: type[T]) -> T:
        """What a column holds as msgpack."""
        try:
            return msgspec.msgpack.decode(body, type=kind)
        except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
            raise RecordingError(f"{self.name} is damaged: {str(error)[:200]}") from None

    def find_damaged(self, what: str, why: str) -> None:
        """Note something that is damaged, once, and how."""
        if len(self.damage) < _MOST_DAMAGE:
            self.damage.setdefault(what, why)
