"""Tensors of a recording where torch is not installed: numpy's arrays. numpy is imported once one is looked at.

numpy has no bfloat16 and no float8: of these the bits are kept, and their values are float32's, which holds each.
"""

import math
from typing import Any

from backpropdbg.held import FORMATS, Facts, Form, Held, Packed, Spread, Stored, cut, pooling

Array = Any  # a numpy.ndarray

_BITS = {"bfloat16": "uint16", "float8_e4m3fn": "uint8", "float8_e5m2": "uint8"}
_NATIVE = {name for name in FORMATS if name not in _BITS and name != "complex32"}


def _numpy() -> Any:
    import numpy

    numpy.seterr(all="ignore")  # a NaN in somebody's gradient is no warning of ours
    return numpy


class StoredArray(Held):
    """A tensor of a recording, or what was computed from some.

    Args:
        stored: where it is; or `array`, the bits of it, of torch's number format `dtype`.
    """

    __slots__ = ("_array", "_dtype", "_facts")

    def __init__(self, stored: Stored | None, array: Array = None, dtype: str = "") -> None:
        self.stored, self.sum_so_far = stored, None
        self._array, self._dtype = array, dtype
        self._facts: Facts | None = None

    def facts(self, measure: bool = True) -> Facts:
        if self._facts is None:
            self._facts = (
                self.stored.facts() if self.stored is not None else Facts(Form(self._dtype, self._array.shape))
            )
        if measure and self._facts.vmax is None:
            if self.kept:
                self._facts = Facts(self._facts.form, _norm(self.wide()), self.vmax(), self.finite())
            elif self.stored is not None:  # it was measured when its bytes went
                self._facts = self.stored.facts()
        return self._facts

    @property
    def _bits(self) -> Array:
        """Dense, of a format of numpy's with the same size."""
        if self.stored is None:
            return self._array
        found = self.stored.load(_unpacked)
        assert found is not None
        return found

    @property
    def dtype(self) -> str:
        return self.facts(False).form.dtype if self.stored is not None else self._dtype

    @property
    def nbytes(self) -> int:
        return self.facts(False).form.nbytes

    @property
    def eps(self) -> float:
        return FORMATS[self.dtype].eps if self.kept else 0.0

    @property
    def shape(self) -> tuple[int, ...]:
        return self.facts(False).form.shape if self.stored is not None else tuple(self._array.shape)

    @property
    def in_memory(self) -> bool:  # type: ignore[override]
        return self.stored is None

    @property
    def kept(self) -> bool:
        return self.stored is None or (self.stored.kept and (self.dtype in _NATIVE or self.dtype in _BITS))

    @property
    def value(self) -> object:
        return _values(self._bits, self.dtype) if self.kept else None

    def norm(self) -> float | None:
        return self.facts().norm

    def plus(self, other: Held) -> "StoredArray":
        assert isinstance(other, StoredArray)
        both = _values(self._bits, self.dtype) + _values(other._bits, other.dtype)
        if self.dtype == other.dtype == "bfloat16":
            return StoredArray(None, _rounded(both), "bfloat16")
        return StoredArray(None, both, str(both.dtype))

    def same_bits(self, other: Held) -> bool:
        assert isinstance(other, StoredArray)
        a, b = self._bits, other._bits
        return (self.dtype, a.shape) == (other.dtype, b.shape) and a.tobytes() == b.tobytes()

    def at(self, index: tuple[int, ...]) -> float:
        cell = _values(self._bits[index], self.dtype)
        return float(abs(cell) if cell.dtype.kind == "c" else cell)

    def vmax(self) -> float:
        magnitudes = abs(self.wide())
        magnitudes = magnitudes[_numpy().isfinite(magnitudes)]
        return float(magnitudes.max()) if magnitudes.size else 0.0

    def finite(self) -> bool:
        return bool(_numpy().isfinite(self.wide()).all())

    def cells(
        self, rows: int, cols: int, row0: int, col0: int, pool: bool = True
    ) -> tuple[list[list[float]], int, int]:
        matrix = _matrix(self._bits)
        if not pool:
            return _real(_wide(matrix[row0 : row0 + rows, col0 : col0 + cols], self.dtype)).tolist(), 1, 1
        flat = _real(_wide(matrix[row0:, col0:], self.dtype))
        if flat.size == 0:
            return [], 1, 1
        row_step, col_step = pooling(flat.shape, rows, cols)
        if row_step > 1 or col_step > 1:
            flat = _pool(flat, row_step, col_step)
        return flat.tolist(), row_step, col_step

    def row(self, index: int) -> "StoredArray":
        bits = self._bits
        return StoredArray(None, bits[index] if bits.ndim else bits, self.dtype)

    def plane(self, axes: tuple[int, int], at: tuple[int, ...]) -> "StoredArray":
        bits = self._bits[cut(axes, at)]
        return StoredArray(None, bits if axes[0] < axes[1] else bits.T, self.dtype)

    def spread(self, parts: int) -> Spread:
        return _spread(_real(self.wide()), parts)

    def fold(self, before: Held | None, measure: bool = True) -> Held:
        raise NotImplementedError("nothing of a recording is let go")

    def drop(self, measure: bool = True) -> None:
        """Nothing: it is in the file."""

    def wide(self) -> Array:
        return _wide(self._bits, self.dtype)

    def zeros(self) -> Array:
        return _numpy().zeros_like(self.wide())

    def made(self, values: Any) -> "StoredArray":
        values = _numpy().asarray(values)
        return StoredArray(None, values, str(values.dtype))

    def pack(self) -> Packed | None:
        return self.stored.pack() if self.stored is not None else None


def _unpacked(packed: Packed) -> Array:
    """The bits of a tensor, dense and contiguous."""
    np = _numpy()
    form, data = packed.form, packed.data
    kind = _BITS.get(form.dtype, form.dtype)
    if not form.sparse:
        return np.broadcast_to(np.frombuffer(data, kind).reshape(form.stored), form.shape)
    indices = np.frombuffer(data[: form.index_bytes], "int64").reshape(form.sparse, form.entries)
    values = np.frombuffer(data[form.index_bytes :], kind).reshape(form.entries, *form.shape[form.sparse :])
    limits = np.array(form.shape[: form.sparse]).reshape(-1, 1)
    if (indices < 0).any() or (indices >= limits).any():
        raise ValueError("an index of a sparse tensor is out of range")
    dense = np.zeros(form.shape, kind)
    np.add.at(dense, tuple(indices), values)
    return dense


def _values(bits: Array, dtype: str) -> Array:
    """The numbers that bits stand for."""
    np = _numpy()
    if dtype == "bfloat16":
        return (bits.astype("uint32") << 16).view("float32")
    if dtype == "float8_e5m2":  # the upper half of a float16
        return (bits.astype("uint16") << 8).view("float16").astype("float32")
    if dtype == "float8_e4m3fn":
        return _e4m3()[bits]
    return np.asarray(bits)


def _e4m3() -> Array:
    """All 256 numbers: 1 sign, 4 exponent and 3 fraction bits; no infinity, and one NaN of each sign."""
    np = _numpy()
    code = np.arange(256)
    exponent, fraction = (code >> 3) & 15, code & 7
    size = np.where(exponent, (1 + fraction / 8) * 2.0 ** (exponent - 7), fraction / 8 * 2.0**-6)
    size = np.where((exponent == 15) & (fraction == 7), np.nan, size)
    return np.copysign(size, np.where(code & 128, -1.0, 1.0)).astype("float32")


def _rounded(values: Array) -> Array:
    """The bits of the nearest bfloat16, of two as near the even one; NaN stays NaN."""
    np = _numpy()
    bits = np.asarray(values, "float32").view("uint32")
    up = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(values), 0x7FC0, up).astype("uint16")


def _wide(bits: Array, dtype: str) -> Array:
    values = _values(bits, dtype)
    return values.astype("complex128" if values.dtype.kind == "c" else "float64")


def _real(values: Array) -> Array:
    return abs(values) if values.dtype.kind == "c" else values


def _norm(values: Array) -> float:
    np = _numpy()
    size = float(np.sqrt(np.square(abs(values)).sum()))
    if values.size and not 1e-150 < size < 1e150:  # squares may have left the range of float64
        largest = float(abs(values).max())
        if 0 < largest < math.inf:
            return largest * float(np.sqrt(np.square(abs(values / largest)).sum()))
    return size


def _matrix(values: Array) -> Array:
    """Any shape as [rows, cols]: a scalar is 1x1, a vector one row, the rest keeps its first dimension."""
    if values.ndim == 2:
        return values
    return values.reshape(1, -1) if values.ndim < 2 else values.reshape(values.shape[0], -1)


def _pool(values: Array, row_step: int, col_step: int) -> Array:
    """Keep the value of largest magnitude of each row_step x col_step block; NaN counts as the largest."""
    np = _numpy()
    rows, cols = (math.ceil(n / s) for n, s in zip(values.shape, (row_step, col_step), strict=True))
    padded = np.zeros((rows * row_step, cols * col_step), values.dtype)
    padded[: values.shape[0], : values.shape[1]] = values
    blocks = padded.reshape(rows, row_step, cols, col_step).transpose(0, 2, 1, 3).reshape(rows, cols, -1)
    high, low = blocks.max(-1), blocks.min(-1)  # both are NaN where one value is
    return np.where(abs(low) > abs(high), low, high)


def _spread(values: Array, parts: int) -> Spread:
    np = _numpy()
    finite = values[np.isfinite(values)]
    zeros, odd = int((values == 0).sum()), values.size - finite.size
    if not finite.size:
        return Spread(values.size, zeros, odd)
    low, high = float(finite.min()), float(finite.max())
    mean = float((finite / finite.size).sum())
    std = math.sqrt(float(np.square(finite - mean).sum()) / (finite.size - 1)) if finite.size > 1 else None
    counts: tuple[int, ...] = (finite.size,)
    if low < high:
        place = (finite / 2 - low / 2) / (high / 2 - low / 2) * parts
        counts = tuple(np.bincount(place.astype("int64").clip(0, parts - 1), minlength=parts).tolist())
    return Spread(values.size, zeros, odd, low, high, mean, std, counts)
