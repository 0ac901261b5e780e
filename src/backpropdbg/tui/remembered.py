"""The panes as they were left, in a file. It may be lost, rubbish, or not writable: then they are as at first."""

import contextlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from backpropdbg.tui.config import home
from backpropdbg.tui.tiling import SHARES, TALLEST, Column, Row, Tiling, tidied, with_panes


def state_path(environment: Mapping[str, str]) -> Path:
    """Return where the file is, or would be."""
    return home(environment, "XDG_STATE_HOME", ".local/state") / "layout.json"


def save(path: Path, tiling: Tiling | None) -> None:
    """Write a tiling; None: forget it."""
    with contextlib.suppress(OSError):
        if tiling is None:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps(as_json(tiling)) + "\n", encoding="utf-8")
        fresh.replace(path)


def load(path: Path, panes: Collection[str], more: Collection[str] = ()) -> Tiling | None:
    """Return the tiling of a file, with all `panes`, and of others only those of `more`; None where it is rubbish."""
    try:
        found = tiling(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return completed(found, panes, more)


def as_json(given: Tiling) -> dict[str, Any]:
    """Return a tiling as plain values."""
    rows = [
        {"columns": [{"panes": list(c.panes), "share": c.share} for c in row.columns], "taller": row.taller}
        for row in given.rows
    ]
    return {"rows": rows, "hidden": sorted(given.hidden), "taller": dict(given.taller)}


def tiling(given: dict[str, Any]) -> Tiling:
    """Return what `as_json` made. Raises one of several exceptions where it can't be that."""
    rows = []
    for row in given["rows"]:
        columns = [Column(tuple(map(str, c["panes"])), number(c["share"], *SHARES)) for c in row["columns"]]
        rows.append(Row(tuple(columns), number(row["taller"], -TALLEST, TALLEST)))
    taller = {str(pane): number(lines, -TALLEST, TALLEST) for pane, lines in given["taller"].items()}
    return Tiling(tidied(rows), frozenset(map(str, given["hidden"])), taller)


def number(value: object, low: int, high: int) -> int:
    """Return a whole number between two others. Raises TypeError where it is none."""
    if not isinstance(value, int):
        raise TypeError(value)
    return max(low, min(high, value))


def completed(given: Tiling, panes: Collection[str], more: Collection[str] = ()) -> Tiling | None:
    """Return a tiling with each of `panes` once: new ones beside the last, and none of those that are no more.

    more: panes that may be there, too.
    """
    missing = [pane for pane in panes if pane not in given.panes]
    known = {*panes, *more}
    left = set(known)

    def once(column: Sequence[str]) -> list[str]:
        kept = [pane for pane in dict.fromkeys(column) if pane in left]
        left.difference_update(kept)
        return kept

    rows = with_panes(given, once).rows
    if not rows:
        return None
    last = replace(rows[-1], columns=(*rows[-1].columns, *(Column((pane,)) for pane in missing)))
    taller = {pane: lines for pane, lines in given.taller.items() if pane in known}
    return Tiling((*rows[:-1], last), given.hidden & known, taller)
