"""How recordings, ledgers and updates show themselves in a notebook or by rich. It knows no notebook.

This is the one way from a recording to what the debugger says of its events: loaded only once something is shown.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from itertools import islice
from typing import Any

from msgspec.structs import replace

from backpropdbg.debugger.describe import describe, window
from backpropdbg.debugger.stop import Stop
from backpropdbg.debugger.turning import is_turning_point
from backpropdbg.events import Accumulated, BackwardStarted, BackwardUse, ForwardUse, StepFinished, StepStarted
from backpropdbg.figures import WORDS, clean, cosine_text, number_text
from backpropdbg.pages.film import COLS, ROWS, Film
from backpropdbg.pages.page import page
from backpropdbg.situation import Row
from backpropdbg.trace.history import Trace

MOST_STOPS = 200
MOST_BYTES = 2 * 2**20
TURNING = (ForwardUse, BackwardUse, Accumulated, StepStarted, StepFinished)
COLUMNS = ("term", "", "norm", "cos(sum)", "")


def film(
    trace: Trace, aliases: Mapping[str, tuple[str, ...]], title: str, focus: str = "", most: int = MOST_STOPS
) -> Film:
    """Return the turning points of one parameter, the first `most` of them.

    Args:
        focus: the parameter; "": the one with the most uses in one backward.
    """
    made = Film(title)
    focus = focus or most_used(trace)
    if focus:
        about = (n for n, _ in trace.find(TURNING) if is_turning_point(trace[n], focus))
        for position in islice(about, most):
            _show(made, Stop(trace, position, focus, ()), aliases)
        made.more = next(about, None) is not None
    return made


def most_used(trace: Trace) -> str:
    """Return the parameter with the most uses in one of the first backwards; "" without any."""
    best: Counter[str] = Counter()
    for position, _ in trace.find((BackwardStarted,))[:MOST_STOPS]:
        event = trace[position]
        assert isinstance(event, BackwardStarted)
        best |= Counter([use.parameter for use in event.uses])
    # Among equals a weight says more than a bias.
    return max(best, key=lambda name: (best[name], not name.endswith("bias")), default="")


def _show(made: Film, stop: Stop, aliases: Mapping[str, tuple[str, ...]]) -> None:
    situation = describe(stop, made.title, None, stop.optimizer, tuple(aliases), "step")
    if not any(event.feeds for event in stop.events if isinstance(event, ForwardUse)):
        situation = replace(situation, graph=())  # `record()` does not look for what feeds what
    names = [m.name for m in situation.matrices if m.state == "value"]
    cells = {name: window(stop, name, ROWS, COLS, 0, 0, True) for name in names}
    made.show(
        replace(situation, names=aliases.get(stop.focus, ()), newest=situation.position),
        {name: found for name, found in cells.items() if found is not None},
    )


def inline(made: Film) -> str:
    """Return a page for inside of another one, which it can't reach."""
    text = escape(page(made, MOST_BYTES))
    title = escape(clean(f"backpropdbg: {made.title}"))
    return (
        f'<iframe srcdoc="{text}" title="{title}" sandbox="allow-scripts"'
        ' style="width: 100%; height: 720px; border: 0"></iframe>'
    )


def html_table(title: str, rows: Sequence[Row]) -> str:
    """Return rows as a table; every sign is a character."""
    names, lines = columns(rows)
    cell = 'style="text-align: left; padding: 1px 1em 1px 0"'
    body = []
    for row, line in zip(rows, lines, strict=True):
        weight = "bold" if row.kind in ("running", "grad") else "normal"
        cells = "".join(f"<td {cell}>{escape(text)}</td>" for text in line)
        body.append(f'<tr style="font-weight: {weight}">{cells}</tr>')
    caption = f'<caption style="text-align: left; font-weight: bold">{escape(clean(title))}</caption>'
    head = "".join(f"<th {cell}>{escape(name)}</th>" for name in names)
    style = "font-family: monospace; white-space: pre-wrap"
    return f'<table style="{style}">{caption}<thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table>'


def rich_table(title: str, rows: Sequence[Row]) -> Any:
    """Return rows as a table of rich's."""
    from rich.table import Table
    from rich.text import Text

    names, lines = columns(rows)
    table = Table(title=Text(clean(title)), title_justify="left", box=None, pad_edge=False)
    for name in names:
        table.add_column(name, justify="right" if name in COLUMNS[2:4] else "left")
    for row, line in zip(rows, lines, strict=True):
        table.add_row(*(Text(text) for text in line), style="bold" if row.kind in ("running", "grad") else "")
    return table


def columns(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Return the titles and the texts of all columns in which something stands."""
    lines = [texts(row) for row in rows]
    kept = [n for n in range(len(COLUMNS)) if any(line[n] for line in lines)]
    return [COLUMNS[n] for n in kept], [[line[n] for n in kept] for line in lines]


def texts(row: Row) -> tuple[str, str, str, str, str]:
    """Return the columns of a row."""
    absent = row.state != "value"
    norm = WORDS[row.state] if absent else number_text(row.norm)
    return clean(row.term), clean(row.detail), norm, "" if absent else cosine_text(row), clean(row.note)
