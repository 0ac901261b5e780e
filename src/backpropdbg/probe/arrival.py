"""The hooks of a backward: on an edge into a parameter, which hands out that use's partial, and on the parameter.

One object each, without a closure: with thousands of uses Python's collector looks through everything that there is
again and again, and ten things more for each use made up half of what watching costs.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from backpropdbg.events import Accumulated, BackwardUse, PartialEdited, Use
from backpropdbg.probe.tensors import HeldTensor, NotKept, copy
from backpropdbg.probe.watch import Watch, quiet, unseen

Gradients = Sequence[Tensor | None]


class Arrival:
    """See above.

    Args:
        arrivals: counts what arrived in this run, by parameter. through: the casts and views between the edge and the
            parameter, which has this shape. changes_in_place: something of the program's may change the partial later.
    """

    __slots__ = ("arrivals", "changes_in_place", "run", "shape", "slot", "through", "use", "watch")

    def __init__(
        self,
        watch: Watch,
        slot: int,
        use: Use,
        run: int,
        arrivals: dict[str, int],
        through: tuple[Any, ...],
        shape: torch.Size,
        changes_in_place: bool,
    ) -> None:
        self.watch, self.slot, self.use, self.run, self.arrivals = watch, slot, use, run, arrivals
        self.through, self.shape, self.changes_in_place = through, shape, changes_in_place

    def __call__(self, grad_inputs: Gradients, grad_outputs: Gradients) -> Gradients | None:
        """A post-hook of an autograd node; returns what flows on, where the user put another in its place."""
        watch = self.watch
        if watch.off:
            return None
        try:  # as `guarded` does, which takes longer
            with unseen():
                return self._arrived(watch, grad_inputs)
        except Exception as error:
            watch.report(error)
            return None

    def _arrived(self, watch: Watch, grad_inputs: Gradients) -> Gradients | None:
        use, grad, here = self.use, grad_inputs[self.slot], watch.here
        name = use.parameter
        if grad is None:
            held = None
        elif self.through or self.changes_in_place or grad.requires_grad or grad.shape != self.shape:
            held = self._mapped(grad)
        else:
            # The very tensor, not an alias: while we hold it the engine neither adds into it nor makes it `.grad`.
            held = HeldTensor(grad)
        self.arrivals[name] = order = self.arrivals.get(name, 0) + 1
        here.arrived = grad, self.through
        try:
            watch.show(BackwardUse(watch.iteration, self.run, use, held, order), name, held)
        finally:
            here.arrived = None
            edited, here.edited = here.edited, None
        if edited is None:
            return None
        other = HeldTensor(edited)
        watch.show(PartialEdited(watch.iteration, self.run, use, other), name, other)
        return (*grad_inputs[: self.slot], edited, *grad_inputs[self.slot + 1 :])

    def _mapped(self, grad: Tensor) -> HeldTensor:
        """What flows on from a cast or view, in the parameter's own shape; a copy where it could change later."""
        with quiet(), torch.no_grad():
            for node in self.through:
                grad = node(grad)
            grad = grad.detach()
            if grad.shape != self.shape:
                grad = grad.sum_to_size(self.shape)
            return copy(grad) if self.changes_in_place else HeldTensor(grad)


class Accumulation:
    """The hook on a parameter: once the engine has accumulated into it, hands out what `.grad` holds.

    Args:
        reach: by each run in progress, the parameters that it accumulates into.
    """

    __slots__ = ("_hooks", "name", "reach", "run", "watch")

    def __init__(self, watch: Watch, leaf: Any, name: str, run: int, reach: Mapping[int, Collection[str]]) -> None:
        self.watch, self.name, self.run, self.reach = watch, name, run, reach
        if leaf._post_accumulate_grad_hooks is None:
            leaf.register_post_accumulate_grad_hook(self).remove()
        self._hooks: dict[object, Any] = leaf._post_accumulate_grad_hooks
        theirs = dict(self._hooks)
        self._hooks.clear()  # ours goes first: theirs may step and clear `.grad`
        self._hooks[self] = self
        self._hooks.update(theirs)

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
                if len(self.reach) == 1 or not self._is_of_another():
                    self._accumulated(watch, leaf.grad)
        except Exception as error:
            watch.report(error)

    def _is_of_another(self) -> bool:
        """True where it is a run within this one that accumulates."""
        return any(other > self.run and self.name in reach for other, reach in list(self.reach.items()))

    def _accumulated(self, watch: Watch, grad: Tensor | None) -> None:
        if grad is None:
            return
        name = self.name
        held = watch.grads[name] = watch.keep(name, grad) if watch.policy.snapshots else NotKept(grad.shape)
        watch.pending.add(name)
        watch.emit(Accumulated(watch.iteration, self.run, name, held))
