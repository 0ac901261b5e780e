"""What stands in the place of a copy that memory has no room for: enough to tell whether the tensor changed."""

from collections.abc import Iterable

import torch
from torch import Tensor

from backpropdbg.probe.bits import same_bits, words_of
from backpropdbg.probe.tensors import HeldTensor

_COLUMNS = 4096
COPIES = 4  # of a parameter that is watched: before and after the step, its gradient, and a partial


class Sketch(HeldTensor):
    """A handle on a tensor that is not kept, with its norm and checksums of its bits."""

    __slots__ = ("_sums",)

    def __init__(self, t: Tensor) -> None:
        super().__init__(t)
        self._sums = _sums(t)
        self.drop(measure=True)
        self.nbytes = 0

    def is_of(self, t: Tensor) -> bool:
        """True where the checksums agree: then the bits do, but for a change that is made to hide from them."""
        return self.shape == tuple(t.shape) and same_bits(self._sums, _sums(t))


def _sums(t: Tensor) -> Tensor:
    """Sums of the bits of each row and of each column, taken 4096 wide; they wrap around."""
    words = words_of(t.detach())
    whole = words.numel() // _COLUMNS * _COLUMNS
    square = words[:whole].view(-1, _COLUMNS)
    return torch.cat(
        [square.sum(0, dtype=torch.int64), square.sum(1, dtype=torch.int64), words[whole:].to(torch.int64)]
    )


def is_still(held: HeldTensor | None, t: Tensor) -> bool | None:
    """True where a tensor has the bits that are held, as far as can be told; None where nothing of it is held."""
    if isinstance(held, Sketch):
        return held.is_of(t)
    return None if held is None or held.tensor is None else same_bits(held.tensor, t.detach())


def without_room(parameters: Iterable[tuple[str, Tensor]], room: int | None) -> frozenset[str]:
    """Names of the largest parameters, those whose copies do not fit into so many bytes."""
    sizes = [(p.nbytes if not p.is_sparse else p._values().nbytes, name) for name, p in parameters]
    if room is None or sum(size for size, _ in sizes) * COPIES <= room:
        return frozenset()
    large, taken = [], 0
    for size, name in sorted(sizes):
        taken += size * COPIES
        if taken > room:
            large.append(name)
    return frozenset(large)
