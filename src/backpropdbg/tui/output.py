"""The program's own output, wrapped and never read as markup."""

import re
import threading
from collections import deque
from collections.abc import Iterable

from rich.cells import chop_cells
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from backpropdbg.tui import paint
from backpropdbg.tui.signs import PROGRAM

LIMIT = 5000
LONGEST = 4000
MOST_WAITING = 2**22
# Terminal control sequences (colours, cursor moves, titles), whole and cut off at the end of what arrived.
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]{0,60}[ -/]?|\][^\x07\x1b]{0,200})?\Z")


class Printed:
    """Output on its way to the pane, from any thread: as much of it as the pane could ever show."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pieces: deque[tuple[str, str]] = deque()
        self._size = 0
        self._lost = False

    def add(self, stream: str, text: str) -> bool:
        """Add a piece. Returns True where nothing was waiting, so somebody has to come and take it."""
        with self._lock:
            first = not self._pieces
            self._pieces.append((stream, text))
            self._size += len(text)
            while self._size > MOST_WAITING and len(self._pieces) > 1:
                self._size -= len(self._pieces.popleft()[1])
                self._lost = True
        return first

    def take(self) -> list[tuple[str, str]]:
        """Return all that waits, the oldest first; it says so where older output had to be left out."""
        with self._lock:
            found = [*([("end", "\n(older output is left out here)\n")] if self._lost else []), *self._pieces]
            self._pieces.clear()
            self._size, self._lost = 0, False
        return found


def wrap(text: str, width: int) -> list[str]:
    """Cut a line into rows of at most `width` columns; ASCII, which programs print by the megabyte, by plain slices."""
    if not text.isascii():
        return chop_cells(text, width) or [""]
    return [text[start : start + width] for start in range(0, len(text), width)] or [""]


def style(stream: str) -> Style:
    """Return the style of what "stdout", "stderr" or "end" says."""
    colours = paint.now()
    if stream == "end":
        return Style(color=colours.alarm, bold=True)
    return Style(color=colours.positive if stream == "stderr" else colours.plain)


class OutputPane(ScrollView, can_focus=False):
    """The last lines of output, wrapped to the pane; keeps to the end unless scrolled up.

    Attributes:
        lines: (stream, text), as they were printed. rows: the same as they are drawn, `counts[n]` of them for line n.
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.lines: list[tuple[str, str]] = []
        self.rows: list[tuple[str, str]] = []
        self.counts: list[int] = []
        self.open_line = False
        self.cut: dict[str, str] = {}
        self.border_title = "output"
        self.add_class("output")

    def write(self, stream: str, text: str) -> None:
        """Add text of "stdout", "stderr" or "end"; a line may come in pieces."""
        text = self.cut.pop(stream, "") + text
        if unfinished := _UNFINISHED.search(text):
            self.cut[stream] = unfinished[0]
            text = text[: unfinished.start()]
        text = _ESCAPE.sub("", text)
        pieces = paint.clean(text.replace("\r\n", "\n").replace("\r", "\n")).split("\n")
        at_end = self.scroll_offset.y >= self.max_scroll_y
        for n, piece in enumerate(pieces):
            if n == 0 and self.open_line and self.lines and self.lines[-1][0] == stream:
                piece = self.lines.pop()[1] + piece
                del self.rows[len(self.rows) - self.counts.pop() :]
            elif not piece and n == len(pieces) - 1:
                continue
            for start in range(0, max(1, len(piece)), LONGEST):
                self.add(stream, piece[start : start + LONGEST])
        self.open_line = bool(pieces[-1]) or (len(pieces) == 1 and self.open_line)
        if len(self.lines) > LIMIT:
            gone = len(self.lines) - LIMIT
            del self.rows[: sum(self.counts[:gone])], self.lines[:gone], self.counts[:gone]
        self.settle(at_end)

    def add(self, stream: str, text: str) -> None:
        """Add one whole line and its rows."""
        wrapped = wrap(text, self.size.width or 80)
        self.lines.append((stream, text))
        self.rows += [(stream, row) for row in wrapped]
        self.counts.append(len(wrapped))

    def settle(self, at_end: bool) -> None:
        """Redraw; at_end: and stay at the end."""
        self.virtual_size = Size(self.size.width, len(self.rows))
        if at_end:
            self.scroll_end(animate=False)
        self.refresh()

    def on_resize(self) -> None:
        """Wrap anew."""
        lines, self.lines, self.rows, self.counts = self.lines, [], [], []
        for stream, text in lines:
            self.add(stream, text)
        self.settle(True)

    def replace(self, pieces: Iterable[tuple[str, str]]) -> None:
        """Show these pieces and no others."""
        self.lines, self.rows, self.counts, self.open_line, self.cut = [], [], [], False, {}
        for stream, text in pieces:
            self.write(stream, text)
        self.settle(True)

    def plain(self) -> str:
        """Return all lines as plain text."""
        return "\n".join(text for _, text in self.lines)

    def render_line(self, y: int) -> Strip:
        """Return row `y` of the window."""
        at, width, ground = self.scroll_offset.y + y, self.size.width, self.rich_style
        if at >= len(self.rows):
            return Strip.blank(width, ground)
        stream, text = self.rows[at]
        return Strip([Segment(text, ground + style(stream) + PROGRAM)]).crop_extend(0, width, ground)
