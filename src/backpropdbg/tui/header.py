"""The top line: where the program is."""

from rich.text import Text

from backpropdbg.situation import Number, Progress, Situation
from backpropdbg.tui import keys, paint
from backpropdbg.tui.quiet import Quiet
from backpropdbg.tui.themes import Painted

_LEAST_WHERE = 8  # cells


class Header(Quiet, Painted):
    """Name, program, iteration, phase, place, loss, seed and optimizer.

    Attributes:
        situation: the last stop, or None before the first.
        status: a word that stands for the phase while there is none, e.g. "running".
        progress: how far a running program is; None at a stop, and until that is known.
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.situation: Situation | None = None
        self.status = "starting"
        self.progress: Progress | None = None

    def show(self, situation: Situation | None, status: str) -> None:
        """Draw a stop, or `status` in place of its phase."""
        self.situation, self.status, self.progress = situation, status, None
        self.redraw()

    def show_progress(self, progress: Progress) -> None:
        """Draw how far it is, until the next stop."""
        self.progress = progress
        self.redraw()

    def on_resize(self) -> None:
        """Draw what the new width has room for."""
        self.redraw()

    def redraw(self) -> None:
        """Draw the line."""
        self.update(self.text())

    def text(self) -> Text:
        """Return the line, less the least telling parts where there is no room for all."""
        name = badge(self.situation)
        parts = self.parts()
        room = self.size.width or 10_000
        for dropped in ("", "program", "settings", "seed", "optimizer", "loss", "where"):
            parts.pop(dropped, None)
            if dropped == "settings" and "optimizer" in parts:  # of the optimizer: name and learning rate stay
                parts["optimizer"] = Text(" ".join(parts["optimizer"].plain.split()[:2]), parts["optimizer"].style)
            line = Text("  ", no_wrap=True).join([name, *parts.values()])
            if line.cell_len <= room:
                return line
            if dropped == "loss" and "where" in parts:  # the last that goes; a part of it is better than nothing
                left = parts["where"].cell_len - (line.cell_len - room)
                if left >= _LEAST_WHERE:
                    parts["where"].truncate(left, overflow="ellipsis")
                    return Text("  ", no_wrap=True).join([name, *parts.values()])
        return line

    def parts(self) -> dict[str, Text]:
        """Return the parts of the line by name."""
        stop = self.situation
        if self.progress is not None:
            return self.progress_parts(self.progress)
        if stop is None:
            return {"status": Text(self.status, f"bold {paint.now().accent}")}
        found = {"program": Text(paint.clean(stop.program), paint.now().plain)}
        found["iteration"] = Text(f"iteration {stop.iteration}", paint.now().plain)
        colour = paint.now().alarm if self.status else badge_colour(stop)
        found["phase"] = Text(self.status or stop.phase.upper(), f"bold {colour}")
        found["where"] = Text(paint.clean(stop.where_and_why), f"bold {paint.now().strong}")
        if stop.loss is not None:
            found["loss"] = loss_part(stop.loss)
        if stop.seed is not None:
            found["seed"] = Text(f"seed {stop.seed}", paint.now().plain)
        if stop.optimizer:
            found["optimizer"] = Text(paint.clean(stop.optimizer), paint.now().plain)
        return found

    def progress_parts(self, progress: Progress) -> dict[str, Text]:
        """Return what there is to say of a program that runs, or of a look through what is recorded."""
        found = {"iteration": Text(f"iteration {progress.iteration}", f"bold {paint.now().strong}")}
        found["phase"] = Text(self.status, f"bold {paint.now().alarm}")
        if progress.looking:
            found["where"] = Text(f"event {progress.position} of {progress.newest}", paint.now().plain)
        if progress.rate is not None:
            found["rate"] = Text(rate_text(progress.rate), paint.now().plain)
        if progress.loss is not None:
            found["loss"] = loss_part(progress.loss)
        found["seed"] = Text(f"{keys.shown('interrupt')} interrupts", f"italic {paint.now().dim}")
        return found


def rate_text(rate: float) -> str:
    """Return iterations a second, with enough digits; the time of one where it takes longer than that."""
    return f"{rate:.3g} it/s" if rate >= 1 else f"{1 / rate:.3g} s/it"


def loss_part(loss: Number) -> Text:
    """Return the loss with its name, in red where it is no finite number."""
    odd = loss in ("NaN", "Infinity", "-Infinity")
    shown = paint.number_text(loss, digits=2)
    return Text("loss ", paint.now().plain).append(shown, f"bold {paint.now().alarm}" if odd else paint.now().plain)


def badge_colour(situation: Situation | None) -> str:
    """Return the colour of the present, or of what was recorded."""
    recorded = situation is not None and (situation.past or situation.recorded)
    return paint.now().past if recorded else paint.now().accent


def badge(situation: Situation | None) -> Text:
    """Return the name of the debugger, or that this is the past."""
    word = "backpropdbg"
    if situation is not None and (situation.past or situation.recorded):
        when = "RECORDING" if situation.recorded else "PAST"
        word = f"{when} event {situation.position} of {situation.newest}"
    return Text(f" {word} ", f"bold {paint.now().on_accent} on {badge_colour(situation)}", no_wrap=True)
