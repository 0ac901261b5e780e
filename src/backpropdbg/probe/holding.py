"""How a tensor is held: itself, a copy of it, or only its shape."""

import torch
from torch import Tensor

from backpropdbg.probe.tensors import HeldTensor, Known


def copy(t: Tensor) -> HeldTensor:
    """Hold a copy: of a tensor that will be changed in place; or of a loss, for which `mse_loss` and others take as
    much memory as for all the elements that they average.
    """
    return NotKept(t.shape) if t.is_meta else HeldTensor(cloned(t))


def cloned(t: Tensor) -> Tensor:
    """A copy that is in no graph."""
    return (t.detach() if t.requires_grad else t).clone()  # most are in none, and to detach takes half as long again


def hold(t: Tensor) -> HeldTensor:
    """Hold a tensor; a copy where it is the smaller part of what it would keep from being freed.

    So is the partial of a parameter that the program joined with something larger.
    """
    if t.is_meta:
        return NotKept(t.shape)
    plain = t._is_view() and type(t) is Tensor and t.layout is torch.strided
    return copy(t) if plain and t.untyped_storage().nbytes() > 2 * t.nbytes else HeldTensor(t)


class NotKept(HeldTensor):
    """A handle for a tensor of which only the shape is known.

    It will be changed in place and nobody copies it; or it lies on the device "meta", where tensors have no numbers.
    """

    __slots__ = ()
    tensor = sum_so_far = None
    in_memory, shown = False, 0

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._found, self.stored = Known(shape), None

    @property
    def kept(self) -> bool:
        return False  # no file has it either

    @property
    def _here(self) -> Tensor | None:
        return None

    def drop(self, measure: bool = True) -> None:
        """There is nothing to let go."""
