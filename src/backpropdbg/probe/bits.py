"""Tensors as bits: whether two have the same ones, so NaN equals NaN, and -0 differs from 0."""

import ctypes
import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import Parameter

_INTEGER = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_PLAIN = {Tensor, Parameter}
_LONG = 2**20  # bytes from which on other threads may run meanwhile
_STRIDED = torch.strided


def _memcmp(library: Callable[..., Any]) -> Any:
    """The C library's memcmp, several times as fast as torch.equal."""
    found = library("msvcrt" if os.name == "nt" else None).memcmp
    found.argtypes, found.restype = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t), ctypes.c_int
    return found


_compare, _compare_long = _memcmp(ctypes.PyDLL), _memcmp(ctypes.CDLL)


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Compare bit for bit; both of the same shape and dtype, else False."""
    return bool(compared(a, b))


def compared(a: Tensor, b: Tensor) -> bool | Tensor:
    """What `same_bits` tells; of tensors on a device, a tensor there that will tell it: nobody waits for it yet."""
    if a.shape != b.shape or a.dtype != b.dtype or a.device != b.device or a.layout != b.layout:
        return False
    if is_plain(a) and is_plain(b):
        return not comparing(a.nbytes)(a.data_ptr(), b.data_ptr(), a.nbytes)
    if a.layout == torch.sparse_coo:
        a, b = a.coalesce(), b.coalesce()
        return torch.equal(a._indices(), b._indices()) and same_bits(a._values(), b._values())
    if a.layout != torch.strided:
        a, b = a.to_dense(), b.to_dense()
    a, b = _flat(a), _flat(b)
    words = torch.int64 if _widens(a) and _widens(b) else _INTEGER[a.element_size()]
    a, b = a.view(words), b.view(words)
    return torch.equal(a, b) if is_near(a) else a.eq(b).all()


def is_near(t: Tensor) -> bool:
    """True where reading a number of it waits for no device."""
    return t.is_cpu


def comparing(size: int) -> Any:
    """What compares so many bytes at two addresses, as memcmp does."""
    return _compare if size < _LONG else _compare_long


def words_of(t: Tensor) -> Tensor:
    """The bits of a tensor as integers in a row, as wide as they can be read."""
    flat = _flat(t if t.layout == torch.strided else t.to_dense())
    return flat.view(torch.int64 if _widens(flat) else _INTEGER[flat.element_size()])


def is_plain(t: Tensor) -> bool:
    """True where its numbers lie in memory one after the other, just as they are."""
    return not t.is_complex() and is_plain_real(t)


def is_plain_real(t: Tensor) -> bool:
    """The same of a tensor of real numbers."""
    if type(t) not in _PLAIN or not t.is_cpu or t.layout is not _STRIDED:
        return False
    return t.is_contiguous() and not t.is_neg()


def _flat(t: Tensor) -> Tensor:
    """All real numbers of a dense tensor in a row; dimensions of size 1 may have had any stride."""
    t = t.resolve_conj().resolve_neg()
    return (torch.view_as_real(t) if t.is_complex() else t).contiguous().view(-1)


def _widens(t: Tensor) -> bool:
    """True where the bits of a contiguous tensor can be read as 64-bit integers."""
    size = t.element_size()
    return t.nbytes % 8 == 0 and t.storage_offset() * size % 8 == 0
