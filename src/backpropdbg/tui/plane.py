"""Which cell of a matrix is which element: two chosen axes of a tensor, or its first one and all others in a row."""

from collections.abc import Sequence
from math import prod

from msgspec import Struct


def flat_shape(shape: Sequence[int]) -> tuple[int, int]:
    """Return the rows and columns that the session flattens `shape` to: the first dimension, and the rest."""
    return (1, prod(shape)) if len(shape) < 2 else (shape[0], prod(shape[1:]))


def flat_index(shape: Sequence[int], element: Sequence[int]) -> int:
    """Return the position of `element` in row-major order; 0 where it does not belong to `shape`."""
    flat = 0
    if len(shape) == len(element):
        for index, size in zip(element, shape, strict=True):
            flat = flat * size + index
    return flat


def element_of(shape: Sequence[int], row: int, column: int) -> tuple[int, ...]:
    """Return the index of the element that stands at a row and column once `shape` is flattened to two dimensions."""
    if len(shape) < 2:
        return (column,) if shape else ()
    index: list[int] = []
    for size in reversed(shape[1:]):
        column, at = divmod(column, size)
        index.append(at)
    return (row, *reversed(index))


class Plane(Struct, frozen=True):
    """What a matrix shows of a tensor.

    Attributes:
        axes: of its rows and its columns; none: all of it, flattened. at: the element that gives the other indices.

    Example: `Plane((8, 4, 3), (0, 2), (5, 1, 2)).cell((5, 1, 2))` is (5, 2); its title is "[r,1,c]".
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...] = ()
    at: tuple[int, ...] = ()

    @property
    def cuts(self) -> bool:
        """True where two axes were chosen, of a tensor that has them and more."""
        return len(self.axes) == 2 and max(self.axes) < len(self.shape) > 2 and len(self.at) == len(self.shape)

    @property
    def size(self) -> tuple[int, int]:
        """How many rows and columns there are."""
        return (self.shape[self.axes[0]], self.shape[self.axes[1]]) if self.cuts else flat_shape(self.shape)

    @property
    def others(self) -> tuple[int, ...]:
        """The axes that do not show; none where all is flattened."""
        return tuple([n for n in range(len(self.shape)) if n not in self.axes]) if self.cuts else ()

    @property
    def title(self) -> str:
        """Which indices are rows (r) and columns (c); "" where all is flattened."""
        if not self.cuts:
            return ""
        letters = {self.axes[0]: "r", self.axes[1]: "c"}
        return f"[{','.join(letters.get(n, str(index)) for n, index in enumerate(self.at))}]"

    def cell(self, element: Sequence[int]) -> tuple[int, int] | None:
        """Return the row and column of an element; None where it is not in the plane."""
        if len(element) != len(self.shape):
            return None
        if not self.cuts:
            row, column = divmod(flat_index(self.shape, element), max(1, self.size[1]))
            return row, column
        inside = all(element[n] == self.at[n] for n in self.others)
        return (element[self.axes[0]], element[self.axes[1]]) if inside else None

    def element(self, row: int, column: int) -> tuple[int, ...]:
        """Return the element at a row and column."""
        if not self.cuts:
            return element_of(self.shape, row, column)
        index = list(self.at)
        index[self.axes[0]], index[self.axes[1]] = row, column
        return tuple(index)


def following(shape: Sequence[int], axes: Sequence[int]) -> tuple[int, ...]:
    """Return the axes to show after these: all pairs, then none (all is flattened)."""
    pairs = [(a, b) for a in range(len(shape)) for b in range(a + 1, len(shape))] if len(shape) > 2 else []
    ways: list[tuple[int, ...]] = [(), *pairs]
    now = tuple(axes)
    return ways[(ways.index(now) + 1) % len(ways)] if now in ways else ()
