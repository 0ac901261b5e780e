"""What the user may put in the place of a partial."""

from typing import Any

import torch
from torch import Tensor

from backpropdbg.errors import CommandError
from backpropdbg.probe.uses import node_name

# What the engine hands on, None where it does not compute it, and the casts and views that it passes before.
Arrived = tuple[Tensor | None, tuple[Any, ...]]


def fit(value: object, arrived: Arrived) -> Tensor:
    """Return a copy of a tensor, or a number for every element. Raises CommandError where it does not fit."""
    grad, through = arrived
    if grad is None:
        raise CommandError("this run does not compute the partial of this use: there is nothing to edit")
    if through:
        node = node_name(through[-1])
        raise CommandError(f"this use reaches the parameter through a cast or view ({node}): it can't be edited")
    with torch.no_grad():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return torch.full_like(grad.detach(), value)
        if not isinstance(value, Tensor):
            raise CommandError(f"the partial is a tensor {_kind(grad)}, this is a {type(value).__name__}")
        if _kind(value) != _kind(grad):
            raise CommandError(f"the partial is {_kind(grad)}, this is {_kind(value)}: they must be the same")
        return value.detach().clone()


def _kind(t: Tensor) -> str:
    """What must agree: shape and dtype; layout and device where they are not the usual ones."""
    parts = [f"[{', '.join(map(str, t.shape))}]", str(t.dtype).removeprefix("torch.")]
    parts += [str(t.layout).removeprefix("torch.")] if t.layout != torch.strided else []
    return " ".join([*parts, *([str(t.device)] if t.device.type != "cpu" else [])])
