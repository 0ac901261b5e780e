"""Tensors as bytes, and back: every number format and stride, bit for bit. It needs no numpy, and never pickles."""

import ctypes
import math

import torch
from torch import Tensor

from backpropdbg.held import FORMATS, MOST_EXPANDED, Form, Packed

_MOST_FORMS = 1_000
_SMALL = 4096  # bytes, which are copied sooner than looked at in place
_STRIDED = torch.strided
_PLAIN: dict[tuple[torch.dtype, torch.Size], Form] = {}  # of contiguous real tensors in the memory of the CPU


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
    if t.is_cpu and t.layout is _STRIDED and t.is_contiguous() and not t.is_neg():
        kind = (t.dtype, t.shape)
        form = _PLAIN.get(kind)
        if form is not None:
            return Packed(form, _bytes(t))
        form = form_of(t)
        if form.dtype in FORMATS and not t.is_complex() and len(_PLAIN) < _MOST_FORMS:
            _PLAIN[kind] = form
    t = t.detach().resolve_conj().resolve_neg().cpu()
    form = form_of(t)
    if form.dtype not in FORMATS:
        return None
    if t.layout == torch.sparse_coo and form.sparse:
        return Packed(form, b"".join((_bytes(t._indices().contiguous()), _bytes(t._values().contiguous()))))
    if t.layout != torch.strided:
        return None
    if form.strides is not None:
        t = t.as_strided(form.stored, form.strides)
    return Packed(form, _bytes(t.contiguous())) if t.nbytes <= MOST_EXPANDED or t.is_contiguous() else None


def _bytes(t: Tensor) -> bytes | memoryview:
    """What is in its memory; of a large contiguous one that memory itself, which lives as long as this is looked at."""
    size = t.nbytes
    if size <= _SMALL:
        return ctypes.string_at(t.data_ptr(), size)
    memory = (ctypes.c_char * size).from_address(t.data_ptr())
    memory.tensor = t  # type: ignore[attr-defined]
    return memoryview(memory).cast("B")


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
    own = data if isinstance(data, bytearray) else bytearray(data)
    return torch.frombuffer(own, dtype=torch.uint8).view(kind).view(shape)
