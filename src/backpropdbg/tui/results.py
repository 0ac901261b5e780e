"""What the last command printed."""

from rich.text import Text
from textual.containers import VerticalScroll
from textual.widgets import Static

from backpropdbg.tui import paint
from backpropdbg.tui.keys import shown
from backpropdbg.tui.themes import Painted

TALL = 3


class Results(VerticalScroll, Painted, can_focus=False):
    """The results area: as tall as its text, to a limit; gone when empty."""

    def __init__(self, *, id: str | None = None) -> None:
        self.body = Static(id="results-body")
        super().__init__(self.body, id=id)
        self.text = self.more = ""
        self.kind = "hint"
        self.display = False

    def show(self, text: str, kind: str = "result") -> None:
        """Draw `text` as a "result", an "error" or a "hint"; an empty text hides the area."""
        known = self.text, self.kind
        self.text, self.kind = paint.clean(text).rstrip("\n"), kind
        if not self.text and not known[0]:
            return
        self.display = bool(self.text)
        self.set_class(kind == "error", "error")
        self.redraw()
        self.scroll_home(animate=False)
        self.screen.set_class(self.text.count("\n") >= TALL, "tall-results")
        self.call_after_refresh(self.tell_more)

    def redraw(self) -> None:
        """Draw the text in the colour of its kind."""
        colours = paint.now()
        kinds = {"result": colours.plain, "error": f"bold {colours.alarm}", "hint": f"italic {colours.dim}"}
        self.body.update(Text(self.text, kinds[self.kind]))

    def watch_scroll_y(self, old: float, new: float) -> None:
        """Another page shows."""
        super().watch_scroll_y(old, new)
        self.tell_more()

    def tell_more(self) -> None:
        """Say on the frame where not all of the text shows."""
        more = f"{shown('page-down')}: more, " if self.max_scroll_y > 0 else ""
        more = f"{more}{shown('leave')} closes" if self.text.count("\n") >= TALL else more.rstrip(", ")
        if more != self.more:  # each drawing of the frame is a frame more for the key that printed nothing
            self.border_subtitle = self.more = more
