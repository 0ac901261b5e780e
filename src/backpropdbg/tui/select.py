"""Which parameter and which element come next."""

from collections.abc import Sequence


def next_parameter(parameters: Sequence[str], focus: str, every: bool = False) -> str | None:
    """Return the parameter after `focus`: of the same module, or of all. None where there is no other.

    Example: after "lin.weight" among ("lin.weight", "lin.bias", "out.weight") comes "lin.bias".
    """
    prefix = focus.rpartition(".")[0]
    names = [name for name in parameters if every or name.rpartition(".")[0] == prefix]
    if focus not in names:
        return names[0] if names else None
    following = names[(names.index(focus) + 1) % len(names)]
    return None if following == focus else following


def along(shape: Sequence[int], element: Sequence[int], axis: int, step: int) -> tuple[int, ...] | None:
    """Return the element that is one step away along an axis, or None at the edge."""
    index = list(element)
    index[axis] += step
    return tuple(index) if 0 <= index[axis] < shape[axis] else None


def neighbour(
    shape: Sequence[int], element: Sequence[int], key: str, axes: Sequence[int] = ()
) -> tuple[int, ...] | None:
    """Return the element beside `element`, or None at the edge.

    Up and down walk the first dimension; left and right the rest, flattened, as the matrices are drawn; or each walks
    one of the axes that show.
    """
    if not shape or len(shape) != len(element):
        return None
    step = -1 if key in ("up", "left") else 1
    if len(axes) == 2:
        return along(shape, element, axes[key in ("left", "right")], step)
    index = list(element)
    if len(shape) == 1 or key in ("up", "down"):
        index[0] += step
        return tuple(index) if 0 <= index[0] < shape[0] else None
    for axis in range(len(shape) - 1, 0, -1):
        index[axis] += step
        if 0 <= index[axis] < shape[axis]:
            return tuple(index)
        index[axis] = 0 if step > 0 else shape[axis] - 1
    return None
