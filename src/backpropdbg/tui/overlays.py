"""Two boxes over the screen: what may stop the program or is displayed, and what the optimizer has for the focus."""

from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from backpropdbg.questions import Mark, Optimizer, Stops
from backpropdbg.tui import keys, paint

NO_STOPS = "No breakpoint, watchpoint or display: `break`, `watch` and `display` on the command line set them."
ALWAYS = "A display is always shown: delete removes it"


class Overlay(ModalScreen[None]):
    """A box that shows the answer to a question; escape closes it, and so does the key that opened it.

    Attributes:
        key: the name of that key.
    """

    key: ClassVar[str]

    def __init__(self, want: Callable[[], None]) -> None:
        super().__init__()
        self.want = want

    def on_mount(self) -> None:
        """Ask."""
        self.want()

    def on_key(self, event: events.Key) -> None:
        """Close."""
        if event.key == "escape" or event.key in keys.now()[self.key] or event.character in keys.now()[self.key]:
            event.stop()
            event.prevent_default()
            self.dismiss()


class StopsScreen(Overlay):
    """All breakpoints, watchpoints and displays. Enter or a click disables and enables; delete deletes.

    Attributes:
        marks: those of the newest answer.
    """

    key = "stops"

    def __init__(self, want: Callable[[], None], send: Callable[[str], None]) -> None:
        super().__init__(want)
        self.send = send
        self.marks: tuple[Mark, ...] = ()

    def compose(self) -> ComposeResult:
        """Lay out the box."""
        with Vertical(id="stops", classes="overlay") as box:
            yield OptionList(id="stops-list", compact=True)
            yield Static(id="stops-note")
        box.border_title = "stops"
        box.border_subtitle = "enter: off or on, delete: remove, esc closes"

    def tell(self, told: Stops) -> None:
        """Draw an answer; the same line stays chosen."""
        found, self.marks = self.query_one(OptionList), told.marks
        at = found.highlighted or 0
        found.clear_options()
        found.add_options([Option(mark_text(mark, n == at)) for n, mark in enumerate(told.marks)])
        found.highlighted = min(at, len(told.marks) - 1) if told.marks else None
        found.focus()
        self.note("" if told.marks else NO_STOPS)

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Mark the chosen line."""
        for n, mark in enumerate(self.marks):
            event.option_list.replace_option_prompt_at_index(n, mark_text(mark, n == event.option_index))

    def note(self, text: str) -> None:
        """Say something below the list."""
        self.query_one("#stops-note", Static).update(Text(text, f"italic {paint.now().dim}"))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Disable a breakpoint, or enable it again."""
        mark = self.marks[event.option_index]
        if mark.kind == "display":
            self.note(ALWAYS)
        else:
            self.carry_out(f"{'disable' if mark.enabled else 'enable'} {mark.number}")

    def on_key(self, event: events.Key) -> None:
        """Delete, or close."""
        at = self.query_one(OptionList).highlighted
        if event.key in ("delete", "backspace") and at is not None:
            mark = self.marks[at]
            self.carry_out(f"{'undisplay' if mark.kind == 'display' else 'clear'} {mark.number}")
        super().on_key(event)

    def carry_out(self, line: str) -> None:
        """Send a command, and ask what there is then."""
        self.send(line)
        self.want()


def mark_text(mark: Mark, chosen: bool) -> Text:
    """Return one line, and the commands of a breakpoint below it; what is off says so in its text."""
    strong, plain, dim = f"bold {paint.now().strong}", paint.now().plain, f"italic {paint.now().dim}"
    text = Text("> " if chosen else "  ", strong)
    first, *more = paint.clean(mark.text).split("\n")
    text.append("display " * (mark.kind == "display") + first, dim if not mark.enabled else strong if chosen else plain)
    for line in more:
        text.append(f"\n  {line}", dim)
    return text


class OptimizerScreen(Overlay):
    """The settings, the state and the last update of the focused parameter."""

    key = "optimizer"

    def compose(self) -> ComposeResult:
        """Lay out the box."""
        with VerticalScroll(id="optimizer", classes="overlay") as box:
            yield Static(id="optimizer-text")
        box.border_title = "optimizer"
        box.border_subtitle = "down, up scroll, esc closes"

    def on_mount(self) -> None:
        """Have the keys that scroll, and ask."""
        self.query_one(VerticalScroll).focus()
        super().on_mount()

    def tell(self, told: Optimizer) -> None:
        """Draw an answer."""
        self.query_one("#optimizer-text", Static).update(Text(paint.clean(told.text), paint.now().plain))
        self.query_one("#optimizer", VerticalScroll).border_title = f"optimizer: {paint.clean(told.focus)}"
