"""A stop as plain text: one line of where, the explanation, and the ledger in aligned ASCII columns."""

from collections.abc import Sequence

from backpropdbg.situation import Number, Row, Situation, as_float, element_name

_STATES = {"none": "None", "pending": "pending", "not computed": "not computed", "not kept": "not kept"}


def render_number(value: Number | None, signed: bool = True) -> str:
    """Return a short form in which a small number never reads as zero.

    Example: `render_number(1e-9)` is "+1.00e-09", `render_number("NaN")` is "NaN!".
    """
    if value is None:
        return ""
    x = as_float(value)
    if x != x:
        return "NaN!"
    if x in (float("inf"), float("-inf")):
        return "+Inf!" if x > 0 else "-Inf!"
    if x == 0:
        return "0"
    style = ".4f" if 1e-2 <= abs(x) < 1e5 else ".2e"
    return format(x, ("+" if signed else "") + style)


def render_stop(situation: Situation) -> str:
    """Return the line of where and the explanation's sentences."""
    head = [f"iteration {situation.iteration}", situation.phase.upper()]
    if situation.where:
        head.append(situation.where)
    lines = ["  ".join(head), *situation.explanation]
    if situation.proof:
        lines.append(f"Weights: {situation.proof}.")
    return "\n".join(lines)


def render_ledger(situation: Situation) -> str:
    """Return the focused parameter's rows, and the update's where there are any, as one table; `*` marks this stop."""
    cosine = "cos(final)" if situation.cosine_to == "final sum" else "cos(run)"
    element = element_name(situation.focus, situation.element)
    table = [("term", "", "norm", cosine, element, "")]
    table += [_cells(row) for row in situation.ledger]
    if situation.update:
        table.append(("update", "", "", "", "", ""))
        table += [_cells(row) for row in situation.update]
    shape = " x ".join(map(str, situation.shape)) or "scalar"
    return f"ledger: {situation.focus}  ({shape})\n" + _align(table)


def _cells(row: Row) -> tuple[str, str, str, str, str, str]:
    note = f"({row.note})" if row.note and row.state != "value" else row.note
    if row.here:
        note = f"{note} *".lstrip()
    if row.state != "value":
        return row.term, row.detail, _STATES[row.state], "", "", note
    cosine = "" if row.cosine is None else _cosine(row.cosine)
    return row.term, row.detail, render_number(row.norm, signed=False), cosine, render_number(row.element), note


def _cosine(value: Number) -> str:
    x = as_float(value)
    return format(x, "+.2f") if abs(x) >= 0.005 else render_number(value)


def _align(table: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[i]) for row in table) for i in range(5)]
    lines = []
    for row in table:
        left = [row[i].ljust(widths[i]) for i in (0, 1)]
        right = [row[i].rjust(widths[i]) for i in (2, 3, 4)]
        lines.append(
            "  ".join([*(cell for cell, width in zip(left, widths, strict=False) if width), *right, row[5]]).rstrip()
        )
    return "\n".join(lines)
