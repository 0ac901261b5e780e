"""Handles to tensors: where sums, statistics and windows are computed."""

import math
from typing import Any

import torch
from msgspec import Struct
from torch import Tensor

from backpropdbg.held import Facts, Form, Held, Packed, Spread, Stored, cut, pooling
from backpropdbg.hurry import passing
from backpropdbg.probe.bits import same_bits
from backpropdbg.probe.packing import form_of, pack, unpack
from backpropdbg.probe.passes import (
    LARGE,
    STRETCH,
    as_wide,
    dense,
    in_blocks,
    largest,
    norm_of,
    norm_there,
    orders,
    product,
    real,
)
from backpropdbg.probe.spread import pooled, spread_of


class Known(Struct, gc=False):
    """What was found out about a tensor: its shape, once it was let go; its norm, and what is largest in it."""

    shape: tuple[int, ...] = ()
    norm: float | Tensor | None = None  # a tensor where it waits on a device
    vmax: float | None = None
    largest: float | None = None


class HeldTensor(Held):
    """A reference to a tensor, or to a copy of one; see `Held`.

    There is one for each use: what most of them never need has no room of its own.

    Attributes:
        tensor: None once it was let go.
    """

    __slots__ = ("_found", "tensor")

    def __init__(self, tensor: Tensor) -> None:
        self.tensor: Tensor | None = tensor
        self.in_memory, self.shown = True, 0
        self._found: Known | None = None
        self.stored: Stored | None = None
        self.sum_so_far: Held | None = None

    @property
    def _known(self) -> Known:
        if self._found is None:
            self._found = Known()
        return self._found

    @property
    def _shape(self) -> tuple[int, ...]:
        t = self.tensor  # another thread may let it go meanwhile
        return self._known.shape if t is None else t.shape

    @property
    def nbytes(self) -> int:
        t = self.tensor
        return 0 if t is None else t._values().nbytes if t.is_sparse else t.nbytes

    @property
    def _here(self) -> Tensor | None:
        """The tensor, from the file where it is not in memory."""
        if self.tensor is None and self.stored is not None:
            return self.stored.load(unpack)
        return self.tensor

    @property
    def _there(self) -> Tensor:
        found = self._here
        assert found is not None
        return found

    @property
    def dtype(self) -> str:
        t = self._here
        return "" if t is None else str(t.dtype).removeprefix("torch.")

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._shape)

    @property
    def kept(self) -> bool:
        return self.tensor is not None or (self.stored is not None and self.stored.kept)

    @property
    def eps(self) -> float:
        t = self._here
        return torch.finfo(t.dtype).eps if t is not None and (t.is_floating_point() or t.is_complex()) else 0.0

    @property
    def value(self) -> object:
        return self._here

    def norm(self) -> float | None:
        self.measure()
        size = self._known.norm
        if isinstance(size, Tensor):
            self._known.norm = size = float(size)
        return size

    def measure(self) -> None:
        known = self._known
        t = self._here if known.norm is None else None
        if t is not None:
            there = norm_there(t)
            known.norm = norm_of(t) if there is None else there

    def cosine(self, other: Held) -> float | None:
        mine, theirs = self._here, other._here if isinstance(other, HeldTensor) else None
        if (
            mine is None
            or theirs is None
            or not (in_blocks(mine) and in_blocks(theirs) and mine.device == theirs.device)
        ):
            return super().cosine(other)
        size = (self.norm() or 0.0) * (other.norm() or 0.0)
        if not 1e-30 < size < 1e30:
            return super().cosine(other)
        with torch.no_grad():
            return max(-1.0, min(1.0, product(mine.detach(), theirs.detach()) / size))

    def distance(self, other: Held) -> float:
        assert isinstance(other, HeldTensor)
        mine, theirs = self._there.detach(), other._there.detach()
        if not (in_blocks(mine) and in_blocks(theirs) and mine.dtype == theirs.dtype):
            return super().distance(other)
        exact = torch.promote_types(mine.dtype, torch.float32)
        with torch.no_grad():
            return norm_of(mine.to(exact) - theirs.to(exact))

    def plus(self, other: Held) -> "HeldTensor":
        assert isinstance(other, HeldTensor)
        if self._is_large_like(other):
            from backpropdbg.probe.lazy import Lazy

            return Lazy(self, other, torch.add)
        mine, theirs = self._there, other._there
        if mine.requires_grad or theirs.requires_grad:
            mine, theirs = mine.detach(), theirs.detach()
        return HeldTensor(mine + theirs)

    def minus(self, other: Held) -> Held:
        if isinstance(other, HeldTensor) and self._is_large_like(other):
            from backpropdbg.probe.lazy import Difference

            return Difference(self, other)
        return super().minus(other)

    def _is_large_like(self, other: "HeldTensor") -> bool:
        """True where both are large, on the CPU, and their numbers lie in the same order."""
        return (
            self._lies_in_a_row() and other._lies_in_a_row() and (self.shape, self.dtype) == (other.shape, other.dtype)
        )

    def _lies_in_a_row(self) -> bool:
        t = self._there
        return t.numel() >= LARGE and t.device.type == "cpu" and in_blocks(t)

    def same_bits(self, other: Held) -> bool:
        assert isinstance(other, HeldTensor)
        passing(math.prod(self.shape))
        return same_bits(self._there.detach(), other._there.detach())

    def at(self, index: tuple[int, ...]) -> float:
        t = dense(self._there)
        cell = t[index]
        return float(cell.abs() if cell.is_complex() else cell)

    def vmax(self) -> float:
        if self._known.vmax is None:
            self._known.vmax = self._most()
            if not math.isfinite(self._known.vmax):
                magnitudes = real(self._there).abs()
                magnitudes = magnitudes[torch.isfinite(magnitudes)]
                self._known.vmax = float(magnitudes.max()) if magnitudes.numel() else 0.0
        return self._known.vmax

    def finite(self) -> bool:
        if self._known.norm is not None and math.isfinite(self._known.norm):
            return True  # where the norm is a number, so is each element
        return math.isfinite(self._most())

    def _most(self) -> float:
        """Largest magnitude; NaN or infinite where one is."""
        if self._known.largest is None:
            self._known.largest = largest(self._there)
        return self._known.largest

    def cells(
        self, rows: int, cols: int, row0: int, col0: int, pool: bool = True
    ) -> tuple[list[list[float]], int, int]:
        if not pool:
            flat = as_matrix(dense(self._there))
            return real(flat[row0 : row0 + rows, col0 : col0 + cols]).tolist(), 1, 1
        flat = as_matrix(dense(self._there))[row0:, col0:]
        if flat.numel() == 0:
            return [], 1, 1
        row_step, col_step = pooling(tuple(flat.shape), rows, cols)
        passing(flat.numel())
        if row_step > 1 or col_step > 1:
            flat = pooled(flat if orders(flat) else real(flat), row_step, col_step)
        shown = real(flat)
        if row0 == col0 == 0 and self._known.largest is None:
            self._known.largest = float(shown.abs().max())  # the largest of each block are shown
        return shown.tolist(), row_step, col_step

    def row(self, index: int) -> "HeldTensor":
        t = dense(self._there)
        return HeldTensor(t[index] if t.dim() else t)

    def plane(self, axes: tuple[int, int], at: tuple[int, ...]) -> "HeldTensor":
        t = dense(self._there)[cut(axes, at)]
        return HeldTensor(t if axes[0] < axes[1] else t.t())

    def pieces(self) -> list[Held]:
        t = self._here
        if t is None or not in_blocks(t) or t.device.type != "cpu":
            return [self]
        return [HeldTensor(some) for some in torch.split(t.detach().reshape(-1), STRETCH)]

    def room(self, like: Tensor) -> Tensor:
        return torch.empty(self._there.numel(), dtype=like.dtype)

    def spread(self, parts: int) -> Spread:
        with torch.no_grad():
            return spread_of(dense(self._there), parts)

    def fold(self, before: Held | None, measure: bool = True) -> Held:
        assert self.tensor is not None
        self.sum_so_far = total = HeldTensor(self.tensor) if before is None else before.plus(self)
        assert total.value is not None  # added up now, while the operands are here
        self.drop(measure)
        return total

    def drop(self, measure: bool = True) -> None:
        if measure:
            self.measure()
        if self.tensor is not None:
            self._known.shape, self.tensor = self.tensor.shape, None
        self.in_memory = False

    def is_of(self, t: Tensor) -> bool | Tensor | None:
        """True where a tensor has the bits of this copy, as far as can be told; None where it was let go or is none.

        Of those on a device, a tensor there that will tell it.
        """
        return None

    def wide(self) -> Tensor:
        return as_wide(self._there)

    def zeros(self) -> Tensor:
        return torch.zeros_like(as_wide(self._there))

    def made(self, values: Any) -> "HeldTensor":
        return HeldTensor(values)

    def facts(self, measure: bool = True) -> Facts:
        t = self._here
        if t is None or not measure:
            known = None if self._known.norm is None else self.norm()
            return Facts(form_of(t) if t is not None else Form("", self.shape), known)
        with torch.no_grad():
            size = self.norm()
            return Facts(form_of(t), size, self.vmax(), self.finite())

    def pack(self) -> Packed | None:
        t = self._here
        return None if t is None else pack(t)


class StoredTensor(HeldTensor):
    """A tensor of a recording: what is asked of it is read then."""

    __slots__ = ("_facts",)

    def __init__(self, stored: Stored) -> None:
        self.tensor = self._found = self.sum_so_far = None
        self.in_memory, self.shown = False, 0
        self.stored: Stored = stored
        self._facts: Facts | None = None

    def _read(self) -> Facts:
        if self._facts is None:
            self._facts = self.stored.facts()
        return self._facts

    @property
    def dtype(self) -> str:
        return self._read().form.dtype

    @property
    def nbytes(self) -> int:
        return self._read().form.nbytes

    @property
    def _shape(self) -> tuple[int, ...]:
        return self._read().form.shape

    def _measured(self) -> Facts:
        """What the file has of it once its bytes are gone: until then it may not have been measured."""
        if self._read().norm is None and not self.stored.kept:
            self._facts = self.stored.facts()
        return self._read()

    def norm(self) -> float | None:
        if self._known.norm is None:
            self._known.norm = self._measured().norm
        return super().norm()

    def vmax(self) -> float:
        if self._known.vmax is None:
            self._known.vmax = self._measured().vmax
        return super().vmax()

    def finite(self) -> bool:
        known = self._measured().finite
        return super().finite() if known is None else known

    def facts(self, measure: bool = True) -> Facts:
        known = self._measured()
        return super().facts() if measure and known.vmax is None and self.kept else known


class PassingTensor(HeldTensor):
    """A handle on a tensor that is let go unmeasured as soon as it was shown; nearly free where nobody looks."""

    __slots__ = ("_shown", "_source")

    def __init__(self, source: Tensor) -> None:
        self._source: Tensor | None = source
        self._shown: Tensor | None = None
        self.in_memory, self.shown = True, 0
        self._found = self.sum_so_far = self.stored = None

    @property
    def tensor(self) -> Tensor | None:  # type: ignore[override]
        if self._shown is None and self._source is not None:
            self._shown = self._source.detach()
        return self._shown

    @property
    def nbytes(self) -> int:
        return self._source.nbytes if self._source is not None else 0

    @property
    def _shape(self) -> tuple[int, ...]:
        return self._source.shape if self._source is not None else torch.Size()

    def drop(self, measure: bool = False) -> None:
        self._source, self._shown, self.in_memory = None, None, False


def as_matrix(t: Tensor) -> Tensor:
    """View any shape as [rows, cols]: a scalar is 1x1, a vector one row, the rest keeps its first dimension."""
    if t.dim() == 2:
        return t
    return t.reshape(1, -1) if t.dim() < 2 else t.flatten(1)
