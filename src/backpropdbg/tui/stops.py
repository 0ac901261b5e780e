"""What may stop the program, and what is displayed at each stop."""

from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.message import Message
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from backpropdbg.questions import Answer, Mark, Stops, StopsOf
from backpropdbg.tui import paint
from backpropdbg.tui.asked import AskedPane

NO_STOPS = "No breakpoint, watchpoint or display: `break`, `watch` and `display` on the command line set them."
ALWAYS = "A display is always shown: delete removes it"


def mark_text(mark: Mark, chosen: bool) -> Text:
    """Return one line, and the commands of a breakpoint below it; what is off says so in its text."""
    strong, plain, dim = f"bold {paint.now().strong}", paint.now().plain, f"italic {paint.now().dim}"
    text = Text("> " if chosen else "  ", strong)
    first, *more = paint.clean(mark.text).split("\n")
    text.append("display " * (mark.kind == "display") + first, dim if not mark.enabled else strong if chosen else plain)
    for line in more:
        text.append(f"\n  {line}", dim)
    return text


class StopsPane(AskedPane):
    """All breakpoints, watchpoints and displays. Enter or a click disables and enables; delete deletes.

    Attributes:
        marks: those of the newest answer. said: what stands below them.
    """

    key, answer = "stops", Stops
    told_keys: ClassVar[str] = "enter: off or on, delete: remove"

    class Wanted(Message):
        """A command is to be carried out."""

        def __init__(self, line: str) -> None:
            super().__init__()
            self.line = line

    marks: tuple[Mark, ...] = ()
    said = ""

    def compose(self) -> ComposeResult:
        """Lay out the list."""
        yield OptionList(id="stops-list", compact=True)
        yield Static(id="stops-note")

    def want(self) -> None:
        """Ask what there is."""
        self.ask(StopsOf())

    def enter(self) -> None:
        """Have the keys that choose."""
        self.query_one(OptionList).focus()

    def tell(self, told: Answer) -> None:
        """Draw an answer; the same line stays chosen."""
        assert isinstance(told, Stops)
        if told.marks == self.marks and (self.marks or self.said):
            return
        found, self.marks = self.query_one(OptionList), told.marks
        at = found.highlighted or 0
        found.clear_options()
        found.add_options([Option(self.line(n, at)) for n in range(len(told.marks))])
        found.highlighted = min(at, len(told.marks) - 1) if told.marks else None
        self.note("" if told.marks else NO_STOPS)

    def line(self, index: int, at: int | None) -> Text:
        """Return a line; at: the chosen one, which is marked where the keyboard is here."""
        return mark_text(self.marks[index], index == at and self.query_one(OptionList).has_focus)

    def redraw(self) -> None:
        """Draw the same lines."""
        found = self.query_one(OptionList)
        for n in range(found.option_count):
            found.replace_option_prompt_at_index(n, self.line(n, found.highlighted))
        self.note(self.said)

    def on_option_list_option_highlighted(self) -> None:
        """Mark the chosen line."""
        self.redraw()

    def on_descendant_focus(self) -> None:
        """The keyboard is here."""
        self.redraw()

    def on_descendant_blur(self) -> None:
        """It is elsewhere."""
        self.redraw()

    def note(self, text: str) -> None:
        """Say something below the list."""
        self.said = text
        self.query_one("#stops-note", Static).update(Text(text, f"italic {paint.now().dim}"))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Disable a breakpoint, or enable it again."""
        mark = self.marks[event.option_index]
        if mark.kind == "display":
            self.note(ALWAYS)
        else:
            self.carry_out(f"{'disable' if mark.enabled else 'enable'} {mark.number}")

    def on_key(self, event: events.Key) -> None:
        """Delete."""
        at = self.query_one(OptionList).highlighted
        if event.key in ("delete", "backspace") and at is not None:
            mark = self.marks[at]
            self.carry_out(f"{'undisplay' if mark.kind == 'display' else 'clear'} {mark.number}")

    def carry_out(self, line: str) -> None:
        """Have a command sent, and ask what there is then."""
        self.note("")
        self.post_message(self.Wanted(line))
