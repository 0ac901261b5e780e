"""The hooks of a backward: on an edge into a parameter, which hands out that use's partial, and on the parameter.

One object each, without a closure: with thousands of uses Python's collector looks through everything that there is
again and again, and ten things more for each use made up half of what watching costs.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from backpropdbg.events import Accumulated, BackwardUse, PartialEdited, Use
from backpropdbg.probe.holding import copy, hold
from backpropdbg.probe.tensors import HeldTensor
from backpropdbg.probe.unseen import quiet, unseen
from backpropdbg.probe.watch import Watch

Gradients = Sequence[Tensor | None]


class Arrivals:
    """All that arrives at one parameter in one run, which the hooks on its edges share.

    Args:
        shape: of the parameter. changes_in_place: something of the program's may change a partial later.
    """

    __slots__ = ("changes_in_place", "count", "name", "run", "shape", "watch")

    def __init__(self, watch: Watch, run: int, name: str, shape: torch.Size, changes_in_place: bool) -> None:
        self.watch, self.run, self.name, self.shape = watch, run, name, shape
        self.changes_in_place, self.count = changes_in_place, 0


class Arrival:
    """The hook on one edge. through: the casts and views between the edge and the parameter."""

    __slots__ = ("at", "slot", "through", "use")

    def __init__(self, at: Arrivals, slot: int, use: Use, through: tuple[Any, ...]) -> None:
        self.at, self.slot, self.use, self.through = at, slot, use, through

    def __call__(self, grad_inputs: Gradients, grad_outputs: Gradients) -> Gradients | None:
        """A post-hook of an autograd node; returns what flows on, where the user put another in its place."""
        at = self.at
        watch = at.watch
        if watch.off:
            return None
        try:  # as `guarded` does, which takes longer
            with unseen():
                grad, through = grad_inputs[self.slot], self.through
                if grad is None:
                    held = None
                elif through or at.changes_in_place or grad.requires_grad or grad.shape != at.shape:
                    held = self._mapped(grad)
                else:
                    # The very tensor: while we hold it the engine neither adds into it nor makes it `.grad`.
                    held = hold(grad)
                at.count = order = at.count + 1
                event = BackwardUse(watch.iteration, at.run, self.use, held, order)
                here = watch.here
                here.arrived = grad, through
                try:
                    if watch.large:
                        watch.show(event, at.name, held)
                    else:
                        watch.emit(event)
                finally:
                    here.arrived = None
                    edited = here.edited
                    if edited is not None:
                        here.edited = None
                if edited is not None:
                    return self._edited(grad_inputs, edited)
        except Exception as error:
            watch.report(error)
        return None

    def _edited(self, grad_inputs: Gradients, edited: Tensor) -> Gradients:
        """Tell of what flows on."""
        at, other = self.at, hold(edited)
        at.watch.show(PartialEdited(at.watch.iteration, at.run, self.use, other), at.name, other)
        return (*grad_inputs[: self.slot], edited, *grad_inputs[self.slot + 1 :])

    def _mapped(self, grad: Tensor) -> HeldTensor:
        """What flows on from a cast or view, in the parameter's own shape; a copy where it could change later."""
        with quiet(), torch.no_grad():
            for node in self.through:
                grad = node(grad)
            grad = grad.detach()
            if grad.shape != self.at.shape:
                grad = grad.sum_to_size(self.at.shape)
            return copy(grad) if self.at.changes_in_place else hold(grad)


class Accumulation:
    """The hook on a parameter: once the engine has accumulated into it, hands out what `.grad` holds.

    Args:
        reach: by each run in progress, the parameters that it accumulates into.
    """

    __slots__ = ("_hooks", "name", "reach", "run", "watch")

    def __init__(self, watch: Watch, leaf: Any, name: str, run: int, reach: Mapping[int, Collection[str]]) -> None:
        self.watch, self.name, self.run, self.reach = watch, name, run, reach
        hooks = leaf._post_accumulate_grad_hooks
        if hooks is None:
            leaf.register_post_accumulate_grad_hook(self).remove()
            hooks = leaf._post_accumulate_grad_hooks
        self._hooks: dict[object, Any] = hooks
        theirs = dict(hooks) if hooks else {}
        if theirs:
            hooks.clear()  # ours goes first: theirs may step and clear `.grad`
        hooks[self] = self
        if theirs:
            hooks.update(theirs)

    def remove(self) -> None:
        """Take the hook off the leaf, as the handle does that torch makes for one, which takes longer."""
        self._hooks.pop(self, None)

    def __call__(self, leaf: Tensor) -> None:
        """A hook of a leaf, after AccumulateGrad."""
        watch = self.watch
        if watch.off:
            return
        try:  # see `Arrival`
            with unseen():
                grad = leaf.grad
                if grad is not None and (len(self.reach) == 1 or not self._is_of_another()):
                    held = watch.took(self.name, grad)
                    watch.emit(Accumulated(watch.iteration, self.run, self.name, held))
        except Exception as error:
            watch.report(error)

    def _is_of_another(self) -> bool:
        """True where it is a run within this one that accumulates."""
        return any(other > self.run and self.name in reach for other, reach in list(self.reach.items()))
