"""What the optimizer has for the parameter in focus, and its last update."""

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from backpropdbg.questions import Answer, Optimizer, OptimizerOf
from backpropdbg.tui import paint
from backpropdbg.tui.asked import AskedPane


class OptimizerPane(AskedPane):
    """The settings, the state and the last update of the focused parameter."""

    key, answer = "optimizer", Optimizer
    told_keys: ClassVar[str] = "down, up scroll"

    text = ""

    def compose(self) -> ComposeResult:
        """Lay out the text."""
        with VerticalScroll(id="optimizer-list"):
            yield Static(id="optimizer-text")

    def want(self) -> None:
        """Ask."""
        self.ask(OptimizerOf())

    def enter(self) -> None:
        """Have the keys that scroll."""
        self.query_one(VerticalScroll).focus()

    def tell(self, told: Answer) -> None:
        """Draw an answer."""
        assert isinstance(told, Optimizer)
        self.text = paint.clean(told.text)
        self.title(f"optimizer: {paint.clean(told.focus)}" if told.focus else "optimizer")
        self.redraw()

    def redraw(self) -> None:
        """Draw the text."""
        self.query_one("#optimizer-text", Static).update(Text(self.text, paint.now().plain))
