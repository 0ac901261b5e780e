"""An iteration up to a position: it grows with the events, so that no stop has to go through all of them again."""

from collections.abc import Callable, Sequence
from typing import Any

from backpropdbg.events import (
    Accumulated,
    BackwardFinished,
    BackwardStarted,
    BackwardUse,
    Event,
    ForwardUse,
    GradChanged,
    GradCleared,
    GroupSummed,
    Held,
    IterationStarted,
    LossComputed,
    ManualUpdate,
    PartialEdited,
    ProgramFinished,
    StepFinished,
    StepStarted,
)
from backpropdbg.ledger import Ledger
from backpropdbg.situation import Number, Phase, number
from backpropdbg.trace.history import Trace

PHASES: dict[type, Phase] = {
    ForwardUse: "forward",
    LossComputed: "forward",
    BackwardStarted: "backward",
    BackwardUse: "backward",
    GroupSummed: "backward",
    PartialEdited: "backward",
    Accumulated: "backward",
    BackwardFinished: "backward",
    StepStarted: "update",
    StepFinished: "update",
    ProgramFinished: "finished",
}
MANY: set[type[Any]] = {
    ForwardUse,
    BackwardUse,
    GroupSummed,
    PartialEdited,
    Accumulated,
}  # these come once for each use


class SoFar:
    """What the events of an iteration add up to.

    Args:
        between: the events from one position up to another, which is not among them. first: where it begins.

    Attributes:
        position: up to and with which it is to be read.
        kinds: the events of each kind, but for those of MANY; of all of them there are `counts`.
        steps: those about steps of optimizers.
        loss, weights, grads: the newest that is known; the latter by parameter.
        phase: that the newest event which has one is in.
    """

    def __init__(self, between: Callable[[int, int], Sequence[Event]], first: int, position: int) -> None:
        self._between, self._first = between, first
        self._end = first  # up to here it is read
        self.position = position
        self.kinds: dict[type[Any], list[Any]] = {}
        self.counts: dict[type[Any], int] = {}
        self.steps: list[StepStarted | StepFinished] = []
        self.loss: Held | None = None
        self._lost: tuple[Held | None, Number] = None, 0.0
        self.weights: dict[str, Held] = {}
        self.grads: dict[str, Held | None] = {}
        self.phase: Phase = "forward"
        self._since: dict[str, int] = {}  # how many calls since the newest backward use a parameter
        self._numbers: dict[str, tuple[int, set[int]]] = {}  # of its uses in as many backwards
        self._ledgers: dict[str, tuple[Ledger, int]] = {}

    def read(self) -> "SoFar":
        """Take the events that were not taken yet."""
        for event in self._between(self._end, self.position + 1):
            self._take(event)
        self._end = self.position + 1
        return self

    def _take(self, event: Event) -> None:
        kind = type(event)
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self.phase = PHASES.get(kind, self.phase)
        match event:
            case BackwardUse():
                pass
            case ForwardUse():
                for name in {*event.parameters}:
                    self._since[name] = self._since.get(name, 0) + 1
            case Accumulated():
                self.grads[event.parameter] = event.grad
            case BackwardStarted():
                self.grads.update(event.carried)
                self.weights.update(event.weights)
                self.loss = self.loss if event.loss is None else event.loss
                self._since.clear()
            case LossComputed():
                self.loss = event.loss
            case GradCleared() | GradChanged():
                self.grads.update(event.grads)
            case StepStarted():
                self.grads.update(event.grads)
                self.weights.update(event.before)
                self.steps.append(event)
            case StepFinished():
                self.weights.update(event.after)
                self.steps.append(event)
            case ManualUpdate():
                self.weights.update(event.weights)
            case IterationStarted():
                self.grads.update(event.grads)
                self.weights.update(event.weights)
        if kind not in MANY:
            self.kinds.setdefault(kind, []).append(event)

    def lost(self) -> Number | None:
        """The loss as a number; None where there is none, or it is not kept."""
        if self.loss is None or not self.loss.kept:
            return None
        if self._lost[0] is not self.loss:
            self._lost = self.loss, number(self.loss.at(()))
        return self._lost[1]

    def uses(self, parameter: str) -> int:
        """How many uses of it are known: those of each graph, then those of the forward since then."""
        read, numbers = self._numbers.get(parameter, (0, set[int]()))
        begun: list[BackwardStarted] = self.kinds.get(BackwardStarted, [])
        for event in begun[read:]:
            numbers.update([use.number for use in event.uses if use.parameter == parameter])
        self._numbers[parameter] = len(begun), numbers
        return len(numbers) + self._since.get(parameter, 0)

    def ledger(self, parameter: str) -> Ledger:
        """The ledger of a parameter."""
        ledger, end = self._ledgers.get(parameter) or (Ledger(parameter, []), self._first)
        if end <= self.position:
            ledger.take(self._between(end, self.position + 1))
            self._ledgers[parameter] = ledger, self.position + 1
        return ledger


def so_far(events: Sequence[Event]) -> SoFar:
    """The same of events that are at hand, whose positions are counted from 0."""
    return SoFar(lambda start, end: events[start:end], 0, len(events) - 1)


class Growing:
    """The iteration that is looked into, for stops that come one after the other: of those before one is good no more.

    What comes before the last one is read anew.
    """

    def __init__(self, trace: Trace) -> None:
        self._trace, self._number = trace, 0
        self._newest: SoFar | None = None

    def at(self, position: int, number: int) -> SoFar:
        """The iteration of this number up to a position of it, to be read."""
        found = self._newest
        if found is None or number != self._number or position < found.position:
            found = self._newest = SoFar(self._trace.between, self._trace.start(number) or 0, position)
            self._number = number
        found.position = position
        return found
