"""A pane of lines, of which only those are drawn again that became others."""

from collections.abc import Sequence

from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from backpropdbg.tui.themes import Painted

Line = list[Segment]


class Lined(Widget, Painted):
    """A widget that knows its lines before it is asked for them, without the colours of its ground."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.rows: list[Line] = []

    def on_resize(self) -> None:
        """Draw what the new size has room for."""
        self.redraw()

    def put(self, rows: list[Line]) -> None:
        """Draw these lines."""
        known, self.rows = self.rows, rows
        repaint(self, known, rows)

    def render_line(self, y: int) -> Strip:
        """Return line `y`."""
        return strip(self.rows[y] if y < len(self.rows) else [], self.size.width, self.visual_style.rich_style)


def line_of(text: Text, console: Console) -> Line:
    """Return one line of text with its styles."""
    return list(Segment.apply_style(text.render(console), console.get_style(text.style)))


def strip(line: Line, width: int, ground: Style) -> Strip:
    """Return a line as it is drawn on a ground."""
    return Strip(line).apply_style(ground).crop_extend(0, width, ground) if line else Strip.blank(width, ground)


def repaint(widget: Widget, known: Sequence[Line], rows: Sequence[Line]) -> None:
    """Have those lines of a widget painted that are no longer as they were."""
    changed = [y for y in range(max(len(known), len(rows))) if known[y : y + 1] != rows[y : y + 1]]
    if changed:
        widget.refresh(*(Region(0, y, widget.size.width, 1) for y in changed))


def text_of(rows: Sequence[Line]) -> str:
    """Return lines as plain text."""
    return "\n".join("".join(segment.text for segment in row) for row in rows)
