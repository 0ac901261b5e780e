"""Sums and differences of large tensors: known by their operands, computed once something of the whole is asked for.

One element needs no other. What needs all of them goes through the operands in stretches, and can be given up between
two: what was done until then stays done.
"""

import math
from collections.abc import Callable, Iterator
from typing import Union

import torch
from torch import Tensor

from backpropdbg.held import Held, pooling
from backpropdbg.hurry import looking_up, passing
from backpropdbg.probe.passes import STRETCH, real
from backpropdbg.probe.spread import pooled
from backpropdbg.probe.tensors import HeldTensor, as_matrix

Operand = Union[Tensor, "Lazy"]


class Lazy(HeldTensor):
    """What an operation makes of each two elements of two tensors, which have one shape and dtype and lie on the CPU.

    Args:
        operation: of elements. dtype: of what it makes; None: the same.
    """

    __slots__ = ("_dtype", "_filled", "_operands", "_operation", "_size", "_sizes", "_whole")

    def __init__(
        self,
        left: HeldTensor,
        right: HeldTensor,
        operation: Callable[[Tensor, Tensor], Tensor],
        dtype: torch.dtype | None = None,
    ) -> None:
        self._operands: tuple[Operand, ...] = _operand(left), _operand(right)
        self._operation, self._dtype = operation, dtype or getattr(torch, left.dtype)
        self._size, self.in_memory, self.shown = left._shape, True, 0
        self._found = self.stored = self.sum_so_far = None
        self._whole: Tensor | None = None
        self._filled, self._sizes = 0, list[Tensor]()

    @property
    def tensor(self) -> Tensor | None:  # type: ignore[override]
        if self._operands:
            passing(math.prod(self._shape))
            with torch.no_grad():
                self._fill()
        return self._whole

    @property
    def _shape(self) -> tuple[int, ...]:
        return self._size

    @property
    def nbytes(self) -> int:
        return math.prod(self._size) * self._dtype.itemsize

    @property
    def dtype(self) -> str:
        return str(self._dtype).removeprefix("torch.")

    @property
    def kept(self) -> bool:
        return True

    def _lies_in_a_row(self) -> bool:
        return True

    def at(self, index: tuple[int, ...]) -> float:
        return float(self._part(lambda t: t[index].reshape(1)))

    def measure(self) -> None:
        if self._known.norm is None and self.tensor is not None:
            size = float(torch.linalg.vector_norm(torch.stack(self._sizes)))
            self._known.norm = size if 1e-15 < size < 1e15 else None
        super().measure()

    def _part(self, cut: Callable[[Tensor], Tensor]) -> Tensor:
        """What is cut out of it: the same of the operands, and the operation."""
        if not self._operands:
            assert self._whole is not None
            return cut(self._whole)
        return self._operation(*(t._part(cut) if isinstance(t, Lazy) else cut(t) for t in self._operands))

    def _stretch(self, start: int) -> Tensor:
        """Some elements in a row."""
        looking_up()
        return self._part(lambda t: t.reshape(-1)[start : start + STRETCH])

    def _fill(self) -> None:
        """Compute all elements, and measure them while they are in the processor's cache."""
        if self._whole is None:
            self._whole = torch.empty(self._shape, dtype=self._dtype)
        flat = self._whole.view(-1)
        while self._filled < flat.numel():
            some = self._stretch(self._filled)
            flat[self._filled : self._filled + STRETCH] = some
            self._sizes.append(torch.linalg.vector_norm(some, dtype=torch.float64))
            self._filled += some.numel()
        self._operands = ()


class Difference(Lazy):
    """`left - right` in float64, which needs room for all of it only where somebody wants the tensor itself."""

    __slots__ = ()

    def __init__(self, left: HeldTensor, right: HeldTensor) -> None:
        super().__init__(left, right, _wide_difference, torch.float64)

    def _stretches(self) -> Iterator[Tensor]:
        passing(math.prod(self._shape))
        with torch.no_grad():
            for start in range(0, math.prod(self._shape), STRETCH):
                yield self._stretch(start)

    def measure(self) -> None:
        if self._known.norm is None:
            self._measure()

    def _most(self) -> float:
        if self._known.largest is None:
            self._measure()
        assert self._known.largest is not None
        return self._known.largest

    def _measure(self) -> None:
        sizes, extremes = list[Tensor](), list[Tensor]()
        for some in self._stretches():
            sizes.append(torch.linalg.vector_norm(some))
            extremes += some.aminmax()
        self._known.largest = float(torch.stack(extremes).abs().max())
        size = float(torch.linalg.vector_norm(torch.stack(sizes)))
        self._known.norm = size if 1e-150 < size < 1e150 else HeldTensor(self._there).norm()

    def cosine(self, other: Held) -> float | None:
        sizes = self.norm() or 0.0, other.norm() or 0.0
        theirs = other.value
        if not isinstance(theirs, Tensor) or theirs.shape != self._shape or not 1e-30 < math.prod(sizes) < 1e30:
            return super().cosine(other)
        flat, found = theirs.detach().reshape(-1), []
        for n, some in enumerate(self._stretches()):
            found.append(torch.dot(some, flat[n * STRETCH : (n + 1) * STRETCH].double()))
        return max(-1.0, min(1.0, float(torch.stack(found).sum()) / math.prod(sizes)))

    def cells(
        self, rows: int, cols: int, row0: int, col0: int, pool: bool = True
    ) -> tuple[list[list[float]], int, int]:
        height, width = as_matrix(torch.empty(self._shape, device="meta")).shape
        if not pool:
            return self._rectangle(slice(row0, row0 + rows), slice(col0, col0 + cols)).tolist(), 1, 1
        if not (0 <= row0 < height and 0 <= col0 < width):
            return [], 1, 1
        passing(math.prod(self._shape))
        row_step, col_step = pooling((height - row0, width - col0), rows, cols)
        bands = []
        for top in range(row0, height, row_step):
            looking_up()
            bands.append(pooled(self._rectangle(slice(top, top + row_step), slice(col0, None)), row_step, col_step))
        return real(torch.cat(bands)).tolist(), row_step, col_step

    def _rectangle(self, rows: slice, cols: slice) -> Tensor:
        return self._part(lambda t: as_matrix(t)[rows, cols])


def _wide_difference(a: Tensor, b: Tensor) -> Tensor:
    return a.double() - b.double()


def _operand(held: HeldTensor) -> Operand:
    if isinstance(held, Lazy) and held._operands:
        return held
    return held._there.detach()
