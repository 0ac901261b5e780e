"""What this stop means, in plain sentences."""

from rich.text import Text

from backpropdbg.situation import Situation
from backpropdbg.tui import paint
from backpropdbg.tui.quiet import Quiet
from backpropdbg.tui.themes import Painted

MOST = 4


def explanation_text(situation: Situation) -> Text:
    """Return the sentences, the proof that backward left the weights alone, and what is displayed."""
    colours = paint.now()
    alarm = f"The program raised {situation.raised}" if situation.raised else None
    text = Text("\n").join(
        Text(paint.clean(line), f"bold {colours.alarm}" if alarm and line.startswith(alarm) else colours.plain)
        for line in situation.explanation
    )
    if situation.proof:
        text.append("\n" if text else "")
        text.append(f"Weights: {paint.clean(situation.proof)}.", colours.dim)
    for line in situation.displays[:MOST]:
        text.append(f"\n{paint.clean(line)}", colours.accent)
    if len(situation.displays) > MOST:
        text.append(f"\n{len(situation.displays) - MOST} more: display lists them", colours.dim)
    return text


class Explanation(Quiet, Painted):
    """The explanation pane.

    Attributes:
        shown: the stop that is explained, or the line that stands in its place. alarm: that line is bad news.
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.shown: Situation | str = ""
        self.alarm = False

    def show(self, situation: Situation) -> None:
        """Explain a stop."""
        self.shown, self.alarm = situation, False
        self.redraw()

    def say(self, line: str, alarm: bool = False) -> None:
        """Draw one line, in red where it is bad news."""
        self.shown, self.alarm = line, alarm
        self.redraw()

    def redraw(self) -> None:
        """Draw the sentences."""
        if isinstance(self.shown, str):
            style = f"bold {paint.now().alarm}" if self.alarm else paint.now().plain
            self.update(Text(paint.clean(self.shown), style))
        else:
            self.update(explanation_text(self.shown))
