"""The command line at the bottom, with the history of what was typed."""

from textual import events
from textual.message import Message
from textual.widgets import Input

from backpropdbg.situation import Situation
from backpropdbg.tui.complete import complete


class CommandLine(Input):
    """An input with the same commands as the prompt; up and down walk the history, tab completes.

    Attributes:
        at: index of the line of the history that is shown. left: when the keyboard was given back last.
        situation: whose names complete what is typed.
    """

    class Typed(Message):
        """A line was typed and sent."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, compact=True, select_on_focus=False)
        self.history: list[str] = []
        self.at = 0
        self.left = 0.0
        self.situation: Situation | None = None

    class Unclear(Message):
        """There are several words to go on with; or none."""

        def __init__(self, words: list[str]) -> None:
            super().__init__()
            self.words = words

    def open(self, text: str = "") -> None:
        """Take the keyboard, with `text` already typed."""
        self.value = text
        self.cursor_position = len(text)
        self.at = len(self.history)
        self.screen.set_focus(self)  # at once: focus() would let keys typed in a burst slip past

    def remember(self, line: str) -> None:
        """Keep a line for the history."""
        if line and self.history[-1:] != [line]:
            self.history.append(line)
        self.at = len(self.history)

    def on_key(self, event: events.Key) -> None:
        """Walk the history with up and down; complete with tab; give the keyboard back at once."""
        late = event.time <= self.left
        if not late and event.key not in ("up", "down", "enter", "escape", "tab"):
            return
        event.stop()
        event.prevent_default()
        if late:  # of a burst, behind the enter
            self.app.post_message(events.Key(event.key, event.character))
        elif event.key in ("enter", "escape"):
            if event.key == "enter":
                self.app.post_message(self.Typed(self.value))
            self.value, self.left = "", Message().time
            self.screen.set_focus(None)
        elif event.key == "tab":
            self.complete()
        else:
            self.walk(-1 if event.key == "up" else 1)

    def complete(self) -> None:
        """Complete the word before the cursor, as far as that is certain."""
        typed, rest = self.value[: self.cursor_position], self.value[self.cursor_position :]
        line, words = complete(typed, self.situation)
        self.value = line + rest
        self.cursor_position = len(line)
        self.post_message(self.Unclear(words))

    def walk(self, way: int) -> None:
        """Show the line before or after in the history."""
        self.at = max(0, min(len(self.history), self.at + way))
        self.value = self.history[self.at] if self.at < len(self.history) else ""
        self.cursor_position = len(self.value)
