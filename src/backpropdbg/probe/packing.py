"""Tensors as bytes, and back: every number format and stride, bit for bit. It needs no numpy, and never pickles."""

import ctypes
import math

import torch
from torch import Tensor

from backpropdbg.held import FORMATS, MOST_EXPANDED, Form, Packed


def form_of(t: Tensor) -> Form:
    """How its bytes are to be read. Of a layout that no file keeps, only dtype and shape are right."""
    dtype, shape = str(t.dtype).removeprefix("torch."), tuple(t.shape)
    if t.layout == torch.sparse_coo:
        return Form(dtype, shape, None, t.sparse_dim(), t._nnz(), t.is_coalesced())
    if t.layout != torch.strided or t.is_contiguous():
        return Form(dtype, shape)
    form = Form(dtype, shape, tuple(t.stride()))
    size = t.element_size() * math.prod(form.stored)
    return form if form.fits(size) and not _overlaps(form) else Form(dtype, shape)


def _overlaps(form: Form) -> bool:
    """True where two elements that are stored may be one in memory."""
    assert form.strides is not None
    reach = 0
    for stride, size in sorted(zip(form.strides, form.stored, strict=True)):
        if size > 1 and stride <= reach:
            return True
        reach += stride * (size - 1)
    return False


def pack(t: Tensor) -> Packed | None:
    """The tensor as bytes; None for a dtype or layout that no file keeps."""
    t = t.detach().resolve_conj().resolve_neg().cpu()
    form = form_of(t)
    if form.dtype not in FORMATS:
        return None
    if t.layout == torch.sparse_coo and form.sparse:
        return Packed(form, _bytes(t._indices()) + _bytes(t._values()))
    if t.layout != torch.strided:
        return None
    if form.strides is not None:
        t = t.as_strided(form.stored, form.strides)
    return Packed(form, _bytes(t)) if t.nbytes <= MOST_EXPANDED or t.is_contiguous() else None


def _bytes(t: Tensor) -> bytes:
    t = t.contiguous()
    return ctypes.string_at(t.data_ptr(), t.nbytes) if t.nbytes else b""


def unpack(packed: Packed) -> Tensor:
    """The tensor that was packed. The form has to fit the size of the data."""
    form, data = packed.form, packed.data
    assert form.fits(len(data))
    if form.sparse:
        cut = form.index_bytes
        indices = _tensor(data[:cut], "int64", (form.sparse, form.entries))
        values = _tensor(data[cut:], form.dtype, (form.entries, *form.shape[form.sparse :]))
        return torch.sparse_coo_tensor(
            indices, values, form.shape, is_coalesced=form.coalesced or None, check_invariants=True
        )
    t = _tensor(data, form.dtype, form.stored)
    if form.strides is None:
        return t
    laid = torch.empty_strided(form.stored, form.strides, dtype=t.dtype)
    return laid.copy_(t).expand(form.shape)


def _tensor(data: bytes | bytearray | memoryview, dtype: str, shape: tuple[int, ...]) -> Tensor:
    kind: torch.dtype = getattr(torch, dtype)
    if not data:
        return torch.empty(shape, dtype=kind)
    return torch.frombuffer(bytearray(data), dtype=torch.uint8).view(kind).view(shape)
