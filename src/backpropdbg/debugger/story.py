"""The story of an element, of its row or of the whole parameter: what each use adds, and the same over iterations."""

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from backpropdbg.debugger.explain import gradient_read
from backpropdbg.debugger.rows import ledger_rows, update_rows
from backpropdbg.debugger.stop import Stop
from backpropdbg.debugger.words import norm, state_of
from backpropdbg.events import (
    BackwardFinished,
    BackwardStarted,
    Held,
    IterationStarted,
    ManualUpdate,
    StepFinished,
    StepStarted,
)
from backpropdbg.questions import Scope, Story, StoryOf, Turn
from backpropdbg.situation import Number, Row, as_float, element_name, number

if TYPE_CHECKING:
    from backpropdbg.debugger.core import Debugger

_MOST = 20_000
_LOOKED = 1_000


class Scoped(Stop):
    """A stop whose rows are about one row of the parameter, or about all of it, in place of one element.

    `element` of its rows is how far a term goes the way of the sum, or of the difference: so the terms add up to that.
    """

    def __init__(self, stop: Stop, scope: Scope) -> None:
        super().__init__(stop.trace, stop.position, stop.focus, stop.element, stop.events)
        self.ledger = stop.ledger  # what was edited here is in it
        self.scope = scope
        self._row_at = stop.element[0] if scope == "row" and stop.element else None
        self._parts: dict[int, tuple[Held, Held]] = {}
        self._way: Held | None = self.running

    def part(self, held: Held) -> Held:
        if self._row_at is None or not held.kept:
            return held
        if id(held) not in self._parts:
            self._parts[id(held)] = held, held.row(self._row_at)
        return self._parts[id(held)][1]

    def cosine(self, held: Held) -> float | None:
        return self.part(held).cosine(self.part(self._way)) if self._way is not None else None

    def value_at(self, held: Held | None) -> float | None:
        """How far it goes the way of the sum."""
        if held is None or not held.kept:
            return None
        size, cosine = self.part(held).norm(), self.cosine(held)
        return 0.0 if size == 0 else None if size is None or cosine is None else size * cosine

    def rows(self) -> tuple[Row, ...]:
        """Of the ledger."""
        return tuple(map(self._settled, ledger_rows(self)))

    def update_rows(self) -> tuple[Row, ...]:
        """Of the update: they go the way of the difference."""
        self._way = self.delta
        rows = update_rows(self)
        self._way = self.running
        return tuple(map(self._settled, rows))

    def _settled(self, row: Row) -> Row:
        """Of a row that is not kept nothing is known."""
        return replace(row, norm=None) if row.state == "not kept" and self._row_at is not None else row


class Stories:
    """What is known of each iteration; what is over is looked at once."""

    def __init__(self) -> None:
        self._over: OrderedDict[tuple[object, ...], Turn] = OrderedDict()

    def tell(self, d: "Debugger", asked: StoryOf) -> Story:
        """Return the story at the stop that is looked at."""
        stop = d.stop
        if asked.scope == "element":
            ledger, update = ledger_rows(stop), update_rows(stop)
        else:
            shown = Scoped(stop, asked.scope)
            ledger, update = shown.rows(), shown.update_rows()
        known = [n for n in d.trace.iterations() if n <= stop.event.iteration]
        turns = self._turns(d, stop, known, asked)
        name = scope_name(stop, asked.scope)
        rows = (*ledger, *update)
        return Story(stop.position, stop.focus, stop.element, asked.scope, name, rows, len(update), turns)

    def _turns(self, d: "Debugger", here: Stop, known: Sequence[int], asked: StoryOf) -> tuple[Turn, ...]:
        """Where there are too many: with the one of the largest |gradient|, of the newest `_LOOKED` and those shown."""
        shown = chosen(known, asked.count)
        if len(shown) == len(known):
            return tuple([self._turn(d, here, n, asked.scope) for n in known])
        turns = {n: self._turn(d, here, n, asked.scope) for n in (*shown, *known[-_LOOKED:])}
        peak = max(turns, key=lambda n: _size(turns[n]), default=0)
        some = asked.count // 3
        if some and peak not in shown:
            shown = sorted([*shown[: some - 1], *shown[some:], peak])
        places = {n: place for place, n in enumerate(known)}
        before = [-1, *(places[n] for n in shown)]
        return tuple([replace(turns[n], skipped=places[n] - at - 1) for n, at in zip(shown, before, strict=False)])

    def _turn(self, d: "Debugger", here: Stop, iteration: int, scope: Scope) -> Turn:
        over = iteration < here.event.iteration
        at = {"element": here.element, "row": here.element[:1], "parameter": ()}[scope]
        key = (iteration, here.focus, scope, at)
        found = self._over.get(key)
        if found is not None and over:
            return found
        end = (d.trace.start(iteration) or 0) + len(d.trace.iteration(iteration)) - 1
        stop = d.look(end, here.focus) if over else here
        made = _turn(stop, here.element, scope, over)
        if over:
            self._over[key] = made
            while len(self._over) > _MOST:
                self._over.popitem(last=False)
        return made


def scope_name(stop: Stop, scope: Scope) -> str:
    """E.g. "W[3,0]", "W[3,:]" or "W"."""
    whole = element_name(stop.focus, stop.element)
    if scope == "element" or not stop.element:
        return whole
    if scope == "row" and len(stop.element) > 1:
        return f"{element_name(stop.focus, stop.element[:1])[:-1]}{',:' * (len(stop.element) - 1)}]"
    return whole if scope == "row" else whole.partition("[")[0]


def chosen(known: Sequence[int], count: int) -> list[int]:
    """The newest iterations, and a third of the room for some of those before, evenly."""
    if len(known) <= count:
        return list(known)
    some = count // 3
    older = known[: len(known) - (count - some)]
    return [*(older[len(older) * n // some] for n in range(some)), *known[len(known) - (count - some) :]]


def _turn(stop: Stop, element: tuple[int, ...], scope: Scope, over: bool) -> Turn:
    before, after = _weights(stop)
    read = gradient_read(stop) if stop.started is not None and stop.focus in stop.started.grads else stop.grad
    settled = over or any(isinstance(e, (BackwardFinished, StepStarted)) for e in stop.events)
    if stop.left_over and not settled:
        read = None
    change = None
    if before is not None and after is not None and before.kept and after.kept:
        change = _measure(after.minus(before), element, scope)
    return Turn(
        stop.event.iteration,
        grad=_measure(read, element, scope),
        grad_state=state_of(read, "none" if settled else "pending"),
        before=_measure(before, element, scope),
        before_state=state_of(before, "not kept" if over else "pending"),
        after=_measure(after, element, scope),
        after_state=state_of(after, "none" if over else "pending"),
        change=change,
    )


def _weights(stop: Stop) -> tuple[Held | None, Held | None]:
    """The weight as the iteration began, and after what moved it."""
    before: Held | None = stop.before
    after: Held | None = stop.after
    for e in stop.events:
        if isinstance(e, (IterationStarted, BackwardStarted)) and stop.focus in e.weights:
            before = before or e.weights[stop.focus]
        if isinstance(e, ManualUpdate) and stop.focus in e.weights:
            after = e.weights[stop.focus]
        if isinstance(e, StepFinished) and e is stop.stepped:
            after = stop.after
    return before, after


def _size(turn: Turn) -> float:
    """|gradient|; what isn't finite is the largest, what isn't there the least."""
    size = -1.0 if turn.grad is None else abs(as_float(turn.grad))
    return math.inf if math.isnan(size) else size


def _measure(held: Held | None, element: tuple[int, ...], scope: Scope) -> Number | None:
    """An element's value, or the norm of a row or of all."""
    if held is None or (not held.kept and scope != "parameter") or 0 in held.shape:
        return None
    if scope == "parameter":
        return norm(held)
    if scope == "row":
        return norm(held.row(element[0] if element else 0))
    return number(held.at(element)) if len(held.shape) == len(element) else None
