"""Many rows in one statement: each that is carried out lets another thread of Python's run, and waits for its turn."""

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

_TOGETHER = (64, 8, 1)  # few different ones, so that each is compiled once


def insert(db: sqlite3.Connection, begin: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Add rows. begin: the statement up to them, as "INSERT INTO data VALUES"."""
    for some in _some(rows):
        one = f"({', '.join('?' * len(some[0]))})"
        db.execute(f"{begin} {', '.join([one] * len(some))}", list(chain.from_iterable(some)))


def where(db: sqlite3.Connection, begin: str, numbers: Sequence[int]) -> None:
    """Change rows. begin: the statement up to their numbers, as "DELETE FROM data WHERE id IN"."""
    for some in _some(numbers):
        db.execute(f"{begin} ({', '.join('?' * len(some))})", some)


def _some(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    done = 0
    for many in _TOGETHER:
        while len(rows) - done >= many:
            yield rows[done : done + many]
            done += many
