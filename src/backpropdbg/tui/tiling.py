"""Where each pane is: rows of columns of panes, as a value that knows no widget. Moving a pane makes another value."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import NamedTuple

SHARE = 20
SHARES = (1, 1000)
TALLEST = 200
LEAST_HEIGHT, LEAST_WIDTH = 3, 12
WIDE = 160
LARGE = (180, 48)
# What there always is a place for, and what may be over the screen, too.
PANES = ("graph", "timeline", "ledger", "source", "output", "matrices")
EXTRA = ("parameters", "stops", "optimizer")


@dataclass(frozen=True)
class Column:
    """Panes one below the other. share: of the width of its row, beside those of the other columns."""

    panes: tuple[str, ...]
    share: int = SHARE


@dataclass(frozen=True)
class Row:
    """Columns side by side. taller: lines that it has more (or less) than it would get."""

    columns: tuple[Column, ...]
    taller: int = 0


@dataclass(frozen=True)
class Tiling:
    """All panes, from top to bottom and from left to right.

    Attributes:
        hidden: panes that keep their place but are not shown.
        taller: lines that a pane has more (or less) than it would get in its column.
    """

    rows: tuple[Row, ...]
    hidden: frozenset[str] = frozenset()
    taller: Mapping[str, int] = field(default_factory=dict)

    @property
    def panes(self) -> list[str]:
        """All panes, also those that are hidden."""
        return [pane for row in self.rows for column in row.columns for pane in column.panes]


class Box(NamedTuple):
    """Where a pane is drawn, in cells."""

    x: int
    y: int
    width: int
    height: int


def is_large(width: int, height: int) -> bool:
    """True for a screen that has room for more than the panes that every screen has."""
    return width >= LARGE[0] and height >= LARGE[1]


def default(width: int, height: int = 0) -> Tiling:
    """Return the panes as they are at first on a screen of this size."""
    graph, timeline, matrices = (Row((Column((name,)),)) for name in ("graph", "timeline", "matrices"))
    middle = Row((Column(("ledger",), 65), Column(("source", "output"), 35)))
    if is_large(width, height):
        timeline = Row((Column(("timeline",), 67), Column(("stops",), 33)))
        middle = Row(
            (Column(("ledger",), 39), Column(("source", "output"), 28), Column(("parameters", "optimizer"), 33))
        )
    elif width >= WIDE:
        middle = Row((Column(("ledger",), 40), Column(("source",), 34), Column(("output",), 26)))
    return Tiling((graph, timeline, middle, matrices))


def with_extra(given: Tiling, pane: str, found: Mapping[str, Box], wanted: Mapping[str, int]) -> Tiling:
    """Return the tiling with a pane that it has not, below the output or what there is in its place.

    found: where the panes are now. wanted: the lines that some would like; such a one gives half of its lines.
    """
    near = next((name for name in ("output", "source", "ledger") if name in found), given.panes[-1])
    made = with_panes(given, lambda column: [n for name in column for n in ((name, pane) if name == near else (name,))])
    lines = found[near].height // 2 if near in wanted and near in found else 0
    return replace(made, taller={**given.taller, near: given.taller.get(near, 0) - lines}) if lines else made


def one_below_the_other(panes: Iterable[str]) -> Tiling:
    """Return these panes, each as wide as the screen."""
    return Tiling(tuple(Row((Column((pane,)),)) for pane in panes))


def shown(tiling: Tiling, panes: Collection[str]) -> Tiling:
    """Return the tiling with no others than these panes."""
    return with_panes(tiling, lambda column: [pane for pane in column if pane in panes])


def swap(tiling: Tiling, one: str, other: str) -> Tiling:
    """Return the tiling with two panes in each other's place."""
    names = {one: other, other: one}
    return with_panes(tiling, lambda column: [names.get(pane, pane) for pane in column])


def with_panes(tiling: Tiling, change: Callable[[Sequence[str]], Iterable[str]]) -> Tiling:
    """Return the tiling with the panes of each column changed."""
    rows = [
        replace(row, columns=tuple(replace(column, panes=tuple(change(column.panes))) for column in row.columns))
        for row in tiling.rows
    ]
    return replace(tiling, rows=tidied(rows))


def with_hidden(given: Tiling, whole: Tiling) -> Tiling:
    """Return a tiling with the panes that only `whole` has: hidden, and next to what they are next to there."""
    made, hidden = given, frozenset(whole.panes) - set(given.panes)
    last = ""
    for row in whole.rows:
        for column in row.columns:
            for pane in column.panes:
                if pane in hidden:
                    made = _beside(made, pane, last, column, row)
                last = pane
    return replace(made, hidden=hidden)


def _beside(given: Tiling, pane: str, last: str, column: Column, row: Row) -> Tiling:
    """Return a tiling with `pane` added next to what shared its column, else its row, else below the `last` one."""
    rows, there = [list(row.columns) for row in given.rows], given.panes
    mates = [name for name in column.panes if name in there]
    beside = [name for other in row.columns for name in other.panes if name in there]
    alone = Column((pane,), column.share)
    if not (mates or beside):
        at = place(rows, last)[0] + 1 if last else 0
        return replace(given, rows=(*given.rows[:at], replace(row, columns=(alone,)), *given.rows[at:]))
    order = [name for other in row.columns for name in other.panes]
    near = min(mates or beside, key=lambda name: abs(order.index(name) - order.index(pane)))
    after = order.index(near) < order.index(pane)
    r, c, p = place(rows, near)
    if mates:
        names = list(rows[r][c].panes)
        names.insert(p + after, pane)
        rows[r][c] = replace(rows[r][c], panes=tuple(names))
    else:
        rows[r].insert(c + after, alone)
    changed = replace(given.rows[r], columns=tuple(rows[r]))
    return replace(given, rows=(*given.rows[:r], changed, *given.rows[r + 1 :]))


def tidied(rows: Iterable[Row]) -> tuple[Row, ...]:
    """Return the rows without columns and rows that have nothing in them."""
    full = [replace(row, columns=tuple(column for column in row.columns if column.panes)) for row in rows]
    return tuple(row for row in full if row.columns)


def boxes(tiling: Tiling, width: int, height: int, wanted: Mapping[str, int]) -> dict[str, Box]:
    """Return where each pane is drawn. wanted: the lines that some would like; the others take what there is."""
    found: dict[str, Box] = {}
    tall = [_wanted(row, wanted) for row in tiling.rows]
    heights = stack(height, tall, [row.taller for row in tiling.rows])
    for row, top, lines in zip(tiling.rows, starts(heights), heights, strict=True):
        widths = shares(width, [column.share for column in row.columns])
        for column, left, cells in zip(row.columns, starts(widths), widths, strict=True):
            more = [tiling.taller.get(pane, 0) for pane in column.panes]
            parts = stack(lines, [wanted.get(pane) for pane in column.panes], more)
            for pane, y, part in zip(column.panes, starts(parts), parts, strict=True):
                found[pane] = Box(left, top + y, cells, part)
    return found


def _wanted(row: Row, wanted: Mapping[str, int]) -> int | None:
    """Return the lines that a row would like; None where one of its columns takes what there is."""
    if not all(pane in wanted for column in row.columns for pane in column.panes):
        return None
    return max(sum(wanted[pane] for pane in column.panes) for column in row.columns)


def starts(sizes: Sequence[int]) -> list[int]:
    """Return where things of these sizes begin, one after the other."""
    return list(accumulate(sizes, initial=0))[:-1]


def stack(height: int, wanted: Sequence[int | None], taller: Sequence[int]) -> list[int]:
    """Return the heights of things one below the other, which fill `height`; the tallest shrink.

    Example: `stack(20, [5, None, None], [0, 1, 0])` is [5, 8, 7].
    """
    if not wanted:
        return []
    fixed = [
        None if lines is None else max(LEAST_HEIGHT, lines + more) for lines, more in zip(wanted, taller, strict=True)
    ]
    flexible = [n for n, lines in enumerate(fixed) if lines is None]
    room = height - sum(lines or 0 for lines in fixed)
    room -= sum(taller[n] for n in flexible)
    found = [lines or 0 for lines in fixed]
    for rank, n in enumerate(flexible):
        found[n] = max(LEAST_HEIGHT, room // len(flexible) + (rank < room % len(flexible)) + taller[n])
    found[(flexible or [len(found) - 1])[-1]] += max(0, height - sum(found))
    while sum(found) > height:
        tallest = max(range(len(found)), key=lambda n: (found[n], n in flexible, n))
        found[tallest] -= 1
    return found


def shares(width: int, parts: Sequence[int]) -> list[int]:
    """Return the widths of things side by side, which fill `width`."""
    ends = [round(width * end / sum(parts)) for end in accumulate(parts)]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def move(tiling: Tiling, pane: str, way: str) -> Tiling:
    """Return the tiling with a pane moved "up", "down", "left" or "right" by one step; at the edge it stays.

    A pane that shares its column leaves it, one that is alone joins what is next to it; likewise with rows.
    """
    step = -1 if way in ("up", "left") else 1
    rows = (_aside if way in ("left", "right") else _up)([list(row.columns) for row in tiling.rows], pane, step)
    if rows is None:
        return tiling
    lines = {row.columns[0].panes: row.taller for row in tiling.rows}
    made = [Row(tuple(columns)) for columns in rows]
    made = [replace(row, taller=lines.get(row.columns[0].panes, 0)) for row in tidied(made)]
    return replace(tiling, rows=tuple(made))


def _aside(rows: list[list[Column]], pane: str, step: int) -> list[list[Column]] | None:
    """Return the rows with a pane moved to the left (-1) or right (1); None where it is at the edge."""
    r, c, _ = place(rows, pane)
    column = rows[r][c]
    rest = tuple(name for name in column.panes if name != pane)
    rows[r][c] = replace(column, panes=rest)
    if rest:
        rows[r].insert(c + (step > 0), Column((pane,), column.share))
        return rows
    if not 0 <= c + step < len(rows[r]):
        return None
    beside = rows[r][c + step]
    rows[r][c + step] = replace(beside, panes=(*beside.panes, pane))
    return rows


def _up(rows: list[list[Column]], pane: str, step: int) -> list[list[Column]] | None:
    """Return the rows with a pane moved up (-1) or down (1); None where it is at the edge."""
    r, c, p = place(rows, pane)
    column = rows[r][c]
    rest = [name for name in column.panes if name != pane]
    if 0 <= p + step < len(column.panes):
        rest.insert(p + step, pane)
        rows[r][c] = replace(column, panes=tuple(rest))
        return rows
    rows[r][c] = replace(column, panes=tuple(rest))
    if rest or len(rows[r]) > 1:
        rows.insert(r + (step > 0), [Column((pane,))])
        return rows
    if not 0 <= r + step < len(rows):
        return None
    joined = rows[r + step]
    joined.append(Column((pane,), sum(beside.share for beside in joined) // len(joined)))
    return rows


def place(rows: Sequence[Sequence[Column]], pane: str) -> tuple[int, int, int]:
    """Return the row of a pane, the column in it, and the place in that. Raises KeyError."""
    for r, row in enumerate(rows):
        for c, column in enumerate(row):
            if pane in column.panes:
                return r, c, column.panes.index(pane)
    raise KeyError(pane)


def widen(tiling: Tiling, pane: str, cells: int, width: int) -> Tiling:
    """Return the tiling with the column of a pane wider by `cells` of `width`, at the cost of the one beside it."""
    r, c, _ = place([row.columns for row in tiling.rows], pane)
    row = tiling.rows[r]
    widths = shares(width, [column.share for column in row.columns])
    other = c + 1 if c + 1 < len(widths) else c - 1
    if len(widths) == 1:
        return tiling
    by = max(LEAST_WIDTH - widths[c], min(widths[other] - LEAST_WIDTH, cells))
    widths[c], widths[other] = widths[c] + by, widths[other] - by
    columns = [replace(column, share=max(1, cells)) for column, cells in zip(row.columns, widths, strict=True)]
    return replace(tiling, rows=(*tiling.rows[:r], replace(row, columns=tuple(columns)), *tiling.rows[r + 1 :]))


def heighten(tiling: Tiling, pane: str, lines: int, found: Mapping[str, Box]) -> Tiling:
    """Return the tiling with a pane taller by `lines`, at the cost of the one below it, or of the row below its own.

    found: where the panes are now.
    """
    r, c, p = place([row.columns for row in tiling.rows], pane)
    column = tiling.rows[r].columns[c].panes
    if len(column) > 1:
        other = column[p + 1] if p + 1 < len(column) else column[p - 1]
        by = _bounded(lines, found[pane].height, found[other].height)
        taller = {name: tiling.taller.get(name, 0) + way * by for name, way in ((pane, 1), (other, -1))}
        return replace(tiling, taller={**tiling.taller, **taller})
    if len(tiling.rows) == 1:
        return tiling
    below = r + 1 if r + 1 < len(tiling.rows) else r - 1
    height = sum(found[name].height for name in tiling.rows[below].columns[0].panes)
    by = _bounded(lines, found[pane].height, height)
    rows = list(tiling.rows)
    rows[r] = replace(rows[r], taller=rows[r].taller + by)
    rows[below] = replace(rows[below], taller=rows[below].taller - by)
    return replace(tiling, rows=tuple(rows))


def _bounded(lines: int, mine: int, others: int) -> int:
    """Return how many lines can be given and taken, so that each keeps the least that it needs."""
    return max(LEAST_HEIGHT - mine, min(others - LEAST_HEIGHT, lines))
