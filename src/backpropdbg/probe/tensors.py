"""Handles to tensors: where sums, statistics and windows are computed."""

import math
from typing import Any

import torch
from torch import Tensor

from backpropdbg.held import Facts, Form, Held, Packed, Spread, Stored, cut, pooling
from backpropdbg.probe.bits import same_bits
from backpropdbg.probe.packing import form_of, pack, unpack
from backpropdbg.probe.spread import pooled, spread_of

_BLOCK = 4096
_STRETCH = 8 * _BLOCK
_LARGE = 2**17  # numbers; below it one pass in float64 takes less long than blocks


def norm_of(t: Tensor) -> float:
    """Euclidean norm, of large tensors in blocks: one pass in the tensor's own dtype, summed up in float64."""
    if t.numel() >= _LARGE and _in_blocks(t):
        flat = t.detach().reshape(-1)
        whole = flat.numel() // _BLOCK * _BLOCK
        exact = None if t.element_size() > 2 else torch.float32
        parts = torch.linalg.vector_norm(flat[:whole].view(-1, _BLOCK), dim=1, dtype=exact).double()
        size = math.hypot(float(torch.linalg.vector_norm(parts)), float(torch.linalg.vector_norm(_wide(flat[whole:]))))
        if 1e-15 < size < 1e15:
            return size
    wide = _wide(t)
    size = float(torch.linalg.vector_norm(wide))
    if t.numel() and not 1e-150 < size < 1e150:  # squares may have left the range of float64
        largest = float(wide.abs().max())
        if 0 < largest < math.inf:
            return largest * float(torch.linalg.vector_norm(wide / largest))
    return size


def _orders(t: Tensor) -> bool:
    """True where torch compares the values as they are, and no magnitude overflows."""
    return t.is_floating_point() and t.element_size() > 1


def _largest(t: Tensor) -> float:
    """Largest magnitude; NaN or infinite where one is."""
    if not t.numel():
        return 0.0
    if t.layout == torch.strided and _orders(t):
        low, high = t.detach().aminmax()
        return max(abs(float(low)), abs(float(high)))
    return float(_real(t).abs().max())


def _in_blocks(t: Tensor) -> bool:
    """True for a large tensor that is best added up in blocks."""
    return t.layout == torch.strided and t.is_floating_point() and t.numel() > 2 * _BLOCK and t.is_contiguous()


def _product(a: Tensor, b: Tensor) -> float:
    """Scalar product of large tensors in blocks: one pass in float32 or better, summed up in float64.

    In stretches that stay in the cache, and so small that torch starts no other thread for them.
    """
    whole = a.numel() // _BLOCK * _BLOCK
    a, b = a.reshape(-1), b.reshape(-1)
    stretch = _STRETCH if a.device.type == "cpu" else whole
    exact = torch.promote_types(torch.promote_types(a.dtype, b.dtype), torch.float32)
    products = torch.empty(stretch, dtype=exact, device=a.device)
    parts = []
    for some, others in zip(torch.split(a[:whole], stretch), torch.split(b[:whole], stretch), strict=True):
        out = products[: some.numel()]
        if a.dtype == b.dtype == out.dtype:
            torch.mul(some, others, out=out)
        else:
            out.copy_(some).mul_(others)
        parts.append(out.view(-1, _BLOCK).sum(1))
    return float(torch.cat(parts).double().sum()) + float(torch.dot(_wide(a[whole:]), _wide(b[whole:])))


def _wide(t: Tensor) -> Tensor:
    """The tensor on the CPU in float64 (or complex128), dense."""
    t = _dense(t)
    return t.to("cpu", torch.complex128 if t.is_complex() else torch.float64)


def _dense(t: Tensor) -> Tensor:
    t = t.detach()
    return t.to_dense() if t.layout != torch.strided else t


def _real(t: Tensor) -> Tensor:
    """The same, with magnitudes in place of complex numbers."""
    wide = _wide(t)
    return wide.abs() if wide.is_complex() else wide


class HeldTensor(Held):
    """A reference to a tensor, or to a copy of one; see `Held`.

    Attributes:
        tensor: None once it was let go.
    """

    __slots__ = ("_largest", "_norm", "_shape", "_vmax", "tensor")

    def __init__(self, tensor: Tensor) -> None:
        self.tensor: Tensor | None = tensor
        self._shape = tensor.shape
        self.nbytes = tensor.nbytes if not tensor.is_sparse else tensor._values().nbytes
        self._norm: float | None = None
        self._vmax: float | None = None
        self._largest: float | None = None
        self.stored: Stored | None = None
        self.sum_so_far: Held | None = None

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
    def in_memory(self) -> bool:
        return self.tensor is not None

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
        if self._norm is None:
            t = self._here
            if t is not None:
                with torch.no_grad():
                    self._norm = norm_of(t)
        return self._norm

    def cosine(self, other: Held) -> float | None:
        mine, theirs = self._here, other._here if isinstance(other, HeldTensor) else None
        if (
            mine is None
            or theirs is None
            or not (_in_blocks(mine) and _in_blocks(theirs) and mine.device == theirs.device)
        ):
            return super().cosine(other)
        size = (self.norm() or 0.0) * (other.norm() or 0.0)
        if not 1e-30 < size < 1e30:
            return super().cosine(other)
        with torch.no_grad():
            return max(-1.0, min(1.0, _product(mine.detach(), theirs.detach()) / size))

    def distance(self, other: Held) -> float:
        assert isinstance(other, HeldTensor)
        mine, theirs = self._there.detach(), other._there.detach()
        if not (_in_blocks(mine) and _in_blocks(theirs) and mine.dtype == theirs.dtype):
            return super().distance(other)
        exact = torch.promote_types(mine.dtype, torch.float32)
        with torch.no_grad():
            return norm_of(mine.to(exact) - theirs.to(exact))

    def plus(self, other: Held) -> "HeldTensor":
        assert isinstance(other, HeldTensor)
        with torch.no_grad():
            return HeldTensor(self._there.detach() + other._there.detach())

    def same_bits(self, other: Held) -> bool:
        assert isinstance(other, HeldTensor)
        return same_bits(self._there.detach(), other._there.detach())

    def at(self, index: tuple[int, ...]) -> float:
        t = _dense(self._there)
        cell = t[index]
        return float(cell.abs() if cell.is_complex() else cell)

    def vmax(self) -> float:
        if self._vmax is None:
            self._vmax = self._most()
            if not math.isfinite(self._vmax):
                magnitudes = _real(self._there).abs()
                magnitudes = magnitudes[torch.isfinite(magnitudes)]
                self._vmax = float(magnitudes.max()) if magnitudes.numel() else 0.0
        return self._vmax

    def finite(self) -> bool:
        return math.isfinite(self._most())

    def _most(self) -> float:
        """Largest magnitude; NaN or infinite where one is."""
        if self._largest is None:
            self._largest = _largest(self._there)
        return self._largest

    def cells(
        self, rows: int, cols: int, row0: int, col0: int, pool: bool = True
    ) -> tuple[list[list[float]], int, int]:
        if not pool:
            flat = as_matrix(_dense(self._there))
            return _real(flat[row0 : row0 + rows, col0 : col0 + cols]).tolist(), 1, 1
        flat = as_matrix(_dense(self._there))[row0:, col0:]
        if flat.numel() == 0:
            return [], 1, 1
        row_step, col_step = pooling(tuple(flat.shape), rows, cols)
        if row_step > 1 or col_step > 1:
            flat = pooled(flat if _orders(flat) else _real(flat), row_step, col_step)
        return _real(flat).tolist(), row_step, col_step

    def row(self, index: int) -> "HeldTensor":
        t = _dense(self._there)
        return HeldTensor(t[index] if t.dim() else t)

    def plane(self, axes: tuple[int, int], at: tuple[int, ...]) -> "HeldTensor":
        t = _dense(self._there)[cut(axes, at)]
        return HeldTensor(t if axes[0] < axes[1] else t.t())

    def pieces(self) -> list[Held]:
        t = self._here
        if t is None or not _in_blocks(t) or t.device.type != "cpu":
            return [self]
        return [HeldTensor(some) for some in torch.split(t.detach().reshape(-1), _STRETCH)]

    def room(self, like: Tensor) -> Tensor:
        return torch.empty(self._there.numel(), dtype=like.dtype)

    def spread(self, parts: int) -> Spread:
        with torch.no_grad():
            return spread_of(_dense(self._there), parts)

    def fold(self, before: Held | None, measure: bool = True) -> Held:
        assert self.tensor is not None
        self.sum_so_far = total = HeldTensor(self.tensor) if before is None else before.plus(self)
        self.drop(measure)
        return total

    def drop(self, measure: bool = True) -> None:
        if measure:
            self.norm()
        self.tensor = None

    def wide(self) -> Tensor:
        return _wide(self._there)

    def zeros(self) -> Tensor:
        return torch.zeros_like(_wide(self._there))

    def made(self, values: Any) -> "HeldTensor":
        return HeldTensor(values)

    def facts(self, measure: bool = True) -> Facts:
        t = self._here
        if t is None or not measure:
            return Facts(form_of(t) if t is not None else Form("", self.shape), self._norm)
        with torch.no_grad():
            size = self.norm()
            # Where the norm is a number, so is each element.
            finite = (size is not None and math.isfinite(size)) or self.finite()
            return Facts(form_of(t), size, self.vmax(), finite)

    def pack(self) -> Packed | None:
        t = self._here
        return None if t is None else pack(t)


class StoredTensor(HeldTensor):
    """A tensor of a recording: what is asked of it is read then."""

    __slots__ = ("_facts",)

    def __init__(self, stored: Stored) -> None:
        self.tensor = self._norm = self._vmax = self._largest = self.sum_so_far = None
        self.stored: Stored = stored
        self._facts: Facts | None = None

    def _known(self) -> Facts:
        if self._facts is None:
            self._facts = self.stored.facts()
        return self._facts

    @property
    def dtype(self) -> str:
        return self._known().form.dtype

    @property
    def nbytes(self) -> int:  # type: ignore[override]
        return self._known().form.nbytes

    @property
    def _shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return self._known().form.shape

    def norm(self) -> float | None:
        known = self._known().norm
        return super().norm() if known is None else known

    def vmax(self) -> float:
        known = self._known().vmax
        return super().vmax() if known is None else known

    def finite(self) -> bool:
        known = self._known().finite
        return super().finite() if known is None else known

    def facts(self, measure: bool = True) -> Facts:
        known = self._known()
        return super().facts() if measure and known.vmax is None and self.kept else known


class PassingTensor(HeldTensor):
    """A handle on a tensor that is let go unmeasured as soon as it was shown; nearly free where nobody looks."""

    __slots__ = ("_shown", "_source")

    def __init__(self, source: Tensor) -> None:
        self._source: Tensor | None = source
        self._shown: Tensor | None = None
        self.nbytes = source.nbytes
        self._norm = self._vmax = self._largest = self.sum_so_far = self.stored = None

    @property
    def tensor(self) -> Tensor | None:  # type: ignore[override]
        if self._shown is None and self._source is not None:
            self._shown = self._source.detach()
        return self._shown

    @property
    def _shape(self) -> torch.Size:  # type: ignore[override]
        return self._source.shape if self._source is not None else torch.Size()

    def drop(self, measure: bool = False) -> None:
        self._source = self._shown = None


def as_matrix(t: Tensor) -> Tensor:
    """View any shape as [rows, cols]: a scalar is 1x1, a vector one row, the rest keeps its first dimension."""
    if t.dim() == 2:
        return t
    return t.reshape(1, -1) if t.dim() < 2 else t.flatten(1)


def copy(t: Tensor) -> HeldTensor:
    """Hold a copy, for a tensor that will be changed in place."""
    return HeldTensor(t.detach().clone())


def not_kept(t: Tensor) -> HeldTensor:
    """A handle for a tensor that will be changed in place and that nobody copies."""
    held = HeldTensor(t)
    held.drop(measure=False)
    return held
