"""Many rows in one statement: each that is carried out lets another thread of Python's run, and waits for its turn."""

import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import Any

_TOGETHER = (64, 8)  # few different ones, so that each is compiled once


def insert(db: sqlite3.Connection, begin: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Add rows. begin: the statement up to them, as "INSERT INTO data VALUES"."""
    if not rows:
        return
    one, done = f"({', '.join('?' * len(rows[0]))})", 0
    for many in _TOGETHER:
        while len(rows) - done >= many:
            values = list(chain.from_iterable(rows[done : done + many]))
            db.execute(f"{begin} {', '.join([one] * many)}", values)
            done += many
    db.executemany(f"{begin} {one}", rows[done:])


def where(db: sqlite3.Connection, begin: str, numbers: Sequence[int], *values: int) -> None:
    """Change rows. begin: the statement up to their numbers, as "DELETE … WHERE id IN"; values: what it takes."""
    done = 0
    for many in _TOGETHER:
        while len(numbers) - done >= many:
            db.execute(f"{begin} ({', '.join('?' * many)})", (*values, *numbers[done : done + many]))
            done += many
    db.executemany(f"{begin} (?)", [(*values, number) for number in numbers[done:]])
