"""What a page shows: stops one after the other, with what was said and printed at each."""

from typing import Literal

from msgspec import Struct, field

from backpropdbg.situation import Situation, Window

ROWS, COLS = 16, 16  # of cells that a matrix has room for
MOST_OUTPUT = 300_000
LEFT_OUT = "\n(more output is left out here)\n"

Pieces = list[tuple[str, str]]


class Remark(Struct, frozen=True):
    """What stands beside a stop: words of the script, a command and what it printed, or why the story ends here."""

    kind: Literal["say", "command", "said", "error"]
    text: str
    command: str = ""


class Slide(Struct):
    """One stop.

    Attributes:
        windows: cells of its matrices by name, of those that have a value.
        printed: how many pieces of the film's output stood there.
        past: what stood there instead, at a stop in the past.
    """

    situation: Situation
    windows: dict[str, Window]
    printed: int = 0
    past: Pieces | None = None
    remarks: list[Remark] = field(default_factory=list)

    @property
    def spoken(self) -> bool:
        """True where the script says something of this stop."""
        return any(remark.kind == "say" for remark in self.remarks)


class Film(Struct):
    """Stops in the order in which they were shown.

    Attributes:
        before: what was said before the first of them.
        output: of the program, as (stream, text).
        more: there were more stops than these.
    """

    title: str
    slides: list[Slide] = field(default_factory=list)
    before: list[Remark] = field(default_factory=list)
    output: Pieces = field(default_factory=list)
    size: int = 0
    more: bool = False

    def show(self, situation: Situation, windows: dict[str, Window], past: Pieces | None = None) -> None:
        """Add a stop; one that is drawn anew before the script said anything of it is the same stop still."""
        made = Slide(situation, windows, len(self.output), past)
        last = self.slides[-1] if self.slides else None
        if last is not None and last.situation.position == situation.position and not last.spoken:
            made.remarks = self.slides.pop().remarks
        self.slides.append(made)

    def remark(self, remark: Remark) -> None:
        """Add what was said at the last stop."""
        (self.slides[-1].remarks if self.slides else self.before).append(remark)

    def print(self, stream: str, text: str) -> None:
        """Add output of the program, to a limit."""
        if self.size > MOST_OUTPUT:
            return
        self.size += len(text)
        shown = max((slide.printed for slide in self.slides[-1:]), default=0)
        if len(self.output) > shown and self.output[-1][0] == stream:
            self.output[-1] = (stream, self.output[-1][1] + text)
        else:
            self.output.append((stream, text))
        if self.size > MOST_OUTPUT:
            self.output.append(("end", LEFT_OUT))
