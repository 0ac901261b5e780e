"""A box over the screen, with what could be a pane, too."""

from textual import events
from textual.app import ComposeResult
from textual.message import Message
from textual.screen import ModalScreen

from backpropdbg.tui import keys
from backpropdbg.tui.asked import AskedPane
from backpropdbg.tui.optimizer import OptimizerPane
from backpropdbg.tui.parameters import ParametersPane
from backpropdbg.tui.stops import StopsPane

KINDS: dict[str, type[AskedPane]] = {pane.key: pane for pane in (ParametersPane, StopsPane, OptimizerPane)}


class Overlay(ModalScreen[None]):
    """The box; escape closes it, and so does the key that opened it. Another key makes a pane of it."""

    class Pinned(Message):
        """It is to be a pane."""

        def __init__(self, pane: str) -> None:
            super().__init__()
            self.pane = pane

    def __init__(self, pane: AskedPane) -> None:
        super().__init__()
        self.pane = pane
        pane.add_class("overlay")
        pane.title(pane.key)

    def compose(self) -> ComposeResult:
        """Lay out the box."""
        yield self.pane

    def on_mount(self) -> None:
        """It has the keyboard."""
        self.pane.enter()

    def on_key(self, event: events.Key) -> None:
        """Close."""
        pins = event.key in keys.now()["pin"]
        opened = keys.now()[self.pane.key]
        if pins or event.key == "escape" or event.key in opened or event.character in opened:
            event.stop()
            event.prevent_default()
            if pins:
                self.app.post_message(self.Pinned(self.pane.key))
            self.dismiss()
