"""The ledger of the focused parameter, and beneath it the terms of the update."""

from collections.abc import Sequence

from msgspec.structs import replace
from rich.cells import cell_len, set_cell_size
from rich.style import Style
from rich.text import Text
from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from backpropdbg.questions import Scope, Story, StoryOf
from backpropdbg.situation import Row, Situation, element_name
from backpropdbg.tui import paint
from backpropdbg.tui.keys import shown
from backpropdbg.tui.lined import Line, line_of, repaint, strip
from backpropdbg.tui.select import next_parameter
from backpropdbg.tui.story import bar_room, block_lines, story_heading, turn_lines, turn_room, wrapped
from backpropdbg.tui.themes import Painted

FEW = 4
TURNS = 200
SCOPES: tuple[Scope, ...] = ("element", "row", "parameter")


def heading(situation: Situation, width: int) -> Text:
    """Return the line of column titles."""
    cosine = "cos(sum)" if situation.cosine_to.startswith("final") else "cos(run)"
    line = f"  {'term':<{width}}{'norm':>9}  {cosine:>8}  {element_name(situation.focus, situation.element):>9}"
    return Text(line, paint.now().dim, no_wrap=True)


def term_text(row: Row) -> str:
    """Return the first two columns of a row as one."""
    return paint.clean(f"{row.term}  {row.detail}".rstrip())


def term_width(situation: Situation) -> int:
    """Return the width of the term column."""
    rows = (*folded(situation.ledger), *situation.update)
    return min(28, max([13, *(cell_len(term_text(row)) for row in rows)]))


def row_text(row: Row, width: int) -> Text:
    """Return one row as aligned text."""
    absent = row.state != "value"
    base = f"bold {paint.now().strong}" if row.here or row.kind in ("running", "grad") else paint.now().plain
    if absent and not row.here:
        base = f"italic {paint.now().dim}" if row.state == "pending" else paint.now().dim
    line = Text(no_wrap=True).append("> " if row.here else "  ", f"bold {paint.now().strong}")
    line.append(set_cell_size(term_text(row), width), base)
    norm = paint.WORDS[row.state] if absent else paint.number_text(row.norm)
    if absent:
        line.append(f"{norm:>9}", base)
        line.append(f"  {paint.clean(row.note)}".rstrip(), f"italic {paint.now().dim}")
        return line
    line.append(f"{norm:>9}  {paint.cosine_text(row):>8}", base)
    value = row.element
    style = "" if value is None else f"bold {paint.sign_colour(value)}"
    line.append(f"  {paint.number_text(value, signed=True):>9}", style)
    if row.note:
        line.append(f"  {paint.clean(row.note)}", paint.now().plain)
    line.rstrip()
    return line


def folded(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with a long stretch of pending partials as one."""
    pending = [row for row in rows if row.kind == "partial" and row.state == "pending"]
    if len(pending) <= FEW:
        return list(rows)
    ends = f"{pending[0].term} .. {pending[-1].term}"
    one = Row("partial", ends, f"{len(pending)} uses", "pending")
    return [one if row is pending[0] else row for row in rows if row not in pending[1:]]


def of_story(situation: Situation, story: Story | None) -> Situation:
    """Return the situation with the rows of a story in the place of its own."""
    if story is None:
        return replace(situation, ledger=(), update=())
    split, way = len(story.terms) - story.updates, "" if story.scope == "element" else ", along the difference"
    optimizer = situation.optimizer + way
    return replace(situation, ledger=story.terms[:split], update=story.terms[split:], optimizer=optimizer)


def ledger_lines(situation: Situation, ruled: bool = True, story: int = 0, room: int = 0) -> tuple[list[Text], int]:
    """Return the rows under the titles, and the index of the row that the stop is about (or -1).

    ruled: draw a line above the sum. story: width of the bars of the selected element, which take the place of norms
    and cosines; 0: none. room: width of the pane of a story, whose notes go on below where they don't fit.
    """
    width, here = term_width(situation), -1
    lines: list[Text] = []
    blocks = [situation.ledger]
    if situation.update and situation.phase in ("update", "finished"):
        blocks.append(situation.update)
    for n, block in enumerate(blocks):
        if n:
            lines.append(Text(f"  update, {situation.optimizer}".rstrip(", "), paint.now().accent, no_wrap=True))
        rows = folded(block)
        drawn = [row_text(row, width) for row in rows]
        if story:
            drawn = block_lines(rows, [term_text(row) for row in rows], width, story)
        for row, text in zip(rows, drawn, strict=True):
            if row.kind == "running" and lines and ruled:
                lines.append(Text("  " + "-" * (width + 30), paint.now().dim, no_wrap=True))
            here = len(lines) if row.here else here
            if row.kind == "partial" and "#" in row.detail:
                text.stylize(Style(meta={"row": row}))
            lines += wrapped(text, row.note, room) if story and row.note else [text]
    if not situation.ledger and not situation.focus:
        lines.insert(0, Text("  no parameter is in focus: focus PARAM", paint.now().dim))
    return lines, here


def ledger_table(situation: Situation) -> str:
    """Return all rows as tab-separated text, numbers in full."""
    element = element_name(situation.focus, situation.element)
    lines: list[tuple[str, ...]] = [("term", "detail", "state", "norm", "cosine", element, "note")]
    for row in (*situation.ledger, *situation.update):
        numbers = ["" if value is None else str(value) for value in (row.norm, row.cosine, row.element)]
        lines.append((row.term, row.detail, row.state, *numbers, row.note))
    return "\n".join("\t".join(paint.clean(text).replace("\n", " ") for text in line) for line in lines) + "\n"


class Ledger(ScrollView, Painted, can_focus=False):
    """The ledger pane: titles that stay, rows that scroll.

    Attributes:
        titles: the first line. lines: the rows. here: index of the row that the stop is about, -1 for none.
        labels: what stands on the frame.
        story: bars take the place of norms and cosines: of the selected element, or what `scope` says.
        told: the story as it was told last, which may be of another stop.
    """

    class Picked(Message):
        """The row of a use was clicked."""

        def __init__(self, row: Row) -> None:
            super().__init__()
            self.row = row

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.titles: Line = []
        self.lines: list[Line] = []
        self.labels = ("ledger", "")
        self.here = -1
        self.situation: Situation | None = None
        self.story = False
        self.scope: Scope = "element"
        self.told: Story | None = None
        self.border_title = "ledger"

    def show(self, situation: Situation) -> None:
        """Draw a stop and bring the row that it is about into view."""
        self.situation = situation
        shape = ", ".join(map(str, situation.shape))
        names = " = ".join(situation.names) or situation.focus
        title = f"{paint.clean(names)}  [{shape}]" if names else "ledger"
        if self.story:
            title += f"  {self.scope} {self.name_shown}"
        other = next_parameter(situation.parameters, situation.focus)
        other_text = f"{shown('parameter')}: {paint.clean(other)}" if other else ""
        following = SCOPES[(SCOPES.index(self.scope) + 1) % len(SCOPES)]
        story_text = f"{shown('story')}: norms  {shown('scope')}: {following}"
        labels = (title, story_text if self.story else other_text)
        if labels != self.labels:
            self.labels = labels
            self.border_title, self.border_subtitle = map(Text, labels)
        self.draw()

    @property
    def name_shown(self) -> str:
        """What the story is about; the element until the story has come."""
        if self.told is not None and self.fits(self.told):
            return self.told.name
        return element_name(self.situation.focus, self.situation.element) if self.situation is not None else ""

    def fits(self, story: Story | None) -> bool:
        """True for a story of what is shown here now."""
        now = self.situation
        if story is None or now is None or story.scope != self.scope:
            return False
        return (story.position, story.focus, story.element) == (now.position, now.focus, now.element)

    @property
    def question(self) -> StoryOf | None:
        """What to ask for the story that is shown; None where none is. More iterations than fit: they scroll."""
        return StoryOf(self.scope, TURNS) if self.story and self.situation is not None else None

    def tell(self, story: Story) -> None:
        """Draw a story that was asked for."""
        if self.fits(story):
            self.told = story
            self.redraw()

    def redraw(self) -> None:
        """Draw the same stop."""
        if self.situation is not None:
            self.show(self.situation)

    def toggle(self) -> None:
        """Change between norms and the story."""
        self.story = not self.story
        self.redraw()

    def widen(self) -> None:
        """Tell the story of an element, then of its row, then of the whole parameter."""
        if self.story:
            self.scope = SCOPES[(SCOPES.index(self.scope) + 1) % len(SCOPES)]
        self.story = True
        self.redraw()

    def draw(self) -> None:
        """Draw the rows; where they would not all fit, without the line above the sum."""
        if self.situation is None:
            return
        room, situation = max(1, self.size.height - 1), self.situation
        if self.story and self.scope != "element":
            situation = of_story(situation, self.told if self.fits(self.told) else None)
        bars, across = 0, self.size.width - 1  # a scroll bar may come
        if self.story:
            bars = bar_room(across, term_width(situation), (*situation.ledger, *situation.update))
        lines, self.here = ledger_lines(situation, story=bars, room=across)
        if len(lines) > room:
            lines, self.here = ledger_lines(situation, ruled=False, story=bars, room=across)
        if len(lines) > room:  # what is None needs no row
            rows = tuple(row for row in situation.ledger if row.kind != "carried" or row.state != "none")
            lines, self.here = ledger_lines(replace(situation, ledger=rows), ruled=False, story=bars, room=across)
        width, known = term_width(situation), self.seen
        titles = story_heading(situation, width, self.scope) if self.story else heading(situation, width)
        self.titles = line_of(titles, self.app.console)
        self.lines = [line_of(line, self.app.console) for line in ([*lines, *self.turns()] if self.story else lines)]
        # What fits has the pane's own size: another number of lines is no reason to lay out the screen anew.
        self.virtual_size = Size(self.size.width, max(len(self.lines) + 1, self.size.height))
        repaint(self, known, self.seen)
        self.call_after_refresh(self.reveal)

    @property
    def seen(self) -> list[Line]:
        """The lines of the pane: the titles, and the rows from where it is scrolled to."""
        top = self.scroll_offset.y
        return [self.titles, *self.lines[top : top + self.size.height - 1]]

    def turns(self) -> list[Text]:
        """Return the lines about iterations; dots until they have come."""
        if self.situation is None or self.told is None:
            return []
        width = term_width(self.situation)
        drawn = turn_lines(
            self.told.turns, self.situation.iteration, self.scope == "element", width, turn_room(self.size.width, width)
        )
        return drawn if self.fits(self.told) else [drawn[0], *[Text("  ...", paint.now().dim)] * (len(drawn) - 1)]

    def on_click(self, event: events.Click) -> None:
        """Pick the use under the pointer."""
        if row := event.style.meta.get("row"):
            self.post_message(self.Picked(row))

    def on_resize(self) -> None:
        """Keep the row of the stop in view."""
        self.draw()

    def reveal(self) -> None:
        """Scroll so that the row of the stop is in view."""
        room, row = max(1, self.size.height - 1), self.here
        if row < 0 or self.scroll_y <= row < self.scroll_y + room:
            return
        self.scroll_to(y=max(0, row - room // 2), animate=False)

    def render_line(self, y: int) -> Strip:
        """Return line `y` of the pane: the titles, or a row."""
        seen = self.seen
        return strip(seen[y] if y < len(seen) else [], self.size.width, self.visual_style.rich_style)
