"""The values of a large tensor in few numbers: the strongest of each block, and how they are spread."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from backpropdbg.held import Spread

_CHUNK = 2**20


def pooled(t: Tensor, row_step: int, col_step: int) -> Tensor:
    """Keep the value of largest magnitude of each row_step x col_step block; NaN counts as the largest."""
    strongest: list[Tensor] = []
    for start, end, step in _edges(t.shape[0], row_step):
        parts = [
            _strongest(t[start:end, left:right], step, width) for left, right, width in _edges(t.shape[1], col_step)
        ]
        strongest.append(torch.cat(parts, 1))
    return torch.cat(strongest)


def _edges(size: int, step: int) -> Iterator[tuple[int, int, int]]:
    """Where the whole blocks are, and what is left behind them, each with its step."""
    whole = size // step * step
    if whole:
        yield 0, whole, step
    if whole < size:
        yield whole, size, size - whole


def _strongest(t: Tensor, rows: int, cols: int) -> Tensor:
    """The same where every block is whole."""
    blocks = t.view(t.shape[0] // rows, rows, t.shape[1] // cols, cols)
    high, low = blocks.amax((1, 3)), blocks.amin((1, 3))  # both are NaN where one value is
    return torch.where(low.abs() > high.abs(), low, high)


def spread_of(t: Tensor, parts: int) -> Spread:
    """How the values are spread, in two passes over a little at a time."""
    zeros = finite = 0
    low, high, total = math.inf, -math.inf, 0.0
    for some in _chunks(t):
        zeros += int((some == 0).sum())
        some = some[torch.isfinite(some)]
        if some.numel():
            finite += some.numel()
            low, high = min(low, float(some.min())), max(high, float(some.max()))
            total += float((some / t.numel()).sum())
    if not finite:
        return Spread(t.numel(), zeros, t.numel() - finite)
    mean = total * (t.numel() / finite)
    squares = 0.0
    counts = torch.zeros(parts if low < high else 1, dtype=torch.int64)
    for some in _chunks(t):
        some = some[torch.isfinite(some)]
        squares += float((some - mean).square().sum())
        if low < high:
            place = (some / 2 - low / 2) / (high / 2 - low / 2) * parts
            counts += torch.bincount(place.long().clamp(0, parts - 1), minlength=parts)
    std = math.sqrt(squares / (finite - 1)) if finite > 1 else None
    found = tuple(counts.tolist()) if low < high else (finite,)
    return Spread(t.numel(), zeros, t.numel() - finite, low, high, mean, std, found)


def _chunks(t: Tensor) -> Iterator[Tensor]:
    """All values in float64, some at a time."""
    flat = t.detach().reshape(-1)
    for start in range(0, flat.numel(), _CHUNK):
        some = flat[start : start + _CHUNK].cpu()
        yield some.to(torch.complex128).abs() if some.is_complex() else some.double()
