"""The screen that has the panes. It may wait a moment with its next paint, for what will be in it."""

from textual import events
from textual.screen import Screen
from textual.timer import Timer

MOMENT = 0.012


class Stage(Screen[None]):
    """A paint takes as long as the answers to what is asked for a stop: with those in it, one does in place of three.

    Attributes:
        waits: nothing is painted until the moment is over, or `go_on`.
    """

    def __init__(self) -> None:
        super().__init__(id="_default")
        self.waits: Timer | None = None

    def wait(self) -> None:
        """Wait with the next paint, for a moment at most."""
        self.go_on()
        self.waits = self.set_timer(MOMENT, self.go_on)

    def go_on(self) -> None:
        """Paint what has changed."""
        if self.waits is not None:
            self.waits.stop()
            self.waits = None
            self.check_idle()

    async def _on_idle(self, event: events.Idle) -> None:
        if self.waits is not None:
            event.prevent_default()  # of Screen, which would begin to paint
