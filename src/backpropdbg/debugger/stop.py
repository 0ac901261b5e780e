"""One position of the trace, seen from one parameter: the facts that a screen is made of."""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

from backpropdbg.debugger.once import once
from backpropdbg.debugger.sofar import MANY, PHASES, Growing, SoFar, so_far
from backpropdbg.debugger.titles import title
from backpropdbg.events import (
    Accumulated,
    BackwardStarted,
    BackwardUse,
    Event,
    Followed,
    ForwardUse,
    GradChanged,
    GradCleared,
    GroupSummed,
    Held,
    IterationStarted,
    Location,
    PartialEdited,
    StepFinished,
    StepStarted,
)
from backpropdbg.ledger import Ledger, Run
from backpropdbg.questions import Scope
from backpropdbg.situation import Number, Phase, Window
from backpropdbg.trace.history import Trace

T = TypeVar("T")
_NOISE = 0.005  # a share below this is not worth a word


class Positions(NamedTuple):
    """Positions in the trace: of calls and of the newest gradient that came to each, by index; of the focus' partials,
    by run and number of the use.
    """

    forward: dict[int, int]
    backward: dict[int, int]
    partials: dict[tuple[int, int], int]


class Stop:
    """Everything that one position of the trace says about one focused parameter.

    Args:
        events: those of the iteration that are about the parameter, where they are known already.
        growing: the iteration, that grows as the program goes on.
        earlier: the stop before; what it has added up, and compared with that, need not be computed again.

    Attributes:
        scope: what its rows are about beside the whole; see `story.Scoped`.
        windows: those that were drawn already: a face asks again for each element that is selected.
        axes: that matrices show as rows and columns; none: the first, and all others in a row.
    """

    scope: Scope = "element"
    axes: tuple[int, ...] = ()
    _earlier: "Stop | None" = None

    def __init__(
        self,
        trace: Trace,
        position: int,
        focus: str,
        element: tuple[int, ...],
        events: Sequence[Event] | None = None,
        growing: Growing | None = None,
        earlier: "Stop | None" = None,
    ) -> None:
        self.trace, self.position, self.focus, self._chosen = trace, position, focus, element
        self.event: Event = trace[position]
        self._known, self._growing = events, growing
        if earlier is not None:
            self._earlier, earlier._earlier = earlier, None

    @once
    def windows(self) -> dict[tuple[object, ...], Window | None]:
        return {}

    @once
    def _cosines(self) -> dict[int, tuple[Held, float | None]]:
        return {}

    @once
    def _exact(self) -> dict[int, tuple[Held | None, bool | None]]:
        return {}

    @once
    def element(self) -> tuple[int, ...]:
        """Index of the selected element; the first one, where none was chosen that fits."""
        shown = self.weight or self.grad or self.partial
        if shown is None or len(self._chosen) == len(shape := shown.shape):
            return self._chosen
        return (0,) * len(shape)

    @once
    def events(self) -> Sequence[Event]:
        """Those of this iteration, up to and with this one."""
        return self.trace.iteration(self.event.iteration, self.position) if self._known is None else self._known

    @once
    def _iteration(self) -> SoFar:
        if self._growing is None:
            return so_far(self.events)
        return self._growing.at(self.position, self.event.iteration)

    @once
    def _so_far(self) -> SoFar:
        return self._iteration.read()

    @once
    def ledger(self) -> Ledger:
        found = self._iteration.ledger(self.focus)
        if self._earlier is not None and self._earlier.ledger is not found:
            found.go_on_from(self._earlier.ledger)
        return found

    @once
    def _many(self) -> dict[type[Any], list[Any]]:
        found: dict[type[Any], list[Any]] = {kind: [] for kind in MANY}
        for e in self.events:
            if type(e) in MANY:
                found[type(e)].append(e)
        return found

    def of(self, kind: type[T]) -> list[T]:
        """The events of one kind, of this iteration up to here."""
        return self._many[kind] if kind in MANY else self._so_far.kinds.get(kind, [])

    @property
    def nth(self) -> int:
        """The how-manieth event of its kind in its iteration this is."""
        return self._so_far.counts.get(type(self.event), 0)

    @once
    def positions(self) -> Positions:
        """Where the uses of this iteration are in the trace."""
        found = Positions({}, {}, {})
        for position, e in enumerate(self.events, self.position + 1 - len(self.events)):
            if type(e) is ForwardUse:
                found.forward[e.index] = position
            elif type(e) is BackwardUse:
                found.backward[e.use.index] = position
                if e.use.parameter == self.focus:
                    found.partials[e.run, e.use.number] = position
        return found

    def last(self, kind: type[T]) -> T | None:
        """The newest event of one kind; None where there is none."""
        found = self.of(kind)
        return found[-1] if found else None

    @once
    def run(self) -> Run | None:
        """The newest run that concerns the focus; in the update the newest that accumulates."""
        return (self.ledger.written if self.phase == "update" else None) or self.ledger.latest

    @once
    def started(self) -> StepStarted | None:
        """The newest step: of the optimizer that has the focused parameter, where there are several."""
        steps = self.of(StepStarted)
        return next((e for e in reversed(steps) if self.focus in e.grads), steps[-1]) if steps else None

    @once
    def stepped(self) -> StepFinished | None:
        """The end of `started`; None while it runs. Between the two, another thread's step may end."""
        if self.started is None:
            return None
        begun, mine = False, self.focus in self.started.grads
        for e in self._so_far.steps:
            begun = begun or e is self.started
            if begun and isinstance(e, StepFinished) and (self.focus in e.stepped or not (mine and self.several)):
                return e
        return None

    @property
    def optimizer(self) -> str:
        """The optimizer that stepped, else the one that was known when the iteration began; "" where none was."""
        if self.started is not None:
            return self.started.optimizer
        begun = self.last(IterationStarted)
        return begun.optimizer if begun is not None else ""

    @once
    def followed(self) -> Followed | None:
        """What is known of the focus where it is no leaf but computed; None where it is a parameter."""
        newest = next((e for e in reversed(self.of(BackwardStarted)) if self.focus in e.computed), None)
        if newest is not None:
            return newest.computed[self.focus]
        return Followed("", ()) if self.trace.names_at(self.position).get(self.focus) == () else None

    @property
    def several(self) -> bool:
        """True where several threads train: what changed between two events may be another one's doing."""
        return any(e.several for e in self.of(BackwardStarted))

    @once
    def phase(self) -> Phase:
        return PHASES.get(type(self.event)) or self._so_far.phase

    @once
    def running(self) -> Held | None:
        return self.run.running() if self.run is not None else None

    @property
    def grad(self) -> Held | None:
        """The true `.grad` at this stop: what the newest event that knows it says."""
        return self._so_far.grads.get(self.focus)

    @once
    def partial(self) -> Held | None:
        """The partial of this stop's use; after it, the newest one."""
        if isinstance(self.event, (BackwardUse, PartialEdited)) and self.event.use.parameter == self.focus:
            return self.event.partial
        return self.run.arrived[-1][1] if self.run is not None and self.run.arrived else None

    @property
    def weight(self) -> Held | None:
        """The focused parameter's value at this stop."""
        return self._so_far.weights.get(self.focus)

    @once
    def before(self) -> Held | None:
        return self.started.before.get(self.focus) if self.started is not None else None

    @once
    def after(self) -> Held | None:
        return self.stepped.after.get(self.focus) if self.stepped is not None else None

    @once
    def delta(self) -> Held | None:
        if self.before is None or self.after is None or not (self.before.kept and self.after.kept):
            return None
        return self.after.minus(self.before)

    @once
    def terms(self) -> list[tuple[str, Held, str]]:
        """The terms of the update, once it is done."""
        if self.started is None or self.after is None or self.focus not in self.started.recipes:
            return []
        return self.started.recipes[self.focus].terms(self.after)

    @property
    def loss(self) -> Held | None:
        return self._so_far.loss

    @property
    def lost(self) -> Number | None:
        """The same as a number; None also where it is not kept."""
        return self._so_far.lost()

    @property
    def uses(self) -> int:
        """How many uses of this iteration are known: those of each graph, then those of the forward since then."""
        return self._so_far.uses(self.focus)

    def where(self) -> str:
        return title(self.event)

    def location(self) -> Location | None:
        """The line of the use, in forward and in backward; else the line that caused this event."""
        event = self.event
        if isinstance(event, (BackwardUse, PartialEdited)):
            return event.use.where
        if isinstance(event, (Accumulated, GradChanged, GroupSummed)):
            begun = self.last(BackwardStarted)
            return begun.where if begun is not None else None
        return getattr(event, "where", None)

    def edit(self, partial: Held) -> None:
        """Show what the user put in the place of this stop's partial, before the program runs on with it."""
        if isinstance(self.event, BackwardUse) and self.event.use.parameter == self.focus:
            self.partial = partial
            for run in self.ledger.runs:
                if run.number == self.event.run:
                    run.edit(self.event.use, partial)

    # -- of the ledger ----------------------------------------------------------------------------

    @property
    def cleared(self) -> bool:
        """True where `.grad` was set to None or zeros in this iteration."""
        return any(self.focus in e.grads for e in self.of(GradCleared))

    @property
    def left_over(self) -> bool:
        """True where `.grad` is still what a backward before this iteration left."""
        written = self.cleared or self.ledger.changes or any(run.grad is not None for run in self.ledger.runs)
        return self.grad is not None and not written

    def value_at(self, held: Held | None) -> float | None:
        """The selected element; None where there is no tensor, or none with elements."""
        if held is None or not held.kept or 0 in held.shape or len(held.shape) != len(self.element):
            return None
        return held.at(self.element)

    def part(self, held: Held) -> Held:
        """What of a tensor the norms of its rows are of."""
        return held

    def cosine(self, held: Held) -> float | None:
        """To the reference; it takes a while to compute for a large tensor, so once."""
        if id(held) not in self._cosines:
            known = self._earlier
            if known is not None and known.reference is self.reference and id(held) in known._cosines:
                self._cosines[id(held)] = known._cosines[id(held)]
            else:
                self._cosines[id(held)] = held, held.cosine(self.reference) if self.reference is not None else None
        return self._cosines[id(held)][1]

    def exact(self, run: Run) -> bool | None:
        """Whether a run's sum is what it left, see `Run.exact`; once."""
        written = run.flowed if run.followed is not None else run.grad
        known = self._exact.get(run.number)
        if known is None or known[0] is not written:
            known = self._exact[run.number] = written, run.exact()
        return known[1]

    @once
    def unmoved(self) -> bool | None:
        """True where the weight is the same after the step, bit for bit; None where that can't be known."""
        if self.before is None or self.after is None or not (self.before.kept and self.after.kept):
            return None
        return self.before.same_bits(self.after)

    @once
    def maximized(self) -> bool:
        """True where the optimizer moves the parameter up its gradient."""
        begun = self.last(BackwardStarted)
        return begun is not None and self.focus in begun.maximized

    def before_this(self) -> list[float]:
        """The element in the partials that arrived before the newest one; none where one of them is not kept."""
        earlier = [p for _, p in self.run.arrived[:-1] if p is not None] if self.run is not None else []
        values = [value for p in earlier if (value := self.value_at(p)) is not None]
        return values if len(values) == len(earlier) else []

    @once
    def reference(self) -> Held | None:
        """What the cosines are taken to: the running sum of the newest run."""
        return self.running

    @property
    def final(self) -> bool:
        """True once every partial of the newest run is in."""
        return self.run is not None and len(self.run.arrived) == len(self.run.uses)
