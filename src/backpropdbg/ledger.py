"""The sum of one parameter, term by term: carried in, each partial, running sum, `.grad`, what changed it.

`A.grad = A1.grad + A2.grad + …`: the engine adds the partials of one run in its own buffer, in the order in which they
arrive (last use first), and AccumulateGrad then adds that sum to what `.grad` held. `running` does the same sums. Uses
that share a cast or view are added among themselves first, in their own dtype: the sum is a tree.
"""

import math
from collections.abc import Iterable, Sequence

from msgspec import Struct

from backpropdbg.events import (
    Accumulated,
    BackwardFinished,
    BackwardStarted,
    BackwardUse,
    Event,
    Followed,
    GradChanged,
    GradCleared,
    GroupSummed,
    Held,
    IterationStarted,
    PartialEdited,
    StepStarted,
    Use,
)


class Run(Struct):
    """One engine run, as far as it concerns one parameter.

    Attributes:
        uses: in forward order. arrived: (use, partial) in order of arrival; partial None: not computed.
        terms: what reached the leaf itself, in order: partials, and totals of groups.
        waiting: the partials, by group, whose total has not reached the leaf yet.
        grad: `.grad` after AccumulateGrad; None before, or where this run doesn't accumulate.
        hooked: a hook of the program's on the parameter may change what is accumulated.
        several: other threads train, too, and may write `.grad` meanwhile.
        originals: what was computed where the user let another partial flow on, by use number.
        followed: the parameter is no leaf but computed: it has no `.grad`. flowed: then, the sum that flowed on.
        added: how many of the terms were added up already, and their sum.
    """

    number: int
    carried: Held | None
    uses: tuple[Use, ...]
    accumulates: bool
    arrived: list[tuple[Use, Held | None]] = []
    terms: list[Held] = []
    waiting: dict[int, list[Held]] = {}
    grad: Held | None = None
    finished: bool = False
    hooked: bool = False
    several: bool = False
    originals: dict[int, Held] = {}
    followed: Followed | None = None
    flowed: Held | None = None
    added: tuple[int, Held | None] = (0, None)

    @property
    def partials(self) -> list[Held]:
        """The partials that arrived, in order of arrival."""
        return [p for _, p in self.arrived if p is not None]

    @property
    def lost(self) -> bool:
        """True where the running sum can't be added up again: something of it was let go."""
        if self.carried is not None and self.accumulates and not self.carried.kept:
            return True
        return self._gone() and self._from()[0] is None

    def _all(self) -> list[Held]:
        return [*self.terms, *(p for group in self.waiting.values() for p in group)]

    def _gone(self) -> bool:
        return not all(term.kept for term in self._all())

    def _from(self) -> tuple[Held | None, list[Held]]:
        """The sum up to the newest term that was let go, None where nobody kept it, and the terms after it."""
        terms = self._all()
        last = max(n for n, term in enumerate(terms) if not term.kept)
        return terms[last].sum_so_far, terms[last + 1 :]

    def total(self) -> Held | None:
        """The partials so far, added as the engine does; None where there are none or one was not kept."""
        count, first = self.added
        rest = self._all()[count:] if self.waiting else self.terms[count:]
        if not rest:
            return first
        if not all([term.kept for term in rest]):
            first, rest = self._from()
        elif first is None:
            first, rest = rest[0], rest[1:]
        if first is None:
            return None
        total = first
        for term in rest:
            total = total.plus(term)
        if not self.waiting:
            self.added = len(self.terms), total
        return total

    def go_on_from(self, known: "Run") -> None:
        """Take over what was added up already, where the terms are the same."""
        count, total = known.added
        same = total is not None and len(self.terms) >= count and not self.lost
        if same and all(a is b for a, b in zip(self.terms[:count], known.terms, strict=False)):
            self.added = known.added

    def arrive(self, use: Use, partial: Held | None) -> None:
        """Take note of a partial."""
        self.arrived.append((use, partial))
        if partial is not None and use.group:
            self.waiting.setdefault(use.group, []).append(partial)
        elif partial is not None:
            self.terms.append(partial)

    def edit(self, use: Use, partial: Held) -> None:
        """Take note that the newest partial of a use was replaced: what flows on is another."""
        at = max((i for i, (arrived, _) in enumerate(self.arrived) if arrived.number == use.number), default=-1)
        original = self.arrived[at][1] if at >= 0 else None
        if original is None:
            return
        self.arrived[at] = (use, partial)
        self.originals.setdefault(use.number, original)
        self.added = 0, None
        for terms in (self.terms, *self.waiting.values()):
            terms[:] = [partial if held is original else held for held in terms]

    def arrive_together(self, group: int, total: Held) -> None:
        """Take note of the total of a group."""
        self.waiting.pop(group, None)
        self.terms.append(total)

    def running(self) -> Held | None:
        """carried in + partials so far."""
        total = self.total()
        if total is None or self.carried is None or not self.accumulates:
            return total if total is not None or self.partials else self.carried
        return self.carried.plus(total) if self.carried.kept else None

    def exact(self) -> bool | None:
        """True where the running sum is `.grad` bit for bit; None where that can't be known, or another changed it.

        Of what is computed: where it is what flows on.
        """
        running = self.running()
        if self.followed is not None:
            if running is None or self.flowed is None or not self.flowed.kept:
                return None
            return running.same_bits(self.flowed) or (None if self.followed.mixed else False)
        if self.grad is None or running is None or not self.grad.kept:
            return None
        return running.same_bits(self.grad) or (None if self.hooked or self.several else False)


_TOLD = {BackwardStarted, PartialEdited, GroupSummed, Accumulated, BackwardFinished}
_TOLD |= {GradCleared, GradChanged}
_TELL_GRAD = {Accumulated, GradCleared, GradChanged, StepStarted, IterationStarted, BackwardStarted}


class Ledger(Struct):
    """One parameter in one iteration.

    Attributes:
        runs: in the order in which they wrote `.grad`, then in which they began.
        changed: `.grad` where something changed it after the newest backward. changes: how often that happened.
    """

    parameter: str
    runs: list[Run]
    changed: Held | None = None
    changes: int = 0

    @property
    def written(self) -> Run | None:
        """The newest run that concerns the parameter and accumulates: what an optimizer reads ends with it."""
        return next((run for run in reversed(self.runs) if run.accumulates and (run.uses or run.grad)), None)

    @property
    def latest(self) -> Run | None:
        """The newest run that concerns the parameter, else the newest; None where none began."""
        for run in reversed(self.runs):
            if run.uses or run.grad is not None:
                return run
        return self.runs[-1] if self.runs else None

    def go_on_from(self, known: "Ledger") -> None:
        """Take over the sums of an earlier ledger, of runs that are the same."""
        runs = {run.number: run for run in known.runs}
        for run in self.runs:
            if run.number in runs:
                run.go_on_from(runs[run.number])

    def take(self, events: Iterable[Event]) -> None:
        """Add what these events say, which come after those that it knows."""
        parameter = self.parameter
        for event in events:
            if type(event) is BackwardUse:
                if event.use.parameter == parameter:
                    for run in self.runs:
                        if run.number == event.run:
                            run.arrive(event.use, event.partial)
            elif type(event) in _TOLD:
                self._take(event)

    def _take(self, event: Event) -> None:
        parameter = self.parameter
        match event:
            case Accumulated() if event.parameter == parameter:
                self._accumulate(event)
            case BackwardStarted():
                self._begin(event)
            case PartialEdited(use=use) if use.parameter == parameter:
                for run in self._of(event.run):
                    run.edit(use, event.partial)
            case GroupSummed() if event.parameter == parameter:
                for run in self._of(event.run):
                    if event.group:
                        run.arrive_together(event.group, event.total)
                    else:
                        run.flowed = event.total
            case BackwardFinished():
                for run in self._of(event.run):
                    run.finished = True
            case GradCleared() if parameter in event.grads:
                self.runs, self.changed, self.changes = [], None, 0
            case GradChanged() if parameter in event.grads:
                self.changed, self.changes = event.grads[parameter], self.changes + 1

    def _of(self, number: int) -> list[Run]:
        return [run for run in self.runs if run.number == number]

    def _begin(self, event: BackwardStarted) -> None:
        uses = tuple([u for u in event.uses if u.parameter == self.parameter])
        run = Run(event.run, event.carried.get(self.parameter), uses, event.accumulates)
        run.hooked, run.several = self.parameter in event.hooked, event.several
        run.followed = event.computed.get(self.parameter)
        self.runs.append(run)
        if uses and event.accumulates:  # what changed it before is carried into this run
            self.changed, self.changes = None, 0

    def _accumulate(self, event: Accumulated) -> None:
        for run in list(self.runs):
            if run.number == event.run:
                run.grad = event.grad
                self.runs.remove(run)  # in the order in which they write
                self.runs.append(run)
            elif not run.finished and run.grad is None:  # it was within this one, which adds to that
                run.carried = event.grad


def fold(parameter: str, events: Iterable[Event] | Sequence[Event]) -> Ledger:
    """Return the ledger that these events of one iteration add up to."""
    ledger = Ledger(parameter, [])
    ledger.take(events)
    return ledger


def newest_grad(parameter: str, events: Sequence[Event]) -> Held | None:
    """The true `.grad` after these events: what the newest one that knows it says."""
    for event in reversed(events):
        if type(event) not in _TELL_GRAD:
            continue
        match event:
            case Accumulated() if event.parameter == parameter:
                return event.grad
            case GradCleared() | GradChanged() | StepStarted() | IterationStarted() if parameter in event.grads:
                return event.grads[parameter]
            case BackwardStarted() if parameter in event.carried:
                return event.carried[parameter]
    return None


def cancelled(sizes: Sequence[float], total: float) -> float | None:
    """1 - |total| / sum of sizes: the share that terms lose when they are added up.

    None with fewer than two terms, or where it says nothing: all are zero, or something is not finite.
    """
    pulls = math.fsum(sizes) if all(map(math.isfinite, sizes)) else math.inf
    if len(sizes) < 2 or not 0 < pulls < math.inf or not math.isfinite(total):
        return None
    return max(0.0, 1 - abs(total) / pulls)


def pulls_cancelled(values: Sequence[float]) -> float | None:
    """The share of the pulls on one element that their sum has lost; None as of `cancelled`.

    Example: of +3 and -1 half is cancelled: each had to do with 1 of the 4.
    """
    return cancelled([abs(value) for value in values], sum(values))
