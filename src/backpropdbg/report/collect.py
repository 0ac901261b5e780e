"""A sink of events that adds up what a report tells, iteration by iteration. Runs beside the program; keeps little."""

import threading
from collections.abc import Callable, Collection
from typing import Protocol

from msgspec.structs import replace

from backpropdbg.events import (
    Accumulated,
    Anomaly,
    BackwardFinished,
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
    ManualUpdate,
    StepFinished,
    StepStarted,
)
from backpropdbg.report.account import Account, Past
from backpropdbg.report.rows import UNFINISHED, Batch, Facts, Found
from backpropdbg.report.runs import Run, norm

_DRAFTS = 8


class Known(Protocol):
    """What the probe knows of names."""

    def all(self) -> tuple[str, ...]:
        """Parameters that are traced."""

    def aliases(self, name: str) -> tuple[str, ...]:
        """All names of a parameter, the canonical one first."""

    def frozen(self) -> tuple[str, ...]:
        """Parameters that require no gradient."""

    def non_leaves(self) -> tuple[str, ...]:
        """Tensors that a module holds, that require a gradient and are no leaf."""


class Collector:
    """Emits one batch of facts at the end of each iteration.

    Args:
        names: of the probe.
        iterations: how many to collect. done: called after the last one, so that the hooks can go.
        emit: gets each batch.
        optimized: names the parameters that any known optimizer has, and says how many optimizers there are.
        shapes: of tensors whose value no event shows (frozen ones), by name.
    """

    def __init__(
        self,
        names: Known,
        iterations: int,
        emit: Callable[[Batch], object],
        done: Callable[[], object] = lambda: None,
        optimized: Callable[[], tuple[Collection[str], int]] = lambda: ((), 0),
        shapes: Callable[[], dict[str, tuple[int, ...]]] = dict,
    ) -> None:
        self._names, self._last, self._emit, self._done = names, iterations, emit, done
        self._optimized, self._shapes = optimized, shapes
        self._lock = threading.RLock()
        self._ended = False
        self._first: int | None = None
        self._iteration = 0
        self._past: dict[str, Past] = {}
        self._stepped: set[str] = set()
        self._aliases: dict[str, tuple[str, ...]] = {}
        self._known: dict[str, str] = {}
        self._measured: dict[str, tuple[int, ...]] = {}
        self._alive: set[str] = set()
        self._followed: dict[str, Followed] = {}
        self._optimizers = 0
        self._stepping = self._several = False
        self._begin(0)

    def _begin(self, iteration: int) -> None:
        self._iteration = iteration
        self._accounts: dict[str, Account] = {}
        self._started: dict[int, BackwardStarted] = {}
        self._notes: list[str] = []
        self._ran = self._eventful = self._open = False
        self._drafts = 0

    def __call__(self, event: Event) -> None:
        """Take an event in."""
        with self._lock:
            if self._ended:
                return
            if self._first is None:
                self._first = event.iteration
                self._begin(event.iteration)
            elif event.iteration != self._iteration:
                self._flush()
                if event.iteration >= self._first + self._last:
                    self._ended = True
                    self._done()
                    return
                self._begin(event.iteration)
            self._take(event)
            if isinstance(event, (BackwardFinished, StepFinished)) and not self._started:
                self._draft()

    def _draft(self) -> None:
        """Tell of the iteration so far, in case that the process is killed; where it has many runs, after some."""
        self._drafts += 1
        if self._drafts <= _DRAFTS or self._drafts.bit_count() == 1:
            self._emit(self._batch((), self._open, draft=True))

    def finish(self, compared: bool = False, failed: bool = False) -> None:
        """The program is over: emit the last iteration, if there is something to tell of it.

        Args:
            compared: the weights of all that is still alive were looked at since the last backward.
            failed: it raised, so that the iteration may be unfinished.
        """
        with self._lock:
            begun = self._eventful or (failed and any(account.forward for account in self._accounts.values()))
            if not self._ended and self._first is not None and (begun or self._iteration == self._first):
                sure = set(self._names.all()) if compared else set()
                unsure = {name for name in self._accounts if name not in sure} if self._open else set()
                self._emit(self._batch(unsure, failed and (self._open or not self._eventful)))
            self._ended = True

    # -- one event -------------------------------------------------------------------------------

    def _take(self, event: Event) -> None:
        match event:
            case BackwardUse(use=use):
                self._account(use.parameter).arrives(event.run, use, event.partial)
            case ForwardUse():
                self._forward(event)
            case BackwardStarted():
                self._backward(event)
            case GroupSummed():
                self._account(event.parameter).sums(event.run, event.total, bool(event.group))
            case Accumulated():
                self._accumulated(event)
            case BackwardFinished():
                self._ended_run(event)
            case GradCleared():
                for name, grad in event.grads.items():
                    self._account(name).clears(grad)
            case GradChanged():
                for name, grad in event.grads.items():
                    self._account(name).changes(grad, event.how)
            case StepStarted():
                self._step(event)
            case StepFinished():
                self._weigh(event.after)
                for name in event.stepped:
                    self._account(name).stepped(event.after[name])
                self._open = self._stepping = False
                self._look()
            case ManualUpdate():
                self._by_hand(event)
            case IterationStarted():
                self._weigh(event.weights)
                self._look()
            case Anomaly():
                self._notes.append(event.error)
            case _:
                pass

    def _account(self, name: str) -> Account:
        account = self._accounts.get(name)
        if account is None:
            past = self._past.setdefault(name, Past())
            account = self._accounts[name] = Account(name, past)
        return account

    def _forward(self, event: ForwardUse) -> None:
        where = "" if event.where is None else f" ({event.where.path}:{event.where.line})"
        for name, number in zip(event.parameters, event.numbers, strict=True):
            account = self._account(name)
            account.forward = True
            if event.output is not None:
                account.blame(event.output, f"what forward use #{number} returned{where}")
        for name in event.replaced:
            self._account(name).displaced = True

    def _backward(self, event: BackwardStarted) -> None:
        self._ran = self._eventful = self._open = True
        self._started[event.run] = event
        self._several = self._several or event.several
        self._weigh({name: weight for name, weight in event.weights.items() if name not in event.computed})
        self._followed.update(event.computed)
        within = self._outermost()
        uses: dict[str, list[int]] = {}
        for index, use in enumerate(event.uses):
            uses.setdefault(use.parameter, []).append(index)
        for name in event.carried.keys() | uses.keys():
            taken = tuple([event.uses[index] for index in uses.get(name, ())])
            run = Run(event.carried.get(name), taken, event.accumulates, name in event.hooked, within)
            run.followed = event.computed.get(name)
            self._account(name).starts(event.run, run, event.loss)

    def _accumulated(self, event: Accumulated) -> None:
        begun = self._started.get(event.run)
        carried = begun.carried.get(event.parameter) if begun is not None else None
        self._account(event.parameter).accumulates(
            event.run, event.grad, Run(carried, (), True, False, self._outermost())
        )

    def _outermost(self) -> int:
        """The run that all others are within which are in progress; 0 where there is none."""
        return next(iter(self._started), 0)

    def _ended_run(self, event: BackwardFinished) -> None:
        self._started.pop(event.run, None)
        for account in self._accounts.values():
            if event.run in account.runs:
                account.runs[event.run].finish()
        for name in event.moved:
            self._account(name).past.moved = True
        self._look()

    def _step(self, event: StepStarted) -> None:
        self._eventful = True
        self._weigh(event.before)
        self._stepping = True
        self._stepped.add(event.optimizer)
        for name, grad in event.grads.items() if not event.closure else ():
            recipe = event.recipes.get(name)
            self._account(name).steps(event.optimizer, grad, event.before.get(name), recipe)

    def _by_hand(self, event: ManualUpdate) -> None:
        self._eventful = True
        for name in event.parameters:
            self._account(name).past.moved = True
            self._account(name).moves_by_hand()
        self._weigh(event.weights)

    def _weigh(self, weights: dict[str, Held]) -> None:
        new = [name for name in weights if name not in self._past or self._past[name].weight is None]
        for name, weight in weights.items():
            account = self._account(name)
            account.weighs(weight, self._stepping or self._several or account.past.moved)
            account.past.moved = False
        for name in new:
            self._find_twins(name, weights[name])

    def _find_twins(self, name: str, weight: Held) -> None:
        """Remember who had the same bits when this parameter was first seen; a constant tells nothing."""
        mine = self._past[name]
        if not weight.kept or _constant(weight):
            return
        for other, past in self._past.items():
            theirs = past.weight
            if other == name or other in mine.twins or theirs is None or theirs.shape != weight.shape:
                continue
            if theirs.kept and theirs.norm() == weight.norm() and theirs.same_bits(weight):
                mine.twins += (other,)
                past.twins += (name,)

    # -- the end of an iteration -----------------------------------------------------------------

    def _look(self) -> None:
        """Note what only living models and optimizers can tell: they may be gone when the iteration ends."""
        held, optimizers = self._optimized()
        for name in held:
            self._past.setdefault(name, Past()).optimized = True
        self._optimizers = max(self._optimizers, optimizers, len(self._stepped))
        living, frozen, computed = self._names.all(), self._names.frozen(), self._names.non_leaves()
        self._alive = {*living, *frozen, *computed, *self._followed}
        self._known.update(dict.fromkeys(self._followed, "computed"))
        self._known.update(dict.fromkeys(living, "parameter"))
        self._known.update(dict.fromkeys(frozen, "frozen"))
        for name in computed:
            owner, dot, last = name.rpartition(".")
            parts = f"{owner}{dot}parametrizations.{last}."  # a parametrized weight is computed on purpose
            if not any(other.startswith(parts) for other in self._known):
                self._known.setdefault(name, "non-leaf")
        for name in self._known:
            if name not in self._aliases:
                self._aliases[name] = self._names.aliases(name) or (name,)
        self._measured.update(self._shapes())

    def _flush(self) -> None:
        self._emit(self._batch())
        self._alive -= {name for name in self._followed if name not in self._accounts}
        self._followed = {}
        self._accounts = {}
        for name in self._past.keys() - self._alive:  # else a loop that makes a new leaf each time grows for ever
            for known in (self._past, self._known, self._aliases, self._measured):
                known.pop(name, None)

    def _batch(self, unsure: Collection[str] = (), unfinished: bool = False, draft: bool = False) -> Batch:
        # What was gone by the last event was a passing tensor: an input that a checkpoint made, say.
        names = [name for name in dict.fromkeys((*self._known, *self._accounts)) if name in self._alive]
        facts = [self._facts(name, name not in unsure, unfinished) for name in names]
        return Batch(tuple(facts), tuple(self._notes), self._several, draft)

    def _facts(self, name: str, sure: bool, unfinished: bool) -> Facts:
        account = self._account(name)
        account.past.shape = account.past.shape or self._measured.get(name)
        row = account.row(self._aliases.get(name, (name,)), self._iteration, sure, self._several)
        found = list(account.found(row.weight_moved, self._several))
        if unfinished:
            row = replace(row, labels=(*row.labels, UNFINISHED))
        if len(row.names) > 1:
            found.append(Found("tied", f"one parameter under {len(row.names)} names: {' = '.join(row.names)}"))
        return Facts(
            row,
            tuple(found),
            account.cancelled,
            norm(account.before),
            self._known.get(name, "parameter"),
            account.forward,
            account.received,
            self._ran,
            account.past.optimized,
            self._optimizers,
            bool(self._stepped),
            account.past.twins,
            account.past.replaced,
            account.displaced,
        )


def _constant(weight: Held) -> bool:
    """True where all elements have one magnitude: such tensors are equal without anybody copying them."""
    size, count = weight.norm(), 1
    for length in weight.shape:
        count *= length
    return count < 2 or size is None or not size < weight.vmax() * count**0.5 * (1 - 1e-6)
