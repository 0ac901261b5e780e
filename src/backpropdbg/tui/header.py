"""The top line: where the program is."""

from rich.text import Text
from textual.widgets import Static

from backpropdbg.situation import Situation
from backpropdbg.tui import paint


class Header(Static):
    """Name, program, iteration, phase, place, loss, seed and optimizer.

    Attributes:
        situation: the last stop, or None before the first.
        status: a word that stands for the phase while there is none, e.g. "running".
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.situation: Situation | None = None
        self.status = "starting"

    def show(self, situation: Situation | None, status: str) -> None:
        """Draw a stop, or `status` in place of its phase."""
        self.situation, self.status = situation, status
        self.update(self.text())

    def text(self) -> Text:
        """Return the line."""
        line = self.line(3)
        return line if line.cell_len <= (self.size.width or line.cell_len) else self.line(2)

    def line(self, gap: int) -> Text:
        """Return the line with `gap` spaces between its parts; without the program's name where there is no room."""
        space = " " * gap
        line = Text(no_wrap=True)
        line.append(" backpropdbg ", f"bold #101216 on {paint.ACCENT}")
        stop = self.situation
        if stop is None:
            return line.append(f"  {self.status}", f"bold {paint.ACCENT}")
        if gap > 2:
            line.append(f"  {paint.clean(stop.program)} ", paint.PLAIN)
        line.append(f"{space[1:]}iteration {stop.iteration}{space}", paint.PLAIN)
        line.append((self.status or stop.phase.upper()), f"bold {paint.ALARM if self.status else paint.ACCENT}")
        line.append(f"{space}{paint.clean(stop.where)}", f"bold {paint.STRONG}")
        if stop.loss is not None:
            line.append(f"{space}loss ", paint.PLAIN)
            odd = stop.loss in ("NaN", "Infinity", "-Infinity")
            line.append(loss_text(stop), f"bold {paint.ALARM}" if odd else paint.PLAIN)
        if stop.seed is not None:
            line.append(f"{space}seed {stop.seed}", paint.PLAIN)
        if stop.optimizer:
            line.append(f"{space}{paint.clean(stop.optimizer)}", paint.PLAIN)
        return line


def loss_text(situation: Situation) -> str:
    """Return the loss, e.g. "59.92", with enough digits not to read as 0."""
    return paint.number_text(situation.loss, digits=2)
