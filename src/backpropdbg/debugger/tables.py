"""Plain-text tables for the looking commands."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from backpropdbg.debugger import drawing
from backpropdbg.debugger.describe import graph as graph_nodes
from backpropdbg.debugger.rows import ledger_rows, update_rows
from backpropdbg.debugger.words import fused_note, line_of
from backpropdbg.questions import BADGES, Line, ParametersOf, Story, Turn
from backpropdbg.situation import Number, Row, State, as_float, element_name

if TYPE_CHECKING:
    from backpropdbg.debugger.core import Debugger

_MOST_LINES = 200


def shown(value: Number | None, sign: bool = False) -> str:
    """Return a number in few characters that never reads as zero unless it is."""
    if value is None:
        return ""
    x = as_float(value)
    if x == 0:
        return "0"
    return f"{x:+.4g}" if sign else f"{x:.4g}"


def table(rows: Sequence[Row], element: str = "") -> str:
    """Lay rows out in aligned columns."""
    cells = [("", "term", "norm", "cos", element, "")]
    for row in rows:
        term = f"{row.term}  {row.detail}".rstrip()
        norm = shown(row.norm) if row.state == "value" else _absent(row)
        cells.append((">" if row.here else "", term, norm, _cosine(row), shown(row.element, True), row.note))
    widths = [max(len(c[i]) for c in cells) for i in range(6)]
    lines = []
    for mark, term, norm, cosine, value, note in cells:
        line = f"{mark:1} {term:<{widths[1]}}  {norm:>{widths[2]}}  {cosine:>{widths[3]}}  {value:>{widths[4]}}  {note}"
        lines.append(line.rstrip())
    return "\n".join(lines)


def _absent(row: Row) -> str:
    word = {"none": "None"}.get(row.state, row.state)
    return f"{word} ({shown(row.norm)})" if row.norm is not None else word


def _cosine(row: Row) -> str:
    return "" if row.cosine is None or row.term == "rounding" else f"{as_float(row.cosine):+.2f}"


def ledger(d: "Debugger") -> str:
    """The ledger of the focus, with the terms of the update once there are any."""
    at = element_name(d.focus, d.stop.element)
    text = f"{d.names.title(d.focus)}\n" + table(ledger_rows(d.stop), at)
    update = update_rows(d.stop)
    return text + ("\n" + table(update, at) if update else "")


def uses(d: "Debugger") -> str:
    """The uses of the focus in this iteration."""
    run, title = d.stop.run, d.names.title(d.focus)
    if run is None:
        return f"{title}: {d.stop.uses} uses so far; how many reach the loss is known once backward begins"
    if not run.uses:
        return f"{title}: unused in this iteration"
    lines = [title] * (title != d.focus)
    for use in run.uses:
        where = line_of(use.where) or "outside of any call"
        call = f"{use.module}#{use.call}" if use.call else use.module
        cells = [f"use #{use.number}", call, use.node, where, fused_note(use)]
        lines.append("  ".join(filter(None, cells)))
    return "\n".join(lines)


def parameters(d: "Debugger", find: str) -> str:
    """The parameters with these words in their names, the focus marked; and what their letters mean."""
    page = d.tree.page(d, ParametersOf(find, 0, _MOST_LINES))
    if not page.found:
        return f"no parameter has {find!r} in its name" if find else "no parameter is known yet"
    heads = ("", "parameter", "uses", "|.grad|", "update/weight", "")
    cells = [heads, *(_line_cells(line, d) for line in page.page if line.name)]
    widths = [max(len(row[n]) for row in cells) for n in range(len(heads))]
    found = []
    for mark, label, *numbers, badges in cells:
        row = "  ".join(f"{text:>{width}}" for text, width in zip(numbers, widths[2:], strict=False))
        found.append(f"{mark:1} {label:<{widths[1]}}  {row}  {badges}".rstrip())
    more = page.lines - len(page.page)
    rest = [f"{more} more lines: info params WORD finds those with it in their name"] * (more > 0)
    used = {badge for line in page.page for badge in line.badges}
    legend = "; ".join(f"{badge} {BADGES[badge]}" for badge in BADGES if badge in used)
    return "\n".join([*found, *rest, *([legend] if legend else [])])


def _line_cells(line: Line, d: "Debugger") -> tuple[str, ...]:
    size = shown(line.norm) if line.state == "value" else word(line.state)
    ratio = shown(line.ratio) if line.ratio is not None else word(line.ratio_state, "no update")
    return ("*" * (line.name == d.focus), d.names.title(line.name), str(line.uses), size, ratio, line.badges)


def word(state: State, none: str = "None") -> str:
    """A state that is no value."""
    return {"none": none, "value": ""}.get(state, state)


def overview(d: "Debugger") -> str:
    """Where we are."""
    s = drawing.situation(d)
    loss = "" if s.loss is None else f", loss {shown(s.loss)}"
    focus = f"focus {' = '.join(s.names)} {list(s.shape)}"
    return f"iteration {s.iteration}, {s.phase}, {s.where}{loss}, {focus}, {s.optimizer}"


def graph(d: "Debugger") -> str:
    """The calls level by level; those on one level do not feed each other."""
    levels: dict[int, list[str]] = {}
    for node in graph_nodes(d.stop):
        mark = "*" if "here" in (node.forward, node.backward) else ""
        norm = f" {node.partial} {shown(node.partial_norm) or node.partial_state}" if node.partial else ""
        levels.setdefault(node.level, []).append(f"{node.label}{mark}{norm}")
    return " -> ".join(names[0] if len(names) == 1 else f"[{' | '.join(names)}]" for _, names in sorted(levels.items()))


def story(told: Story) -> str:
    """The story as two tables, for plain text."""
    along = told.name if told.scope == "element" else "along sum"
    split = len(told.terms) - told.updates
    blocks = [told.name, table(told.terms[:split], along)]
    if told.updates:
        blocks.append(table(told.terms[split:], along if told.scope == "element" else "along diff"))
    heads = ("iteration", ".grad" if told.scope == "element" else "|.grad|", "before", "after", "change")
    cells = [heads, *(_turn_cells(turn, told.scope == "element") for turn in told.turns)]
    widths = [max(len(row[n]) for row in cells) for n in range(len(heads))]
    lines = ["  ".join(f"{text:>{width}}" for text, width in zip(row, widths, strict=True)) for row in cells]
    gaps = [f"... {turn.skipped} more" if turn.skipped else "" for turn in told.turns]
    rows = [text for gap, line in zip(["", *gaps], lines, strict=True) for text in (gap, line.rstrip()) if text]
    return "\n".join([*blocks, *rows])


def _turn_cells(turn: Turn, sign: bool) -> tuple[str, ...]:
    def cell(value: Number | None, state: State, none: str = "None") -> str:
        return shown(value, sign) if value is not None else word(state, none)

    return (
        str(turn.iteration),
        cell(turn.grad, turn.grad_state),
        cell(turn.before, turn.before_state),
        cell(turn.after, turn.after_state, "no update"),
        "" if turn.change is None else shown(turn.change, sign),
    )
