"""What this stop means, in plain sentences."""

from rich.text import Text
from textual.widgets import Static

from backpropdbg.situation import Situation
from backpropdbg.tui import paint

MOST = 4


class Explanation(Static):
    """The explanation pane."""

    def show(self, situation: Situation) -> None:
        """Draw the sentences, the proof that backward left the weights alone, and what is displayed."""
        text = Text("\n").join(Text(paint.clean(line), paint.PLAIN) for line in situation.explanation)
        if situation.proof:
            text.append("\n" if text else "")
            text.append(f"Weights: {paint.clean(situation.proof)}.", paint.DIM)
        for line in situation.displays[:MOST]:
            text.append(f"\n{paint.clean(line)}", paint.ACCENT)
        if len(situation.displays) > MOST:
            text.append(f"\n{len(situation.displays) - MOST} more: display lists them", paint.DIM)
        self.update(text)

    def say(self, line: str, alarm: bool = False) -> None:
        """Draw one line, in red where it is bad news."""
        self.update(Text(paint.clean(line), f"bold {paint.ALARM}" if alarm else paint.PLAIN))
