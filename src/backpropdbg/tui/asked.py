"""What parameters, stops and optimizer have in common: one widget, which is a pane or lies over the screen."""

from collections.abc import Callable
from typing import ClassVar

from textual.containers import Vertical

from backpropdbg.questions import Answer, Question
from backpropdbg.situation import Situation
from backpropdbg.tui.keys import shown
from backpropdbg.tui.themes import Painted


class AskedPane(Vertical, Painted):
    """A frame that asks a question, and draws the answer.

    Attributes:
        key: the name of the key that opens it, or gives it the keyboard where it is a pane. answer: what it can draw.
        told_keys: what its own keys do. focus_name: the parameter in focus. labels: what stands on the frame.
    """

    key: ClassVar[str]
    answer: ClassVar[type]
    told_keys: ClassVar[str]

    def __init__(self, ask: Callable[[Question], None], focus: str = "", *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.ask, self.focus_name, self.labels = ask, focus, ("", "")
        self.title(self.key)

    def title(self, text: str) -> None:
        """Write on the frame what it shows, and which keys it has."""
        over = f"{self.told_keys}, esc closes, {shown('pin')}: a pane"
        labels = text, over if self.has_class("overlay") else f"{shown(self.key)}: keys"
        if labels != self.labels:
            self.labels = labels
            self.border_title, self.border_subtitle = labels

    def on_show(self) -> None:
        """Ask once it is seen."""
        self.want()

    def follow(self, situation: Situation) -> None:
        """Ask anew, about another stop, where it is seen."""
        self.focus_name = situation.focus
        if self.is_on_screen:
            self.want()

    def want(self) -> None:
        """Ask."""
        raise NotImplementedError

    def tell(self, told: Answer) -> None:
        """Draw an answer."""
        raise NotImplementedError

    def enter(self) -> None:
        """Take the keyboard."""
        raise NotImplementedError
