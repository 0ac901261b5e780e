"""What an event keeps of a tensor: a handle; and the bytes and facts that a file keeps. It imports no torch."""

import math
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from msgspec import Struct

T = TypeVar("T")
MOST_DIMENSIONS = 64
MOST_EXPANDED = 2**30  # bytes of a tensor that is larger in memory than in the file
_MOST_ELEMENTS = 2**48


class Format(Struct, frozen=True):
    """A number format of torch's.

    Attributes:
        size: bytes of one number. eps, tiny: as torch.finfo gives them; 0 for whole numbers.
    """

    size: int
    eps: float = 0.0
    tiny: float = 0.0


FORMATS = {
    "float64": Format(8, 2.0**-52, 2.0**-1022),
    "float32": Format(4, 2.0**-23, 2.0**-126),
    "float16": Format(2, 2.0**-10, 2.0**-14),
    "bfloat16": Format(2, 2.0**-7, 2.0**-126),
    "float8_e4m3fn": Format(1, 2.0**-3, 2.0**-6),
    "float8_e5m2": Format(1, 2.0**-2, 2.0**-14),
    "complex128": Format(16, 2.0**-52, 2.0**-1022),
    "complex64": Format(8, 2.0**-23, 2.0**-126),
    "complex32": Format(4, 2.0**-10, 2.0**-14),
    **{name: Format(8) for name in ("int64", "uint64")},
    **{name: Format(4) for name in ("int32", "uint32")},
    **{name: Format(2) for name in ("int16", "uint16")},
    **{name: Format(1) for name in ("int8", "uint8", "bool")},
}


class Form(Struct, frozen=True, omit_defaults=True):
    """How the bytes of a tensor are to be read.

    Attributes:
        dtype: torch's name of it, e.g. "bfloat16". shape: sizes of its dimensions.
        strides: in elements, where it is not contiguous. Of a dimension with stride 0 one element is stored.
        sparse: how many dimensions the indices of a COO tensor span; 0 for a dense tensor. entries: how many it has.
        coalesced: its entries are sorted, each once.
    """

    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None = None
    sparse: int = 0
    entries: int = 0
    coalesced: bool = False

    @property
    def stored(self) -> tuple[int, ...]:
        """The shape of what is stored of a dense tensor."""
        if self.strides is None:
            return self.shape
        return tuple([1 if stride == 0 else size for size, stride in zip(self.shape, self.strides, strict=True)])

    @property
    def nbytes(self) -> int:
        """Bytes in memory; of a sparse tensor, those of its values."""
        size = FORMATS[self.dtype].size if self.dtype in FORMATS else 0
        return size * (self.entries * math.prod(self.shape[self.sparse :]) if self.sparse else math.prod(self.shape))

    @property
    def index_bytes(self) -> int:
        """Bytes of the indices, which come first, as int64 [sparse, entries]."""
        return 8 * self.sparse * self.entries

    def fits(self, size: int) -> bool:
        """True where `size` bytes make such a tensor, and it is not much larger in memory than that."""
        if self.dtype not in FORMATS or len(self.shape) > MOST_DIMENSIONS or min(self.shape, default=0) < 0:
            return False
        one, elements = FORMATS[self.dtype].size, math.prod(self.shape)
        if elements > _MOST_ELEMENTS or not 0 <= self.sparse <= len(self.shape) or self.entries < 0:
            return False
        if self.sparse:
            small = one * elements <= max(MOST_EXPANDED, size)
            return small and self.strides is None and size == self.index_bytes + self.nbytes
        if self.strides is None:
            return size == one * elements
        if len(self.strides) != len(self.shape) or min(self.strides, default=0) < 0:
            return False
        reach = 1 + sum((n - 1) * stride for n, stride in zip(self.shape, self.strides, strict=True) if n)
        room = one * max(elements, reach)
        return size == one * math.prod(self.stored) and room <= max(MOST_EXPANDED, size)


class Packed(Struct, frozen=True):
    """A tensor as bytes."""

    form: Form
    data: bytes | bytearray | memoryview


class Facts(Struct, frozen=True, omit_defaults=True):
    """What is known of a tensor whose bytes may be gone; None where nobody measured.

    Attributes:
        norm: Euclidean. vmax: largest finite magnitude. finite: no element is NaN or infinite.
    """

    form: Form
    norm: float | None = None
    vmax: float | None = None
    finite: bool | None = None


class Spread(Struct, frozen=True):
    """How the values of a tensor are spread; of complex ones, their magnitudes.

    Attributes:
        size, zeros, odd: how many values there are, how many of them are zero, and NaN or infinite.
        low, high, mean, std: of the finite ones; None where there are none (for std: less than two).
        counts: how many finite values lie in each of as many equal parts of low .. high; one part where low is high.
    """

    size: int
    zeros: int
    odd: int
    low: float | None = None
    high: float | None = None
    mean: float | None = None
    std: float | None = None
    counts: tuple[int, ...] = ()


class Stored(Protocol):
    """A tensor in a file."""

    @property
    def kept(self) -> bool:
        """True while the file has its bytes."""

    def facts(self) -> Facts:
        """What is known of it."""

    def pack(self) -> Packed | None:
        """Its bytes; None where they are gone."""

    def load(self, make: Callable[[Packed], T]) -> T | None:
        """The tensor that `make` makes of its bytes; None where they are gone. A little is remembered."""


def pooling(shape: tuple[int, ...], rows: int, cols: int) -> tuple[int, int]:
    """How many rows and columns of a matrix one cell stands for, where only rows x cols have room."""
    row_step, col_step = (max(1, math.ceil(n / room)) for n, room in zip(shape, (rows, cols), strict=True))
    return row_step, col_step


def cut(axes: tuple[int, int], at: tuple[int, ...]) -> tuple[int | slice, ...]:
    """The index that leaves two axes whole."""
    return tuple([slice(None) if axis in axes else index for axis, index in enumerate(at)])


class Held:
    """A tensor that was kept, or only its statistics once the budget let it go.

    Attributes:
        in_memory: True until it was let go; False from the start for one that is let go as soon as it was shown.
        stored: where a file has it too. What was let go comes back from there when asked for.
        shown: how many events show it, of those that a history has not passed by while it let tensors go.
        sum_so_far: of a partial that was let go within the newest backward: it and all before it, added up.
    """

    __slots__ = ("__weakref__", "in_memory", "shown", "stored", "sum_so_far")
    in_memory: bool
    shown: int
    stored: Stored | None
    sum_so_far: "Held | None"

    @property
    def nbytes(self) -> int:
        """Of the tensor in memory."""
        raise NotImplementedError

    @property
    def dtype(self) -> str:
        """torch's name of it, e.g. "float32"."""
        raise NotImplementedError

    @property
    def eps(self) -> float:
        """The distance from 1 to the next number of its dtype; 0 for whole numbers, or once it was let go."""
        raise NotImplementedError

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of its dimensions."""
        raise NotImplementedError

    @property
    def kept(self) -> bool:
        """False once the tensor was let go, and no file has it; then only `norm` still answers."""
        raise NotImplementedError

    @property
    def value(self) -> object:
        """The tensor itself, for expressions; None where it is not kept."""
        raise NotImplementedError

    def norm(self) -> float | None:
        """Euclidean norm of the whole tensor; None where it was let go unmeasured."""
        raise NotImplementedError

    def measure(self) -> None:
        """Take the norm now; of a tensor on a device `norm` waits for it, when somebody asks."""
        self.norm()

    def cosine(self, other: "Held") -> float | None:
        """Cosine of the angle to `other`; None where either is zero, not finite or not kept."""
        if not (self.kept and other.kept):
            return None
        mine, theirs = self.norm() or 0.0, other.norm() or 0.0
        if mine == 0 or theirs == 0 or not (math.isfinite(mine) and math.isfinite(theirs)):
            return None
        products = (self.wide() / mine) * (other.wide().conj() / theirs)
        return max(-1.0, min(1.0, float(products.sum().real)))

    def plus(self, other: "Held") -> "Held":
        """`self + other`, in the dtype and with the operation that the engine uses."""
        raise NotImplementedError

    def minus(self, other: "Held") -> "Held":
        """`self - other`, in float64."""
        mine, theirs = self.pieces(), other.pieces()
        if len(mine) == 1 or self.shape != other.shape or len(mine) != len(theirs):
            return self.made(self.wide() - other.wide())
        room, filled = None, 0
        for some, others in zip(mine, theirs, strict=True):
            less = some.wide() - others.wide()
            room = self.room(less) if room is None else room
            room[filled : filled + less.shape[0]] = less
            filled += less.shape[0]
        assert room is not None
        return self.made(room.reshape(self.shape))

    def distance(self, other: "Held") -> float:
        """Euclidean norm of the difference."""
        return self.minus(other).norm() or 0.0

    def same_bits(self, other: "Held") -> bool:
        """True where every bit agrees (so NaN equals NaN, and -0 differs from 0)."""
        raise NotImplementedError

    def at(self, index: tuple[int, ...]) -> float:
        """One element."""
        raise NotImplementedError

    def vmax(self) -> float:
        """Largest finite magnitude, 0.0 where there is none."""
        raise NotImplementedError

    def finite(self) -> bool:
        """True where no element is NaN or infinite."""
        raise NotImplementedError

    def cells(
        self, rows: int, cols: int, row0: int, col0: int, pool: bool = True
    ) -> tuple[list[list[float]], int, int]:
        """Return at most rows x cols values from (row0, col0) on, with the row and column step of the pooling.

        pool: fit all the rest in, each cell the value of largest magnitude of its block (of two as large the positive
            one); else cut.
        """
        raise NotImplementedError

    def row(self, index: int) -> "Held":
        """What stands at `index` of its first dimension: one output unit of a weight; a scalar is its own row."""
        raise NotImplementedError

    def plane(self, axes: tuple[int, int], at: tuple[int, ...]) -> "Held":
        """The matrix whose rows and columns are these two axes; the other indices are those of `at`."""
        raise NotImplementedError

    def spread(self, parts: int) -> Spread:
        """How its values are spread."""
        raise NotImplementedError

    def fold(self, before: "Held | None", measure: bool = True) -> "Held":
        """Let the tensor go, and keep in `sum_so_far` what it adds up to with `before`; return that."""
        raise NotImplementedError

    def drop(self, measure: bool = True) -> None:
        """Let the tensor go; measure: compute its norm first."""
        raise NotImplementedError

    def wide(self) -> Any:
        """The values in float64 (or complex128), as a dense array of torch's or numpy's."""
        raise NotImplementedError

    def zeros(self) -> Any:
        """Zeros of the shape and kind that `wide` gives."""
        raise NotImplementedError

    def made(self, values: Any) -> "Held":
        """A handle of this kind on what was computed from `wide`."""
        raise NotImplementedError

    def pieces(self) -> "list[Held]":
        """Itself; of a large tensor its elements in a row, some at a time."""
        return [self]

    def room(self, like: Any) -> Any:
        """An array for what is computed from each of its pieces in turn; like: of the first one."""
        raise NotImplementedError

    def facts(self, measure: bool = True) -> Facts:
        """What is left of it without its bytes; measure: norm, largest magnitude and whether it is finite."""
        raise NotImplementedError

    def pack(self) -> Packed | None:
        """Its bytes, for a file; None where it is not in memory, or of a layout that no file keeps."""
        raise NotImplementedError
