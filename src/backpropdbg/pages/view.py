"""One stop as the texts and colour weights that the page puts in place: all numbers are written here, not there."""

from collections.abc import Sequence
from math import isfinite, prod
from pathlib import PurePath
from textwrap import dedent
from typing import Any

from backpropdbg.figures import WORDS, cell_text, clean, cosine_text, number_text
from backpropdbg.pages.film import Slide
from backpropdbg.situation import GraphNode, Matrix, Row, Situation, Window, as_float, element_name

MOST_ROWS = 40
MOST_LEVELS = 40
MOST_ON_A_LEVEL = 6
FEW = 4
NON_FINITE = ("NaN", "Infinity", "-Infinity")

View = dict[str, Any]


def view(slide: Slide) -> View:
    """Return all texts of one stop, fit for JSON."""
    s = slide.situation
    return {
        "name": clean(s.where) or s.event,
        "iteration": s.iteration,
        "phase": s.phase,
        "when": when(s),
        "program": clean(s.program),
        "loss": number_text(s.loss, digits=2),
        "odd": s.loss in NON_FINITE,
        "seed": s.seed,
        "optimizer": clean(s.optimizer),
        "graph": graph(s),
        "ledger": ledger(s),
        "matrices": [matrix(m, slide.windows.get(m.name), s.element) for m in s.matrices],
        "source": source(s),
        "explanation": [clean(line) for line in s.explanation],
        "proof": clean(s.proof),
        "displays": [clean(line) for line in s.displays],
        "remarks": [(r.kind, clean(r.command), clean(r.text)) for r in slide.remarks],
        "printed": slide.printed,
        "past": None if slide.past is None else [(stream, clean(text)) for stream, text in slide.past],
    }


def when(s: Situation) -> str:
    """Return "" in the present, else which event of the past this is."""
    if not (s.past or s.recorded):
        return ""
    return f"{'recording' if s.recorded else 'past'}: event {s.position} of {s.newest}"


def graph(s: Situation) -> View:
    """Return the levels around the stop; before, after: how many more there are."""
    groups: dict[int, list[GraphNode]] = {}
    for node in s.graph:
        groups.setdefault(node.level, []).append(node)
    levels = [groups[level] for level in sorted(groups)]
    here = next((n for n, group in enumerate(levels) if any("here" in (g.forward, g.backward) for g in group)), 0)
    start = max(0, min(here - MOST_LEVELS // 2, len(levels) - MOST_LEVELS))
    shown = levels[start : start + MOST_LEVELS]
    return {
        "levels": [level(group) for group in shown],
        "before": start,
        "after": len(levels) - start - len(shown),
    }


def level(group: Sequence[GraphNode]) -> View:
    """Return the calls of one level, those at the stop among them; more: how many others there are."""
    ranked = sorted(group, key=lambda node: ("here" not in (node.forward, node.backward), not node.focused))
    kept = [node for node in group if node in ranked[:MOST_ON_A_LEVEL]][:MOST_ON_A_LEVEL]
    return {"nodes": [node(n) for n in kept], "more": len(group) - len(kept)}


def node(n: GraphNode) -> View:
    """Return one call."""
    norm = number_text(n.partial_norm, digits=2) if n.partial_state == "value" else WORDS[n.partial_state]
    return {
        "label": clean(n.label),
        "fwd": n.forward,
        "bwd": n.backward,
        "partial": f"{n.partial} {norm}" if n.partial else "",
        "known": n.partial_state == "value",
    }


def ledger(s: Situation) -> View:
    """Return the ledger with its titles, and beneath it the terms of the update."""
    updating = s.update and s.phase in ("update", "finished")
    shape = ", ".join(map(str, s.shape))
    return {
        "title": clean(" = ".join(s.names) or s.focus),
        "shape": f"[{shape}]" if s.focus else "",
        "cosine": "cos(sum)" if s.cosine_to.startswith("final") else "cos(run)",
        "element": clean(element_name(s.focus, s.element)),
        "rows": [row(r) for r in folded(s.ledger)],
        "update": [row(r) for r in s.update] if updating else [],
    }


def folded(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with a long stretch of pending partials as one, and of very many only those at both ends."""
    pending = [r for r in rows if r.kind == "partial" and r.state == "pending"]
    if len(pending) > FEW:
        one = Row("partial", f"{pending[0].term} .. {pending[-1].term}", f"{len(pending)} uses", "pending")
        first = next(n for n, r in enumerate(rows) if r is pending[0])
        rest = [r for r in rows[first:] if not (r.kind == "partial" and r.state == "pending")]
        rows = [*rows[:first], one, *rest]
    if len(rows) <= MOST_ROWS:
        return list(rows)
    here = next((n for n, r in enumerate(rows) if r.here), 0)
    near = {*range(3), *range(len(rows) - 11, len(rows)), *range(max(0, here - 12), here + 12)}
    return gaps(rows, near)


def gaps(rows: Sequence[Row], kept: set[int]) -> list[Row]:
    """Return the rows that are kept, and one that counts the others for each gap between them."""
    found: list[Row] = []
    left_out = 0
    for n, r in enumerate(rows):
        if n not in kept:
            left_out += 1
            continue
        if left_out:
            found.append(Row("gap", "...", note=f"{left_out} more rows are not shown"))
            left_out = 0
        found.append(r)
    return found


def row(r: Row) -> View:
    """Return the columns of one row; way: the sign of its element, for the colour that stands beside the character."""
    absent = r.state != "value"
    value = None if absent or r.element is None else as_float(r.element)
    return {
        "kind": r.kind,
        "term": clean(r.term),
        "detail": clean(r.detail),
        "state": r.state,
        "norm": WORDS[r.state] if absent else number_text(r.norm),
        "cosine": "" if absent else cosine_text(r),
        "element": "" if absent else number_text(r.element, signed=True),
        "way": sign(value),
        "note": clean(r.note),
        "here": r.here,
    }


def sign(value: float | None) -> str:
    """Return "up", "down", "odd" for a non-finite one, or ""."""
    if value is None or value == 0:
        return ""
    return "odd" if not isfinite(value) else "up" if value > 0 else "down"


def matrix(m: Matrix, window: Window | None, element: Sequence[int]) -> View:
    """Return one grid: its column and row numbers, and each cell as (text, weight of its colour from -1 to 1)."""
    if m.state != "value" or window is None or not window.values:
        word = WORDS[m.state] or ("empty" if 0 in m.shape else WORDS["not kept"])
        return {"title": clean(m.title), "word": word, "note": clean(m.note), "scale": "", "rows": []}
    rows = range(window.row0, window.row0 + window.row_step * len(window.values), window.row_step)
    cols = range(window.col0, window.col0 + window.col_step * len(window.values[0]), window.col_step)
    return {
        "title": clean(m.title),
        "word": "",
        "note": clean(m.note),
        "scale": scale(window),
        "cols": list(cols),
        "rows": [
            (n, [(cell_text(v), weight(v, window.scale_vmax)) for v in line])
            for n, line in zip(rows, window.values, strict=True)
        ],
        "mark": selected(m, window, element),
    }


def scale(window: Window) -> str:
    """Return the end of the colour scale, and the pooling."""
    text = f"±{number_text(window.scale_vmax, 2)}"
    pooled = window.row_step > 1 or window.col_step > 1
    return f"{text}, largest of {window.row_step}x{window.col_step}" if pooled else text


def weight(value: float | str, vmax: float) -> float | None:
    """Return a cell's place on the symmetric scale, from -1 to 1; None where it is not finite."""
    v = as_float(value)
    if not isfinite(v):
        return None
    return round(max(-1.0, min(1.0, v / vmax)), 3) if vmax > 0 else 0.0


def selected(m: Matrix, window: Window, element: Sequence[int]) -> tuple[int, int] | None:
    """Return the shown row and column of the cell that holds the selected element."""
    if len(element) != len(m.shape):
        return None
    flat = 0
    for index, size in zip(element, m.shape, strict=True):
        flat = flat * size + index
    columns = max(1, prod(m.shape[1:]) if len(m.shape) > 1 else prod(m.shape))
    r, c = (flat // columns - window.row0) // window.row_step, (flat % columns - window.col0) // window.col_step
    return (r, c) if 0 <= r < len(window.values) and 0 <= c < len(window.values[0]) else None


def source(s: Situation) -> View | None:
    """Return the lines around the stop; at: which of them is the stop's own."""
    if s.source is None:
        return None
    return {
        "name": clean(f"{PurePath(s.source.path).name}:{s.source.line}"),
        "first": s.source.first,
        "at": s.source.line - s.source.first,
        "lines": dedent("\n".join(clean(line) for line in s.source.lines)).split("\n"),
        "caption": clean(s.source.caption),
    }
