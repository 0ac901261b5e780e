"""The parameters as a tree by module path, with what this iteration has done to those of one page."""

import math
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from backpropdbg.debugger.stop import Stop
from backpropdbg.debugger.words import norm, state_of
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
    IterationStarted,
    ManualUpdate,
    PartialEdited,
    StepFinished,
    StepStarted,
    Use,
)
from backpropdbg.ledger import Run, cancelled
from backpropdbg.questions import Line, Parameters, ParametersOf
from backpropdbg.situation import number

if TYPE_CHECKING:
    from backpropdbg.debugger.core import Debugger

_MOST = 5_000
_CANCELS = 0.9


class Leaf(Struct, frozen=True):
    """One line of the tree: a module, or (with a name) a parameter in it."""

    depth: int
    label: str
    name: str = ""


class Tree:
    """Lines of the tree, and what is known of parameters nothing happened to since."""

    def __init__(self) -> None:
        self._key: tuple[tuple[str, ...], str] = ((), "")
        self._found: list[str] = []
        self._lines: list[Leaf] = []
        self._facts: OrderedDict[tuple[int, str, int], Line] = OrderedDict()

    def page(self, d: "Debugger", asked: ParametersOf) -> Parameters:
        """Return the lines that were asked for."""
        frozen = dict.fromkeys(d.known.frozen())
        names = tuple(dict.fromkeys((*d.known.parameters(), *frozen)))
        if self._key != (names, asked.find):
            self._found = [n for n in names if fits(asked.find, d.known.aliases(n))]
            self._key, self._lines = (names, asked.find), leaves(self._found)
        lines = self._lines
        here = next((n for n, leaf in enumerate(lines) if leaf.name == d.focus), -1)
        first = max(0, min(asked.first, len(lines) - asked.count))
        if asked.around and here >= 0:
            first = max(0, min(here - asked.count // 2, len(lines) - asked.count))
        shown = lines[first : first + asked.count]
        happened = split(d.stop.events, {leaf.name for leaf in shown if leaf.name})
        rows = [self._line(d, leaf, leaf.name in frozen, happened.get(leaf.name, ())) for leaf in shown]
        return Parameters(
            d.stop.position, asked.find, len(names), len(self._found), len(lines), first, here, tuple(rows)
        )

    def _line(self, d: "Debugger", leaf: Leaf, frozen: bool, events: Sequence[Event]) -> Line:
        if not leaf.name:
            return Line(leaf.depth, leaf.label)
        others = [other for other in d.known.aliases(leaf.name) if other != leaf.name]
        label = " = ".join([leaf.label, *others])
        tied = "T" * bool(others)
        if frozen:
            return Line(leaf.depth, label, leaf.name, state="none", ratio_state="none", badges=tied + "F")
        key = (d.stop.event.iteration, leaf.name, len(events))
        if key not in self._facts:
            self._facts[key] = facts(Stop(d.trace, d.stop.position, leaf.name, (), events))
            while len(self._facts) > _MOST:
                self._facts.popitem(last=False)
        known = self._facts[key]
        return replace(known, depth=leaf.depth, label=label, name=leaf.name, badges=tied + known.badges)


def fits(find: str, names: Sequence[str]) -> bool:
    """True where each word that was typed is part of one of the names."""
    return any(all(word in name.lower() for word in find.lower().split()) for name in names)


def leaves(names: Sequence[str]) -> list[Leaf]:
    """The tree in the order of the program; a module that holds nothing but one other is on one line with it."""
    root: dict[str, object] = {}
    for name in names:
        at = root
        *modules, leaf = name.split(".")
        for part in modules:
            following = at.setdefault(f"{part}.", {})
            assert isinstance(following, dict)
            at = following
        at[leaf] = name
    return list(_walk(root, 0))


def _walk(tree: dict[str, object], depth: int) -> Iterator[Leaf]:
    for part, inside in tree.items():
        if not isinstance(inside, dict):
            yield Leaf(depth, part, str(inside))
            continue
        label = part
        while len(inside) == 1 and isinstance(only := next(iter(inside.values())), dict):
            label += next(iter(inside))
            inside = only
        yield Leaf(depth, label.removesuffix("."))
        yield from _walk(inside, depth + 1)


def split(events: Sequence[Event], names: Collection[str]) -> dict[str, list[Event]]:
    """The events by the parameters that they are about, in one pass; of a run each has its own uses only."""
    found: dict[str, list[Event]] = {name: [] for name in names}
    for e in events:
        match e:
            case ForwardUse():
                _add(found, e, e.parameters)
            case BackwardStarted():
                uses: dict[str, list[Use]] = {}
                for use in e.uses:
                    if use.parameter in found:
                        uses.setdefault(use.parameter, []).append(use)
                for name in names:
                    found[name].append(replace(e, uses=tuple(uses.get(name, ()))))
            case BackwardUse() | PartialEdited():
                _add(found, e, (e.use.parameter,))
            case GroupSummed() | Accumulated():
                _add(found, e, (e.parameter,))
            case GradCleared() | GradChanged():
                _add(found, e, e.grads)
            case BackwardFinished() | StepStarted() | StepFinished() | ManualUpdate() | IterationStarted():
                _add(found, e, names)
    return found


def _add(found: dict[str, list[Event]], event: Event, names: Collection[str]) -> None:
    for name in names:
        if name in found:
            found[name].append(event)


def facts(stop: Stop) -> Line:
    """What an iteration has done to one parameter so far."""
    over = any(isinstance(e, (BackwardFinished, StepStarted)) for e in stop.events)
    size = norm(stop.grad) if stop.grad is not None else None
    state = state_of(stop.grad, "none" if over else "pending")
    ratio, ratio_state = None, state_of(stop.after, "none" if stop.stepped is not None else "pending")
    before = stop.before.norm() if stop.before is not None and stop.before.kept else None
    if before and stop.before is not None and stop.after is not None and stop.after.kept:
        share = stop.after.distance(stop.before) / before
        ratio = number(share)
    elif ratio_state == "value":
        ratio_state = "not kept"
    return Line(0, "", "", stop.uses, size, state, ratio, ratio_state, "".join(_badges(stop, over)))


def _badges(stop: Stop, over: bool) -> Iterator[str]:
    runs = stop.ledger.runs
    if stop.uses > 1:
        yield "S"
    if stop.grad is None and over:
        yield "-"
    sizes = [p.norm() for run in runs for p in run.partials]
    if any(s is not None and not math.isfinite(s) for s in [*sizes, stop.grad.norm() if stop.grad else None]):
        yield "!"
    if any(run.uses and run.accumulates and run.carried is not None and run.carried.norm() != 0 for run in runs):
        yield "C"
    if stop.left_over:
        yield "L"
    if any(_cancels(run) for run in runs):
        yield "X"
    if any(run.exact() is False for run in runs):
        yield "~"
    if any(use.fused for run in runs for use in run.uses):
        yield "?"


def _cancels(run: Run) -> bool:
    sizes = [p.norm() for p in run.partials]
    total = run.total() if len(sizes) > 1 and len(run.arrived) == len(run.uses) else None
    if total is None or None in sizes:
        return False
    share = cancelled([size or 0.0 for size in sizes], total.norm() or 0.0)
    return share is not None and share > _CANCELS
