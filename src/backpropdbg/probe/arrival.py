"""The hook on one edge into a parameter: it hands out that use's partial.

One object each, without a closure: with thousands of uses Python's collector looks through everything that there is
again and again, and ten things more for each use made up half of what watching costs.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from backpropdbg.events import BackwardUse, PartialEdited, Use
from backpropdbg.probe.tensors import HeldTensor, copy
from backpropdbg.probe.watch import Watch, guarded, quiet

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

    @guarded
    def __call__(self, grad_inputs: Gradients, grad_outputs: Gradients) -> Gradients | None:
        """A post-hook of an autograd node; returns what flows on, where the user put another in its place."""
        watch = self.watch
        if watch.off:
            return None
        use, grad = self.use, grad_inputs[self.slot]
        held = None if grad is None else self._held(grad)
        self.arrivals[use.parameter] = order = self.arrivals.get(use.parameter, 0) + 1
        here = watch.here
        here.arrived = grad, self.through
        try:
            watch.show(BackwardUse(watch.iteration, self.run, use, held, order), use.parameter, held)
        finally:
            here.arrived = None
            edited, here.edited = here.edited, None
        if edited is None:
            return None
        other = HeldTensor(edited)
        watch.show(PartialEdited(watch.iteration, self.run, use, other), use.parameter, other)
        return (*grad_inputs[: self.slot], edited, *grad_inputs[self.slot + 1 :])

    def _held(self, grad: Tensor) -> HeldTensor:
        if self.through or self.changes_in_place or grad.shape != self.shape or grad.requires_grad:
            return self._mapped(grad)
        # The very tensor, not an alias: while we hold it the engine neither adds into it nor makes it `.grad`.
        return HeldTensor(grad)

    def _mapped(self, grad: Tensor) -> HeldTensor:
        """What flows on from a cast or view, in the parameter's own shape; a copy where it could change later."""
        with quiet(), torch.no_grad():
            for node in self.through:
                grad = node(grad)
            grad = grad.detach()
            if grad.shape != self.shape:
                grad = grad.sum_to_size(self.shape)
            return copy(grad) if self.changes_in_place else HeldTensor(grad)
