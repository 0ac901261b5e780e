"""Copies of tensors that may change, and what stands in the place of one that memory has no room for.

Both tell whether the tensor still has the bits that it had.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from backpropdbg.probe.bits import compared, comparing, is_plain, is_plain_real, words_of
from backpropdbg.probe.holding import cloned
from backpropdbg.probe.tensors import HeldTensor

_COLUMNS = 4096
COPIES = 4  # of a parameter that is watched: before and after the step, its gradient, and a partial


class Copy(HeldTensor):
    """A copy of a tensor."""

    __slots__ = ("_compare",)

    def __init__(self, t: Tensor) -> None:
        mine = cloned(t)
        super().__init__(mine)
        self._compare = comparing(mine.nbytes) if is_plain(mine) else None

    def is_of(self, t: Tensor) -> bool | Tensor | None:
        mine, compare = self.tensor, self._compare
        if mine is None:
            return None
        if compare is not None and t.dtype is mine.dtype and t.shape == mine.shape and is_plain_real(t):
            return not compare(mine.data_ptr(), t.data_ptr(), mine.nbytes)
        return compared(mine, t.detach())


class Sketch(HeldTensor):
    """A handle on a tensor that is not kept, with its norm and checksums of its bits."""

    __slots__ = ("_sums",)

    def __init__(self, t: Tensor) -> None:
        super().__init__(t)
        self._sums = _sums(t)
        self.drop(measure=True)

    def is_of(self, t: Tensor) -> bool | Tensor:
        """True where the checksums agree: then the bits do, but for a change that is made to hide from them."""
        return self.shape == tuple(t.shape) and compared(self._sums, _sums(t))


Answer = tuple[str, Tensor, bool | Tensor | None]  # a name, the tensor now, and what `is_of` told of it


def told(answers: list[Answer]) -> list[tuple[str, Tensor, bool | None]]:
    """The same where devices have told theirs, each of which is waited for once."""
    there: dict[torch.device, list[Tensor]] = {}
    for *_, answer in answers:
        if isinstance(answer, Tensor):
            there.setdefault(answer.device, []).append(answer)
    known = {device: iter(torch.stack(those).tolist()) for device, those in there.items()}
    return [(name, t, next(known[a.device]) if isinstance(a, Tensor) else a) for name, t, a in answers]


def _sums(t: Tensor) -> Tensor:
    """Sums of the bits of each row and of each column, taken 4096 wide; they wrap around."""
    words = words_of(t.detach())
    whole = words.numel() // _COLUMNS * _COLUMNS
    square = words[:whole].view(-1, _COLUMNS)
    return torch.cat(
        [square.sum(0, dtype=torch.int64), square.sum(1, dtype=torch.int64), words[whole:].to(torch.int64)]
    )


def without_room(parameters: Iterable[tuple[str, Tensor]], room: int | None) -> frozenset[str]:
    """Names of the largest parameters, those whose copies do not fit into so many bytes."""
    sizes = [(HeldTensor(p).nbytes, name) for name, p in parameters if not p.is_meta]
    if room is None or sum(size for size, _ in sizes) * COPIES <= room:
        return frozenset()
    large, taken = [], 0
    for size, name in sorted(sizes):
        taken += size * COPIES
        if taken > room:
            large.append(name)
    return frozenset(large)
