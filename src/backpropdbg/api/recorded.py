"""What a recording knows of one parameter in one iteration, as tensors: its ledger and its update."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from msgspec import Struct

from backpropdbg import ledger
from backpropdbg.api.told import ledger_rows, update_rows
from backpropdbg.errors import RecordingError
from backpropdbg.events import (
    Accumulated,
    BackwardStarted,
    Event,
    GradChanged,
    GradCleared,
    Held,
    IterationStarted,
    ManualUpdate,
    Recipe,
    StepFinished,
    StepStarted,
)
from backpropdbg.report.changes import change
from backpropdbg.situation import Row

Tensor = Any  # a torch.Tensor: this module opens without torch


class Use(Struct, frozen=True):
    """One use of a parameter, in forward order: the module call that made it, its autograd node, and its line.

    Attributes:
        number: from 1, through all runs of the iteration. place: from 1, of `total` in this run of the engine.
        call: the how-manieth of that module. run: number of the run.
        fused: several uses may be inside one operation, which can't be split. inside: how many, 0 where nobody knows.
    """

    number: int
    total: int
    module: str
    call: int
    node: str
    file: str | None
    line: int | None
    run: int
    fused: bool
    place: int
    inside: int


class Run:
    """One run of the engine, as far as it concerns one parameter."""

    def __init__(self, parameter: str, run: ledger.Run) -> None:
        self.number, self.accumulates = run.number, run.accumulates
        self._run, self._of = run, f"of {parameter} in run {run.number}"

    @property
    def uses(self) -> tuple[Use, ...]:
        """In forward order."""
        return tuple([_use(use, self.number) for use in self._run.uses])

    @property
    def arrivals(self) -> tuple[int, ...]:
        """Numbers of the uses whose partials were computed, in the order in which they arrived."""
        return tuple([use.number for use, partial in self._run.arrived if partial is not None])

    @property
    def partials(self) -> tuple[Tensor, ...]:
        """What each of them contributed, in the same order."""
        return tuple([_tensor(partial, f"a partial {self._of}") for partial in self._run.partials])

    @property
    def carried(self) -> Tensor | None:
        """What `.grad` held before this run."""
        return _tensor(self._run.carried, f"what was carried in {self._of}")

    @property
    def running(self) -> Tensor | None:
        """What was carried in plus the partials, in the engine's order and dtype."""
        if self._run.lost:
            raise _not_kept(f"the running sum {self._of}")
        return _tensor(self._run.running(), f"the running sum {self._of}")

    @property
    def grad_after(self) -> Tensor | None:
        """What `.grad` held when this run had written it; None where it did not accumulate."""
        return _tensor(self._run.grad, f".grad {self._of}")

    @property
    def exact(self) -> bool | None:
        """True where the running sum is `.grad` bit for bit; None where a hook changed it or nobody can say."""
        return self._run.exact()


class Ledger:
    """One parameter from its last zeroing to the update."""

    def __init__(self, parameter: str, names: tuple[str, ...], events: Sequence[Event]) -> None:
        self.parameter, self.names = parameter, names
        self._events = _until_update(parameter, events)
        self._ledger = ledger.fold(parameter, self._events)
        self._concerned = [run for run in self._ledger.runs if run.uses or run.grad is not None]
        self._followed = next((run.followed for run in self._concerned if run.followed is not None), None)
        self._written = [run for run in self._concerned if run.grad is not None]

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs of the engine that reached the parameter."""
        return tuple([Run(self.parameter, run) for run in self._concerned])

    @property
    def uses(self) -> tuple[Use, ...]:
        """Those of all runs."""
        return tuple([use for run in self.runs for use in run.uses])

    @property
    def partials(self) -> tuple[Tensor, ...]:
        """Those of all runs, in the order in which they arrived."""
        return tuple([partial for run in self.runs for partial in run.partials])

    @property
    def carried(self) -> Tensor | None:
        """What `.grad` held before the first run."""
        if self._concerned:
            return self.runs[0].carried
        return _tensor(self._ledger.runs[0].carried, "what was carried in") if self._ledger.runs else None

    @property
    def flows_to(self) -> tuple[str, ...]:
        """Of a tensor that is no leaf but computed, the parameters that its sum flows on to; it has no `.grad`."""
        return self._followed.leaves if self._followed is not None else ()

    @property
    def running(self) -> Tensor | None:
        """Carried in plus all partials, as of the last run that writes `.grad` (else of the last one)."""
        runs = [run for run in self.runs if run.accumulates] or self.runs
        return runs[-1].running if runs else self.carried

    @property
    def grad(self) -> Tensor | None:
        """`.grad` as the optimizer read it; without a step, as it was at last, before it was cleared."""
        return _tensor(self._grad, f".grad of {self.parameter}")

    @cached_property
    def _grad(self) -> Held | None:
        return ledger.newest_grad(self.parameter, self._events)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """What changed `.grad`, so that it is not the running sum: "scaled by 0.25", "a hook of the program's" …"""
        if any(run.several for run in self._concerned):
            return ("several threads train",)
        found = []
        unknown = [run for run in self._written if run.exact() is None]
        if any(run.hooked for run in unknown):
            found.append("a hook of the program's")
        elif unknown:
            found.append("not kept" if any(run.lost for run in unknown) else "not compared")
        left: Held | None = None
        for run in self._concerned:
            if run.accumulates and left is not None:
                found.append(change(left, run.carried))
            left = run.grad or left
            if run.grad is not None and id(run.grad) in self._averaged:
                how, left = self._averaged[id(run.grad)]
                found.append(how)
        if left is not None:
            found.append(change(left, self._grad))
        elif self._concerned and self._followed is None:
            found.append("not accumulated")
        return tuple(dict.fromkeys(filter(None, found)))

    @cached_property
    def _averaged(self) -> dict[int, tuple[str, Held | None]]:
        """By the `.grad` that a run left: what a wrapper made of it at the very end of the backward, and how."""
        found: dict[int, tuple[str, Held | None]] = {}
        left: Held | None = None
        for event in self._events:
            match event:
                case Accumulated() if event.parameter == self.parameter:
                    left = event.grad
                case GradChanged() if event.how and self.parameter in event.grads and left is not None:
                    found[id(left)] = event.how, event.grads[self.parameter]
        return found

    @property
    def exact(self) -> bool | None:
        """True: the running sum equals `.grad` bit for bit. None: `labels` says why not. False: nothing says why.

        Of what is computed: whether it equals what flows on.
        """
        if self._followed is not None:
            found = {run.exact() for run in self._concerned}
            return False if False in found else None if None in found else True
        if any(run.exact() is False for run in self._written):
            return False
        return True if self._written and not self.labels else None

    @property
    def rows(self) -> list[Row]:
        """All of that as lines: what `_repr_html_` and `__rich__` show."""
        return ledger_rows(self._concerned, self._grad, self.exact, self.labels)

    def _title(self) -> str:
        return f"ledger of {' = '.join(self.names) or self.parameter}"

    def _repr_html_(self) -> str:
        from backpropdbg.api.notebook import html_table

        return html_table(self._title(), self.rows)

    def __rich__(self) -> object:
        from backpropdbg.api.notebook import rich_table

        return rich_table(self._title(), self.rows)


class Update:
    """How the newest step, or the program by hand, moved one parameter.

    Attributes:
        optimizer: the one that stepped, in one line; "" where none did.
        skipped: why no optimizer moved it: "no gradient", "in no optimizer that stepped", "no optimizer stepped",
            "computed from other parameters";
            "" where one did.

    Args:
        sure: nothing moved the weight since it was looked at last. before: the weight, where no event shows it.
    """

    def __init__(self, parameter: str, events: Sequence[Event], sure: bool, before: Held | None = None) -> None:
        self.parameter, self.optimizer = parameter, ""
        self._before = before
        self._after: Held | None = None
        self._recipe: Recipe | None = None
        self._by_hand = False
        self.skipped = "no optimizer stepped"
        for event in events:
            self._take(event)
        if not sure:
            self._after = None

    def _take(self, event: Event) -> None:
        name = self.parameter
        match event:
            case StepStarted() if name in event.grads:
                self._before = self._after = event.before.get(name)
                self._recipe, self._by_hand = event.recipes.get(name, self._recipe), False
                self.optimizer = event.optimizer
                self.skipped = "" if event.grads[name] is not None else "no gradient"
            case StepStarted() if self._recipe is None and not self.skipped.startswith("computed"):
                self.skipped = "in no optimizer that stepped"
            case StepFinished() if name in event.after:
                self._before, self._after = self._before or event.after[name], event.after[name]
            case ManualUpdate() if name in event.weights and self._recipe is None:
                self._after, self._by_hand = event.weights[name], True
            case BackwardStarted() if name in event.computed:
                self.skipped = "computed from other parameters"
            case BackwardStarted() | IterationStarted() if name in event.weights and self._before is None:
                self._before = self._after = event.weights[name]

    @property
    def before(self) -> Tensor | None:
        """The weight before; None where it was never seen."""
        return _tensor(self._before, f"the weight of {self.parameter} before the update")

    @property
    def after(self) -> Tensor | None:
        """The weight after; None where nobody looked at it again after the last backward."""
        return _tensor(self._after, f"the weight of {self.parameter} after the update")

    @property
    def delta(self) -> Tensor | None:
        """after - before, in float64."""
        if self.before is None or self.after is None or self._before is None or self._after is None:
            return None
        return self._after.minus(self._before).value

    @property
    def terms(self) -> dict[str, Tensor]:
        """What added up to `delta`, by cause, in float64; nothing where it was skipped."""
        if self._by_hand and self._after is not None:
            return {"by hand": self.delta}
        if self._recipe is None or self._after is None:
            return {}
        return {name: held.value for name, held, _ in self._recipe.terms(self._after)}

    @property
    def rows(self) -> list[Row]:
        """All of that as lines: what `_repr_html_` and `__rich__` show."""
        terms = self._recipe.terms(self._after) if self._recipe is not None and self._after is not None else ()
        return update_rows(self._before, self._after, () if self._by_hand else terms, self.skipped)

    def _title(self) -> str:
        return f"update of {self.parameter}{' by hand' if self._by_hand else ''}"

    def _repr_html_(self) -> str:
        from backpropdbg.api.notebook import html_table

        return html_table(self._title(), self.rows)

    def __rich__(self) -> object:
        from backpropdbg.api.notebook import rich_table

        return rich_table(self._title(), self.rows)


def updates_of(parameter: str, events: Sequence[Event], sure: bool) -> tuple[Update, ...]:
    """All that moved a parameter, or might have: each step of an optimizer that has it, each update by hand.

    sure: as in `Update`, of the last one.
    """
    found: list[Update] = []
    begun: list[Event] = []
    weight: Held | None = None
    for event in events:
        match event:
            case StepStarted() if parameter in event.grads:
                begun.append(event)
            case StepFinished() if begun and (parameter in event.stepped or not event.stepped):
                found.append(Update(parameter, [*begun, event], True))
                begun = []
            case ManualUpdate() if parameter in event.parameters:
                found.append(Update(parameter, [event], True, weight))
        weight = _weight(event).get(parameter, weight)
    if begun:  # the step raised, or goes on
        found.append(Update(parameter, begun, sure))
    return tuple(found)


def _weight(event: Event) -> dict[str, Held]:
    """What an event shows of weights."""
    if isinstance(event, StepFinished):
        return event.after
    return event.weights if isinstance(event, (BackwardStarted, IterationStarted, ManualUpdate)) else {}


def _use(use: Any, run: int) -> Use:
    file, line = (None, None) if use.where is None else (use.where.path, use.where.line)
    return Use(use.number, use.total, use.module, use.call, use.node, file, line, run, use.fused, use.place, use.inside)


def _until_update(parameter: str, events: Sequence[Event]) -> Sequence[Event]:
    """Leave out the clearing of a gradient that comes after everything that wrote or read it."""
    end = len(events)
    for index in range(len(events) - 1, -1, -1):
        match events[index]:
            case GradCleared() as event if parameter in event.grads:
                end = index
            case BackwardStarted() as event if any(use.parameter == parameter for use in event.uses):
                break
            case StepStarted() as event if parameter in event.grads:
                break
            case Accumulated() as event if event.parameter == parameter:
                break
    else:
        end = len(events)
    return events[:end]


def _tensor(held: Held | None, what: str) -> Tensor | None:
    if held is None:
        return None
    if not held.kept:
        raise _not_kept(what)
    return held.value


def _not_kept(what: str) -> RecordingError:
    return RecordingError(f"{what} was not kept: the recording has more tensors than its `keep` allows")
