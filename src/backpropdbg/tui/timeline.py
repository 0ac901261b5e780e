"""The iterations side by side: loss, gradient and uses as rows of characters, and where the stop is among them."""

import math
from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from backpropdbg.questions import Moment, Timeline
from backpropdbg.situation import Number, State, as_float
from backpropdbg.tui import paint

LABELS = ("", "", "loss", "", "|grad|", "uses")
LABEL = 9
# Braille has one width in every terminal, which blocks have not.
BARS = " ⣀⣤⣶⣿"
FULL = len(BARS) - 1
WIDE_RANGE = 20.0
ABSENT: dict[State, str] = {"none": "-", "pending": "?", "not computed": "x", "not kept": "~"}


def heights(values: Sequence[float | None], most: int) -> list[int | None]:
    """Return bars from 1 to `most` for finite numbers, on a logarithmic scale where they spread widely; else None."""
    finite = [v if v is not None and math.isfinite(v) else None for v in values]
    known = [v for v in finite if v is not None]
    if not known:
        return [None] * len(values)
    if min(known) > 0 and max(known) / min(known) >= WIDE_RANGE:
        finite = [None if v is None else math.log(v) for v in finite]
        known = [v for v in finite if v is not None]
    low, span = min(known), max(known) - min(known)
    if not 0 < span < math.inf:
        return [None if v is None else most // 2 for v in finite]
    return [None if v is None else 1 + round((v - low) / span * (most - 1)) for v in finite]


def column_of(moments: Sequence[Moment], iteration: int) -> int:
    """Return the index of the moment that stands for an iteration, -1 where none does."""
    return next((n for n, m in enumerate(moments) if m.iteration <= iteration <= max(m.iteration, m.until)), -1)


def loss_cells(moments: Sequence[Moment]) -> tuple[str, str]:
    """Return the two rows of the loss: bars, "!" for what is no finite number, nothing where there is none."""
    values = [None if m.loss is None else as_float(m.loss) for m in moments]
    bars = heights(values, 2 * FULL)
    upper = [BARS[max(0, bar - FULL)] if bar else " " for bar in bars]
    lower = [BARS[min(FULL, bar)] if bar else " " if v is None else "!" for bar, v in zip(bars, values, strict=True)]
    return "".join(upper), "".join(lower)


def norm_cells(moments: Sequence[Moment]) -> str:
    """Return the row of the gradient: bars, "0" for zero, "!" for what is no finite number, a sign for an absence."""
    values = [None if m.norm is None or m.state != "value" else as_float(m.norm) for m in moments]
    bars = heights([v or None for v in values], FULL)
    cells = []
    for moment, value, bar in zip(moments, values, bars, strict=True):
        if value is None:
            cells.append(ABSENT.get(moment.state, " "))
        else:
            cells.append("0" if value == 0 else BARS[bar] if bar else "!")
    return "".join(cells)


def use_cells(moments: Sequence[Moment]) -> str:
    """Return the row of the uses: how many, "+" for ten and more."""
    return "".join(str(m.uses) if m.uses < 10 else "+" for m in moments)


def mark_cells(moments: Sequence[Moment]) -> str:
    """Return the row of marks: "b" where a breakpoint stopped, "!" where something went wrong, "B" for both."""
    marks = {(False, False): " ", (True, False): "b", (False, True): "!", (True, True): "B"}
    return "".join(marks[bool(m.breaks), bool(m.anomaly)] for m in moments)


def place_cells(timeline: Timeline) -> str:
    """Return the rule with "v" at the stop and "N" where the program stands now."""
    cells = ["─"] * len(timeline.moments)
    for mark, iteration in (("N", timeline.now), ("v", timeline.here)):
        at = column_of(timeline.moments, iteration)
        if at >= 0:
            cells[at] = mark
    return "".join(cells)


def number(value: Number | None) -> str:
    """Return a number in a few characters, or nothing."""
    return paint.number_text(value)


def words(timeline: Timeline) -> list[str]:
    """Return what each row says in words about the moment of the stop."""
    at = column_of(timeline.moments, timeline.here)
    span = f"{timeline.here} of {timeline.first}-{timeline.last}"
    if at < 0:
        return [span, *[""] * 5]
    moment = timeline.moments[at]
    stopped = [f"breakpoint {', '.join(map(str, moment.breaks))}"] if moment.breaks else []
    wrong = [moment.anomaly] if moment.anomaly else []
    norm = number(moment.norm) if moment.state == "value" else paint.WORDS[moment.state]
    return [span, "; ".join(wrong + stopped), number(moment.loss), "", norm, str(moment.uses)]


def style(name: str) -> Style:
    """Return the style of text in one of the theme's colours, e.g. "dim"; what calls for a look is bold."""
    return Style(color=getattr(paint.now(), name), bold=name in ("alarm", "strong") or None)


class TimelinePane(Widget, can_focus=True):
    """The timeline: six lines, a column of one or two characters for each iteration, or for several.

    Attributes:
        timeline: as the session told it last; None before.
        columns: how many iterations have room, one a column.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "walk(-1)", show=False),
        Binding("right", "walk(1)", show=False),
        Binding("home", "end(-1)", show=False),
        Binding("end", "end(1)", show=False),
    ]

    class Chosen(Message):
        """An iteration was chosen; 0: there is none that way."""

        def __init__(self, iteration: int) -> None:
            super().__init__()
            self.iteration = iteration

    class Sized(Message):
        """The pane has another size, so more or fewer iterations have room."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.timeline: Timeline | None = None
        self.rows: list[tuple[str, str]] = []
        self.words = [""] * len(LABELS)
        self.border_title = "timeline"

    @property
    def room(self) -> int:
        """How many characters wide the rows may be, between their labels and their words."""
        return max(1, self.size.width - LABEL - self.words_width)

    @property
    def words_width(self) -> int:
        """The room for the words at the right."""
        return 30 if self.size.width >= 100 else 18

    @property
    def columns(self) -> int:
        """How many iterations have room."""
        return self.room

    @property
    def step(self) -> int:
        """The width of a column: two characters where all have that much."""
        return 2 if self.timeline and 2 * len(self.timeline.moments) <= self.room else 1

    def show(self, timeline: Timeline) -> None:
        """Draw what the session told."""
        self.timeline, moments = timeline, timeline.moments
        upper, lower = loss_cells(moments)
        self.words = words(timeline)
        self.rows = [
            (place_cells(timeline), "strong"),
            (mark_cells(moments), "alarm"),
            (upper, "accent"),
            (lower, "accent"),
            (norm_cells(moments), "plain"),
            (use_cells(moments), "plain"),
        ]
        self.refresh()

    def on_resize(self) -> None:
        """Tell who has the iterations."""
        self.post_message(self.Sized())

    def action_walk(self, way: int) -> None:
        """Choose the iteration before or after that of the stop."""
        if self.timeline is not None:
            wanted = self.timeline.here + way
            self.post_message(self.Chosen(wanted if self.timeline.first <= wanted <= self.timeline.last else 0))

    def action_end(self, way: int) -> None:
        """Choose the oldest or the newest iteration."""
        if self.timeline is not None:
            self.post_message(self.Chosen(self.timeline.first if way < 0 else self.timeline.last))

    def on_click(self, event: events.Click) -> None:
        """Choose the iteration under the pointer."""
        offset = event.get_content_offset(self)
        at = -1 if offset is None else (offset.x - LABEL) // self.step
        if self.timeline is not None and 0 <= at < len(self.timeline.moments):
            self.post_message(self.Chosen(self.timeline.moments[at].iteration))

    def render_line(self, y: int) -> Strip:
        """Return line `y`: its label, a cell for each moment, and the words about that of the stop."""
        width, ground = self.size.width, self.rich_style
        if y >= len(LABELS):
            return Strip.blank(width, ground)
        title = style("strong" if self.has_focus else "plain")
        label = LABELS[y] if y or self.styles.border.top[0] else "timeline"  # a small screen has no frame
        segments = [Segment(f"{label:<{LABEL}}", ground + (style("dim") if y else title))]
        if self.timeline is not None:
            segments += self.cells(y, ground)
        used = sum(len(segment.text) for segment in segments)
        gap = LABEL + self.room - used
        segments.append(Segment(("─" if y == 0 else " ") * max(0, gap), ground + self.rule))
        segments.append(Segment(f" {self.words[y]}", ground + style("alarm" if y == 1 else "plain")))
        return Strip(segments).crop_extend(0, width, ground)

    @property
    def rule(self) -> Style:
        """The style of the line at the top, which tells where the keyboard is."""
        return style("accent" if self.has_focus else "dim")

    def cells(self, y: int, ground: Style) -> list[Segment]:
        """Return the cells of one line; those of the stop's moment are set off."""
        assert self.timeline is not None
        here = column_of(self.timeline.moments, self.timeline.here)
        text, colour = self.rows[y]
        marked = Style(bgcolor=paint.now().selected)
        pad = ("─" if y == 0 else " ") * (self.step - 1)
        found = []
        for n, cell in enumerate(text):
            shown = self.rule if cell == "─" else style("alarm" if cell == "!" else colour)
            found.append(Segment(cell, ground + shown + (marked if n == here else Style())))
            if pad:
                found.append(Segment(pad, ground + self.rule))
        return found
