"""The program's own output, drawn line by line and never read as markup."""

import re

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from backpropdbg.tui import paint

LIMIT = 5000
# Terminal control sequences (colours, cursor moves, titles), whole and cut off at the end of what arrived.
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]{0,60}[ -/]?|\][^\x07\x1b]{0,200})?\Z")
STYLES = {
    "stdout": Style(color=paint.PLAIN),
    "stderr": Style(color=paint.POSITIVE),
    "end": Style(color=paint.ALARM, bold=True),
}


class OutputPane(ScrollView, can_focus=False):
    """The last lines of output; keeps to the end unless scrolled up."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.lines: list[tuple[str, str]] = []
        self.open_line = False
        self.cut: dict[str, str] = {}
        self.widest = 0
        self.border_title = "output"

    def write(self, stream: str, text: str) -> None:
        """Add text of "stdout", "stderr" or "end"; a line may come in pieces."""
        at_end = self.scroll_offset.y >= self.max_scroll_y
        text = self.cut.pop(stream, "") + text
        if unfinished := _UNFINISHED.search(text):
            self.cut[stream] = unfinished[0]
            text = text[: unfinished.start()]
        text = _ESCAPE.sub("", text)
        pieces = paint.clean(text.replace("\r\n", "\n").replace("\r", "\n")).split("\n")
        for n, piece in enumerate(pieces):
            if n == 0 and self.open_line and self.lines and self.lines[-1][0] == stream:
                self.lines[-1] = (stream, self.lines[-1][1] + piece)
            elif piece or n < len(pieces) - 1:
                self.lines.append((stream, piece))
            self.widest = max(self.widest, len(self.lines[-1][1]) if self.lines else 0)
        self.open_line = bool(pieces[-1]) or (len(pieces) == 1 and self.open_line)
        if len(self.lines) > LIMIT:
            del self.lines[: len(self.lines) - LIMIT]
        self.virtual_size = Size(self.widest, len(self.lines))
        if at_end:
            self.scroll_end(animate=False)
        self.refresh()

    def plain(self) -> str:
        """Return all lines as plain text."""
        return "\n".join(text for _, text in self.lines)

    def render_line(self, y: int) -> Strip:
        """Return line `y` of the window."""
        left, top = self.scroll_offset
        width, ground = self.size.width, self.rich_style
        if top + y >= len(self.lines):
            return Strip.blank(width, ground)
        stream, text = self.lines[top + y]
        strip = Strip([Segment(text, ground + STYLES.get(stream, STYLES["stdout"]))])
        return strip.crop_extend(left, left + width, ground)
