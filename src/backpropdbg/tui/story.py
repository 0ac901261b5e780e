"""A story: what each use adds, as signed bars that begin where the sum before them ended; and that over iterations."""

import math
from collections.abc import Sequence
from textwrap import wrap

from msgspec import Struct
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from backpropdbg.questions import Scope, Turn
from backpropdbg.situation import SOON, Number, Row, Situation, State, as_float, element_name
from backpropdbg.tui import paint

VALUE = 10
LEAST = 8
WHOLE = ("before", "difference", "after")


class Bar(Struct, frozen=True):
    """From where to where a row takes the sum; both are finite."""

    start: float
    end: float


def bars(rows: Sequence[Row]) -> list[Bar | None]:
    """Return the bar of each row: a term begins where the sum of those before it ended, a sum at zero.

    None for what has no finite value, and for the weights, whose size says nothing about what was added to them.
    """
    found: list[Bar | None] = []
    total = 0.0
    for row in rows:
        known = row.state == "value" and row.element is not None and row.element != SOON
        value = as_float(row.element) if known and row.element is not None else None
        if row.kind == "carried":
            total = 0.0
        if value is None or not math.isfinite(value) or row.kind == "label" or row.term in ("before", "after"):
            found.append(None)
        elif row.kind in ("running", "grad") or row.term in WHOLE:
            found.append(Bar(0.0, value))
        else:
            found.append(Bar(total, total + value))
            total += value
    return found


def bar_text(bar: Bar | None, low: float, high: float, width: int) -> Text:
    """Return a bar of "+" or "-" on a scale from `low` to `high`, which zero is in; "|" marks zero."""
    if not 0 < high - low < math.inf:
        return Text(" " * width)
    scale = (width - 1) / (high - low)
    zero, cells = max(low < 0, min(round(-low * scale), width - 1 - (high > 0))), [" "] * width
    up = bar is not None and bar.end > bar.start
    if bar is not None and bar.end != bar.start:
        first, last = sorted((round((bar.start - low) * scale), round((bar.end - low) * scale)))
        if first == last == zero:  # what one cell holds is not hidden: it is beside the axis, on its side
            first = last = zero + (1 if bar.start + bar.end > 0 else -1)
        cells[first : last + 1] = ("+" if up else "-") * (last - first + 1)
    cells[zero] = "|"
    text = Text("".join(cells), f"bold {paint.now().positive if up else paint.now().negative}")
    text.stylize(paint.now().dim, zero, zero + 1)
    return text


def block_lines(rows: Sequence[Row], terms: Sequence[str], width: int, room: int) -> list[Text]:
    """Return one line a row: term, the element's value, its bar, and the note. width: of the terms."""
    shown = bars(rows)
    edges = [0.0, *(edge for bar in shown if bar is not None for edge in (bar.start, bar.end))]
    low, high = min(edges), max(edges)
    return [
        line(row, term, bar_text(bar, low, high, room), width)
        for row, term, bar in zip(rows, terms, shown, strict=True)
    ]


def line(row: Row, term: str, bar: Text, width: int) -> Text:
    """Return one row."""
    text = Text(no_wrap=True).append("> " if row.here else "  ", f"bold {paint.now().strong}")
    strong = row.here or row.kind in ("running", "grad")
    text.append(set_cell_size(term, width), f"bold {paint.now().strong}" if strong else paint.now().plain)
    if row.state != "value":
        text.append(f"{paint.WORDS[row.state]:>{VALUE}}", f"italic {paint.now().dim}")
    else:
        style = "" if row.element is None else f"bold {paint.sign_colour(row.element)}"
        text.append(f"{paint.number_text(row.element, signed=True):>{VALUE}}", style)
    text.append("  ").append_text(bar)
    if row.note:
        text.append(
            f"  {paint.clean(row.note)}", paint.now().plain if row.state == "value" else f"italic {paint.now().dim}"
        )
    text.rstrip()
    return text


def story_heading(situation: Situation, width: int, scope: Scope = "element") -> Text:
    """Return the line of titles. width: of the terms."""
    name = element_name(situation.focus, situation.element) if scope == "element" else "along sum"
    how = "each begins where the sum before it ended"
    return Text(f"  {'term':<{width}}{name:>{VALUE}}  {how}", paint.now().dim, no_wrap=True)


def turn_lines(turns: Sequence[Turn], here: int, sign: bool, width: int, room: int) -> list[Text]:
    """Return a heading, and one line an iteration, the newest first: gradient, bar, the weight before, after, between.

    here: the iteration of the stop. sign: of one element, not norms. width: of the terms. room: for bars.
    """
    grads = [as_float(turn.grad) if turn.grad is not None else math.nan for turn in turns]
    ends = [Bar(0.0, grad) if math.isfinite(grad) else None for grad in grads]
    edges = [0.0, *(bar.end for bar in ends if bar is not None)]
    titles = ("weight", "after", "change") if sign else ("|weight|", "after", "|change|")
    title = f"  {'over iterations':<{width}}{'.grad' if sign else '|.grad|':>{VALUE}}  {'':<{room}}"
    found = [Text(title + "".join(f"{t:>{VALUE}}" for t in titles), paint.now().accent, no_wrap=True)]
    for turn, bar in reversed([*zip(turns, ends, strict=True)]):
        mine = turn.iteration == here
        text = Text(no_wrap=True).append("> " if mine else "  ", f"bold {paint.now().strong}")
        text.append(f"{f'iteration {turn.iteration}':<{width}}", paint.now().strong if mine else paint.now().plain)
        text.append_text(amount(turn.grad, turn.grad_state, sign))
        text.append("  ").append_text(bar_text(bar, min(edges), max(edges), room))
        text.append_text(amount(turn.before, turn.before_state, sign))
        text.append_text(amount(turn.after, turn.after_state, sign, "no update"))
        text.append_text(amount(turn.change, "value", sign))
        text.rstrip()
        found.append(text)
        if turn.skipped:
            found.append(Text(f"  ... {turn.skipped} more", paint.now().dim, no_wrap=True))
    return found


def amount(value: Number | None, state: State, sign: bool, none: str = "None") -> Text:
    """Return a number, or the word for its absence. none: what there is to say where it is None."""
    if state == "value" or value is not None:
        style = "" if value is None else f"bold {paint.sign_colour(value)}" if sign else paint.now().plain
        return Text(f"{paint.number_text(value, signed=sign):>{VALUE}}", style)
    word = none if state == "none" else paint.WORDS[state]
    return Text(f"{word:>{VALUE}}", f"italic {paint.now().dim}")


def bar_room(width: int, terms: int, rows: Sequence[Row]) -> int:
    """Return how wide bars are in a pane of `width`: as the notes of these rows leave room, but for those too long."""
    room = width - terms - VALUE - 6
    notes = [size for row in rows if (size := cell_len(paint.clean(row.note))) <= room - LEAST]
    return max(LEAST, min(48, room // 2, room - max(notes, default=0)))


def wrapped(text: Text, note: str, width: int) -> list[Text]:
    """Return a line as several: a note at its end that doesn't fit goes on below."""
    note = paint.clean(note)
    if cell_len(text.plain) <= width or not text.plain.endswith(note):
        return [text]
    head, tail = text.divide([len(text.plain) - len(note)])
    head.rstrip()
    style = tail.spans[0].style if tail.spans else ""
    return [head, *[Text(" " * 6 + piece, style, no_wrap=True) for piece in wrap(note, max(20, width - 6))]]


def turn_room(width: int, terms: int) -> int:
    """Return how wide the bars of iterations are: four numbers are beside them."""
    return max(4, min(48, width - terms - 4 * VALUE - 8))
