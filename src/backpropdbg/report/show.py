"""Lines of a report as a table, as JSON lines, or as CSV."""

import csv
import json
import os
from collections.abc import Sequence
from typing import IO, Any

import msgspec

from backpropdbg.report.rows import Line, Row
from backpropdbg.situation import Number

FORMS = ("table", "jsonl", "csv")
_PIPED = 120
_MOST = 4
_HEADS = {
    "iter": 4,
    "uses": 4,
    "partials as they arrived": 27,
    "cancelled": 9,
    ".grad before": 12,
    ".grad": 8,
    "exact": 5,
    "update": 8,
    "relative": 8,
}


def write(
    lines: Sequence[Line], form: str, stream: IO[str], width: int | None = None, remarks: Sequence[str] = ()
) -> None:
    """Write all lines in one of FORMS.

    Args:
        width: of the table; as wide as the terminal where it is one, else 120 columns. jsonl and csv have none.
        remarks: what to say below the table.
    """
    if form == "jsonl":
        for line in lines:
            stream.write(json.dumps(msgspec.to_builtins(line.row), allow_nan=False) + "\n")
    elif form == "csv":
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(Row.__struct_fields__)
        writer.writerows([_cell(key, getattr(line.row, key)) for key in Row.__struct_fields__] for line in lines)
    else:
        _table(lines, stream, width, remarks)
    stream.flush()


def _cell(key: str, value: object) -> str:
    """A value of a row in one cell: None is empty, but "null" within a list; lists are parted by spaces."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        parting = {"names": " = ", "shape": "x", "labels": "; "}.get(key, " ")
        text = parting.join("null" if part is None else str(part) for part in value)
        return text or ("scalar" if key == "shape" else "")
    return str(value)


# -- the table -----------------------------------------------------------------------------------


def _table(lines: Sequence[Line], stream: IO[str], width: int | None, remarks: Sequence[str]) -> None:
    from rich.console import Console
    from rich.text import Text

    terminal = stream.isatty()
    if width is None:
        width = os.get_terminal_size(stream.fileno()).columns if terminal else _PIPED
    console = Console(
        file=stream, width=width, force_terminal=terminal, no_color=not terminal or None, highlight=False, emoji=False
    )
    by_name: dict[str, list[Line]] = {}
    for line in lines:
        by_name.setdefault(line.row.names[0], []).append(line)
    for mine in by_name.values():
        console.print(Text(_heading(mine[0].row), style="bold"), soft_wrap=True)
        if any(line.row.runs or line.row.weight_moved or line.row.grad_norm is not None for line in mine):
            console.print(_iterations(mine))
        for text in _findings(mine):
            console.print(Text(text, style="yellow"), soft_wrap=True)
        console.print()
    for text in (*_summary(lines), *remarks):
        console.print(Text(text), soft_wrap=True)


def _heading(row: Row) -> str:
    shape = "" if row.shape is None else "  (" + (" x ".join(map(str, row.shape)) or "scalar") + ")"
    return " = ".join(row.names) + shape


def _iterations(lines: Sequence[Line]) -> Any:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("", width=1)
    for head, least in _HEADS.items():
        table.add_column(head, min_width=least, overflow="fold")
    for line in lines:
        table.add_row("", *_cells(line))
    return table


def _cells(line: Line) -> tuple[str, ...]:
    row = line.row
    exact = {True: "yes", False: "no", None: ""}[row.exact]
    update = {True: _size(row.update_norm, "yes"), False: "none", None: "not compared"}[row.weight_moved]
    return (
        str(row.iteration),
        str(row.uses) if row.split else f"{row.uses}+",
        _partials(row),
        "" if line.cancelled is None else _percent(line.cancelled),
        _size(row.grad_norm_before),
        _size(row.grad_norm),
        "; ".join([*filter(None, [exact]), *row.labels]),
        update,
        "" if line.relative is None or not row.weight_moved else f"{line.relative:.2g}",
    )


def _partials(row: Row) -> str:
    """Their norms; of many, the first ones and how many more there are."""
    count = len(row.partial_norms)
    shown = [_size(size, "not computed") for size in row.partial_norms[: count if count <= _MOST else _MOST - 1]]
    return " ".join(shown) + (f" +{count - len(shown):,}" if count > len(shown) else "")


def _size(value: Number | None, absent: str = "None") -> str:
    """A norm in four digits; a small one never reads as zero."""
    if value is None:
        return absent
    if isinstance(value, str):
        return value
    if value == 0:
        return "0"
    return format(value, ".4f" if 1e-2 <= value < 1e5 else ".2e")


def _percent(share: float) -> str:
    """A share; never 0 or 100 where it is not."""
    shown = f"{100 * share:.0f}"
    if shown in ("0", "100") and share not in (0.0, 1.0):
        shown = "under 1" if shown == "0" else "over 99"
    return f"{shown} %"


def _findings(lines: Sequence[Line]) -> list[str]:
    """Each finding of a parameter once, with the iterations in which it shows."""
    seen: dict[tuple[str, str], list[int]] = {}
    for line in lines:
        for one in line.found:
            seen.setdefault((one.slug, one.text), []).append(line.row.iteration)
    texts = []
    for (slug, text), iterations in seen.items():
        some = "" if len(iterations) == len(lines) else f" (iteration {', '.join(map(str, iterations))})"
        texts.append(f"  ! {slug}: {text}{some}")
    return texts


def _summary(lines: Sequence[Line]) -> list[str]:
    """How many parameters each finding concerns."""
    if not lines:
        return ["No parameter was seen: no model was called, and no backward ran."]
    names: dict[str, set[str]] = {}
    for line in lines:
        for slug in line.row.findings:
            names.setdefault(slug, set()).add(line.row.names[0])
    iterations = len({line.row.iteration for line in lines})
    total = len({line.row.names[0] for line in lines})
    texts = [f"{total} parameter{'s' * (total != 1)}, {iterations} iteration{'s' * (iterations != 1)}"]
    for slug, who in names.items():
        texts.append(f"  {slug}: {', '.join(sorted(who)) if len(who) < 4 else f'{len(who)} parameters'}")
    return texts if names else [texts[0] + ": no findings"]
