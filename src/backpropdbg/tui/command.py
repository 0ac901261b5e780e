"""The command line at the bottom, with the history of what was typed."""

from textual import events
from textual.widgets import Input


class CommandLine(Input):
    """An input with the same commands as the prompt; up and down walk the history."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, compact=True, select_on_focus=False)
        self.history: list[str] = []
        self.at = 0

    def open(self, text: str = "") -> None:
        """Take the keyboard, with `text` already typed."""
        self.value = text
        self.cursor_position = len(text)
        self.at = len(self.history)
        self.screen.set_focus(self)  # at once: focus() would let keys typed in a burst slip past

    def remember(self, line: str) -> None:
        """Keep a line for the history, and empty the input."""
        if line and self.history[-1:] != [line]:
            self.history.append(line)
        self.at = len(self.history)
        self.value = ""

    def on_key(self, event: events.Key) -> None:
        """Walk the history with up and down."""
        if event.key not in ("up", "down"):
            return
        event.stop()
        event.prevent_default()
        self.at = max(0, min(len(self.history), self.at + (-1 if event.key == "up" else 1)))
        self.value = self.history[self.at] if self.at < len(self.history) else ""
        self.cursor_position = len(self.value)
