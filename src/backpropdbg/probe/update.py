"""The update: what the optimizer reads, what it moves, and what clears the gradients."""

import sys
import weakref
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

from torch.optim.optimizer import Optimizer

from backpropdbg.events import GradChanged, GradCleared, Held, Location, Recipe, StepFinished, StepStarted
from backpropdbg.probe.frames import user_location
from backpropdbg.probe.optimizers import recipe, settings_of, summary
from backpropdbg.probe.unseen import guarded, is_compiling
from backpropdbg.probe.watch import Watch

_MOST_BY_HAND = 8


class Update:
    """Optimizer steps and `zero_grad`."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self._stepped_inside = False
        self._by_hand = 0
        self._stepped: set[int] = set()
        self.optimizers: weakref.WeakSet[Optimizer] = weakref.WeakSet()
        self._before: dict[str, Held] = {}
        self._optimizer: Optimizer | None = None

    def new_optimizer(self, original: Callable[..., Any], optimizer: Any, *args: Any, **kwargs: Any) -> None:
        """Stand in for `Optimizer.__init__`: the first optimizer is known before its first step."""
        original(optimizer, *args, **kwargs)
        if _is_part_of_a_graph(optimizer):
            return
        self.optimizers.add(optimizer)
        if self.watch.off:
            return
        if self.watch.optimizer is None:
            self.watch.optimizer = optimizer
        if self.watch.asleep:
            self._meet(optimizer)

    @guarded
    def _meet(self, optimizer: Optimizer) -> None:
        """Asleep: its parameters may be what is tracked."""
        for group in optimizer.param_groups:
            for p in group["params"]:
                self.watch.names.of(p)
        self.watch.settle()

    def maximized(self) -> tuple[str, ...]:
        """Names of the parameters that the optimizer moves up their gradient."""
        groups = self.watch.optimizer.param_groups if self.watch.optimizer is not None else []
        names = self.watch.names
        return tuple([names.of(p) for g in groups if g.get("maximize") for p in g["params"] if names.tracks(p)])

    def new_iteration(self) -> None:
        """No optimizer has stepped yet."""
        self._stepped = set()

    def will_step(self, moved: Iterable[str]) -> bool:
        """True where weights that moved by hand are an optimizer's: its step is to come (SAM climbs before it).

        Not for ever: an optimizer may be there that never steps.
        """
        left, names = set(moved), self.watch.names
        mine = (p for optimizer in self.optimizers for group in optimizer.param_groups for p in group["params"])
        self._by_hand += 1
        return self._by_hand < _MOST_BY_HAND and not left.isdisjoint(names.of(p) for p in mine if names.knows(p))

    # -- step ------------------------------------------------------------------------------------

    def before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Global step pre-hook."""
        watch = self.watch
        if is_compiling() or watch.off or _is_part_of_a_graph(optimizer):
            return
        watch.prune()
        steps, frame = watch.here.steps, sys._getframe(1)
        if steps:
            steps.append(frame)
            return
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None) is not None
        if closure or id(optimizer) in self._stepped:
            watch.maybe_new_iteration()
        steps.append(frame)
        if watch.optimizer is not optimizer:
            self.optimizers.add(optimizer)
            watch.optimizer = optimizer
        if watch.policy.partials and not watch.asleep:
            self._before, self._optimizer = {}, optimizer
            self._begin(optimizer, closure, user_location(frame))

    @guarded
    def _begin(self, optimizer: Optimizer, closure: bool, where: Location | None) -> None:
        watch = self.watch
        if self._before:
            watch.snapshot()  # inside a step: what moved, the optimizer itself moved
        else:
            watch.notice_moved()
        names, left = watch.names, dict(watch.grads)
        groups = [[(names.of(p), p) for p in group["params"] if names.tracks(p)] for group in optimizer.param_groups]
        grads = watch.grads_of(chain.from_iterable(groups))
        comparable = watch.policy.snapshots
        changed = {n: g for n, g in grads.items() if n in left and g is not left[n] and (comparable or g is None)}
        before: dict[str, Held] = {}
        recipes: dict[str, Recipe] = {}
        for group, own in zip(optimizer.param_groups, groups, strict=True) if watch.policy.snapshots else ():
            settings = settings_of(optimizer, group)
            for name, p in own:
                held = watch.weights.get(name) or watch.weights.setdefault(name, watch.keep(name, p))
                before[name] = self._before.setdefault(name, held)
                if before[name] is held and name not in watch.large:
                    recipes[name] = recipe(optimizer, settings, p, held, grads[name])
        watch.pending -= grads.keys()
        if changed:
            watch.emit(GradChanged(watch.iteration, changed))
        watch.emit(StepStarted(watch.iteration, summary(optimizer), grads, before, recipes, where, closure))

    def averaged(self) -> None:
        """A backward is over. DistributedDataParallel writes its averages at the very end."""
        watch = self.watch
        left = dict(watch.grads)
        now = watch.grads_of((name, p) for name, p in watch.names.parameters() if watch.alone)
        copied = watch.policy.snapshots  # else nobody can tell whether they changed
        changed = {n: g for n, g in now.items() if n in left and not (copied and g is left[n])}
        if changed:
            watch.emit(GradChanged(watch.iteration, changed, f"averaged over {watch.ranks} processes"))

    def run_ended(self, where: Location | None) -> None:
        """A backward is over. Inside `step(closure)` the optimizer reads its gradients only now."""
        here = self.watch.here
        if len(here.steps) == 1 and self._optimizer is not None:
            self._begin(self._optimizer, False, where)
        elif self._stepped_inside:
            self._stepped_inside, self.watch.stepped = False, True

    def after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Global step post-hook; torch does not call it where the step raised."""
        watch = self.watch
        if is_compiling() or watch.off or _is_part_of_a_graph(optimizer):
            return
        steps = watch.here.steps
        if steps:
            steps.pop()
        if steps:
            return
        self._optimizer, self._by_hand = None, 0
        self._stepped.add(id(optimizer))
        if not watch.policy.partials:
            watch.new_iteration()
            return
        # Several optimizers may step, one after the other: the iteration ends with whatever comes next.
        if watch.inside:
            self._stepped_inside = True
        else:
            watch.stepped = True
        if not watch.asleep:
            self._end(optimizer, user_location(sys._getframe(1)))

    @guarded
    def _end(self, optimizer: Optimizer, where: Location | None) -> None:
        watch = self.watch
        watch.snapshot()
        copied, name_of = watch.weights, watch.names.of
        own = [name_of(p) for group in optimizer.param_groups for p in group["params"]] if copied else []
        stepped = tuple([name for name in own if name in copied])
        watch.emit(StepFinished(watch.iteration, dict(copied), where, stepped))

    # -- zero_grad -------------------------------------------------------------------------------

    def zero_grad(self, original: Callable[..., Any], owner: Any, *args: Any, **kwargs: Any) -> Any:
        """Stand in for `zero_grad` of optimizers and modules."""
        result = original(owner, *args, **kwargs)
        off = self.watch.asleep or self.watch.off or is_compiling()
        if not off and not (isinstance(owner, Optimizer) and _is_part_of_a_graph(owner)):
            self.watch.prune()
            self._cleared(owner, user_location(sys._getframe(1)))
        return result

    @guarded
    def _cleared(self, owner: Any, where: Location | None) -> None:
        watch = self.watch
        groups = owner.param_groups if isinstance(owner, Optimizer) else [{"params": owner.parameters()}]
        own = {id(p) for group in groups for p in group["params"]}
        cleared = {name: p for name, p in watch.names.parameters() if id(p) in own}
        watch.pending -= cleared.keys()
        if not self._another_waits(owner):
            watch.maybe_new_iteration()
        watch.emit(GradCleared(watch.iteration, watch.grads_of(cleared.items()), where))

    def _another_waits(self, owner: Any) -> bool:
        """True where another optimizer has gradients of this iteration that it has not read yet."""
        waiting = self.watch.pending
        return any(
            optimizer is not owner
            and id(optimizer) not in self._stepped
            and any(self.watch.names.of(p) in waiting for group in optimizer.param_groups for p in group["params"])
            for optimizer in self.optimizers
            if waiting
        )


def _is_part_of_a_graph(optimizer: Any) -> bool:
    """True for one whose step is differentiated (`differentiable=True`): it moves no leaf, it is an operation."""
    if not getattr(optimizer, "defaults", {}).get("differentiable"):
        return False
    return not any(p.is_leaf for group in optimizer.param_groups for p in group["params"])
