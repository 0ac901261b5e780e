"""The statistics of many small tensors at once: of each what `HeldTensor.facts` says, to the last bit."""

import math
from collections.abc import Iterator, Sequence

import torch

from backpropdbg.held import FORMATS, Facts, Packed
from backpropdbg.probe.packing import unpack
from backpropdbg.probe.passes import LARGE
from backpropdbg.probe.tensors import HeldTensor

_TOGETHER = 2**20  # bytes; what is computed from them stays in the cache


def measure(tensors: Sequence[Packed]) -> list[Facts]:
    """What is known of each, measured."""
    found: dict[int, Facts] = {}
    with torch.no_grad():
        for part in _alike(tensors):
            found.update(_measured(tensors, part))
    # The others, and those whose squares or values leave the range of a number, one by one.
    return [found[n] if n in found else HeldTensor(unpack(packed)).facts() for n, packed in enumerate(tensors)]


def _alike(tensors: Sequence[Packed]) -> Iterator[list[int]]:
    """The places of dense ones of one dtype, some at a time."""
    waiting: dict[str, list[int]] = {}
    sizes: dict[str, int] = {}
    for n, packed in enumerate(tensors):
        form, size = packed.form, len(packed.data)
        kind = FORMATS[form.dtype]
        plain = form.strides is None and not form.sparse and kind.eps > 0 and "complex" not in form.dtype
        if not plain or kind.size == 1 or not 0 < size < LARGE * kind.size:
            continue
        waiting.setdefault(form.dtype, []).append(n)
        sizes[form.dtype] = sizes.get(form.dtype, 0) + size
        if sizes[form.dtype] >= _TOGETHER:
            yield waiting.pop(form.dtype)
            del sizes[form.dtype]
    yield from waiting.values()


def _measured(tensors: Sequence[Packed], part: Sequence[int]) -> Iterator[tuple[int, Facts]]:
    dtype = getattr(torch, tensors[part[0]].form.dtype)
    data = bytearray().join([tensors[n].data for n in part])
    wide = torch.frombuffer(data, dtype=dtype).to(torch.float64)
    pieces = torch.split(wide, [len(tensors[n].data) // dtype.itemsize for n in part])
    norms = torch.stack(torch._foreach_norm(pieces)).tolist()
    largest = torch.stack(torch._foreach_norm(pieces, math.inf)).tolist()
    for n, norm, most in zip(part, norms, largest, strict=True):
        if most == 0 or (math.isfinite(most) and 1e-150 < norm < 1e150):
            yield n, Facts(tensors[n].form, norm, most, True)
