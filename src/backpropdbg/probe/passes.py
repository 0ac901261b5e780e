"""Passes over one or two tensors: norms, products, extremes; over a large one in stretches, so that it can end."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from backpropdbg.hurry import looking_up, passing
from backpropdbg.probe.bits import is_near

_BLOCK = 4096
STRETCH = 7 * _BLOCK  # fewer than torch shares out among threads, which takes longer than it saves
LARGE = 2**17  # numbers; below it one pass in float64 takes less long than blocks
MANY = 2**21  # numbers that are gone through before one looks up


def norm_of(t: Tensor) -> float:
    """Euclidean norm, of large tensors in blocks: one pass in the tensor's own dtype, summed up in float64."""
    passing(t.numel())
    if t.numel() >= LARGE and in_blocks(t):
        flat = t.detach().reshape(-1)
        whole = flat.numel() // _BLOCK * _BLOCK
        exact = None if t.element_size() > 2 else torch.float32
        parts = [_norms(some, exact) for some in many(flat[:whole])]
        parts.append(torch.linalg.vector_norm(as_wide(flat[whole:])).view(1))
        size = float(torch.linalg.vector_norm(torch.cat(parts)))
        if 1e-15 < size < 1e15:
            return size
    t = t.detach() if t.requires_grad else t
    if t.is_cpu and t.layout == torch.strided and orders(t):
        size = float(torch.linalg.vector_norm(t, dtype=torch.float64))
    else:
        size = float(torch.linalg.vector_norm(as_wide(t)))
    if t.numel() and not 1e-150 < size < 1e150:  # squares may have left the range of float64
        wide = as_wide(t)
        most = float(wide.abs().max())
        if 0 < most < math.inf:
            return most * float(torch.linalg.vector_norm(wide / most))
    return size


def norm_there(t: Tensor) -> Tensor | None:
    """The norm of a tensor that lies on a device, as a number that lies there too: nobody waits for it yet.

    None where it takes a look to be exact: on the CPU, for doubles (whose squares may overflow), and without float64.
    """
    far = not is_near(t) and t.device.type != "mps"
    if not far or t.layout != torch.strided or not orders(t) or t.element_size() > 4:
        return None
    flat = t.detach().reshape(-1)
    parts = [torch.linalg.vector_norm(some, dtype=torch.float64) for some in torch.split(flat, MANY)]
    size: Tensor = torch.linalg.vector_norm(torch.stack(parts))
    return size


def _norms(flat: Tensor, exact: torch.dtype | None) -> Tensor:
    """Norms of whole blocks, in float64."""
    sizes: Tensor = torch.linalg.vector_norm(flat.view(-1, _BLOCK), dim=1, dtype=exact)
    return sizes.to("cpu", torch.float64)


def many(flat: Tensor) -> Iterator[Tensor]:
    """The numbers of a tensor in a row, as many at a time as are gone through before one looks up."""
    for some in torch.split(flat, MANY):
        looking_up()
        yield some


def orders(t: Tensor) -> bool:
    """True where torch compares the values as they are, and no magnitude overflows."""
    return t.is_floating_point() and t.element_size() > 1


def largest(t: Tensor) -> float:
    """Largest magnitude; NaN or infinite where one is."""
    if not t.numel():
        return 0.0
    passing(t.numel())
    if t.layout == torch.strided and orders(t):
        low, high = (t.detach() if t.requires_grad else t).aminmax()
        return max(abs(float(low)), abs(float(high)))
    return float(real(t).abs().max())


def in_blocks(t: Tensor) -> bool:
    """True for a large tensor that is best added up in blocks."""
    return t.layout == torch.strided and t.is_floating_point() and t.numel() > 2 * _BLOCK and t.is_contiguous()


def product(a: Tensor, b: Tensor) -> float:
    """Scalar product of large tensors in blocks: one pass in float32 or better, summed up in float64.

    In stretches that stay in the cache, and so small that torch starts no other thread for them.
    """
    passing(a.numel())
    whole = a.numel() // _BLOCK * _BLOCK
    a, b = a.reshape(-1), b.reshape(-1)
    stretch = STRETCH if a.device.type == "cpu" else whole
    exact = torch.promote_types(torch.promote_types(a.dtype, b.dtype), torch.float32)
    products = torch.empty(stretch, dtype=exact, device=a.device)
    parts = []
    for some, others in zip(torch.split(a[:whole], stretch), torch.split(b[:whole], stretch), strict=True):
        looking_up()
        out = products[: some.numel()]
        if a.dtype == b.dtype == out.dtype:
            torch.mul(some, others, out=out)
        else:
            out.copy_(some).mul_(others)
        parts.append(out.view(-1, _BLOCK).sum(1))
    return float(torch.cat(parts).double().sum()) + float(torch.dot(as_wide(a[whole:]), as_wide(b[whole:])))


def as_wide(t: Tensor) -> Tensor:
    """The tensor on the CPU in float64 (or complex128), dense."""
    t = dense(t)
    return t.to("cpu", torch.complex128 if t.is_complex() else torch.float64)


def dense(t: Tensor) -> Tensor:
    """The tensor, as one that is not sparse."""
    t = t.detach()
    return t.to_dense() if t.layout != torch.strided else t


def real(t: Tensor) -> Tensor:
    """The tensor in float64, with magnitudes in place of complex numbers."""
    wide = as_wide(t)
    return wide.abs() if wide.is_complex() else wide
