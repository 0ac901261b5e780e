"""Handles: bits compared as bits, norms and cosines as precise as float64 has them."""

import math

import pytest
import torch

from backpropdbg.probe.bits import same_bits
from backpropdbg.probe.tensors import HeldTensor, norm_of

FLOATS = [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64]
KINDS = [*FLOATS, torch.int64, torch.bool, torch.float8_e4m3fn]
SHAPES = [(), (1,), (3,), (4,), (3, 4), (4, 3), (2, 3, 5), (0,), (0, 4)]


def some(dtype, shape):
    torch.manual_seed(0)
    return torch.randn(shape).to(dtype)


@pytest.mark.parametrize("dtype", KINDS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_copy_has_the_same_bits_wherever_it_lies(dtype, shape):
    """In memory of its own, behind another tensor (so at an odd offset), and transposed."""
    t = some(dtype, shape)
    assert same_bits(t, t.clone())
    padded = torch.empty(t.numel() + 1, dtype=dtype)
    padded[1:] = t.reshape(-1)
    behind = padded[1:].view(shape)
    assert same_bits(behind, t) and same_bits(t, behind)
    if t.dim() == 2:
        assert same_bits(t.t(), t.clone().t().contiguous())


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("shape", [s for s in SHAPES if math.prod(s)], ids=str)
def test_one_other_bit_is_seen(dtype, shape):
    t, other = some(dtype, shape), some(dtype, shape)
    flat = other.view(-1) if other.dim() else other.reshape(1)
    flat[-1] = torch.nextafter(flat[-1].float(), torch.tensor(9.0)) if dtype == torch.float32 else -flat[-1]
    assert not same_bits(t, flat.view(shape))


@pytest.mark.parametrize("size", [1, 5, 4096, 300_001])
def test_the_last_bit_of_the_last_number_is_seen(size):
    """Above a megabyte other threads may run meanwhile; the answer is the same."""
    t = torch.randn(size)
    other = t.clone()
    assert same_bits(t, other) and same_bits(t, torch.nn.Parameter(other))
    other.view(torch.int32)[-1] ^= 1
    assert not same_bits(t, other) and not same_bits(other, t)


def test_a_lazily_negated_tensor_is_compared_by_its_values():
    lazy = torch._neg_view(torch.ones(3))
    assert lazy.is_neg() and lazy.is_contiguous()
    assert same_bits(lazy, torch.full((3,), -1.0)) and not same_bits(lazy, torch.ones(3))


def test_zero_has_a_sign_and_nan_equals_itself():
    nan = float("nan")
    assert same_bits(torch.tensor([nan, 1.0]), torch.tensor([nan, 1.0]))
    assert not same_bits(torch.tensor([0.0]), torch.tensor([-0.0]))
    assert not same_bits(torch.zeros(2), torch.zeros(2, dtype=torch.float64))
    assert not same_bits(torch.zeros(2), torch.zeros(2, 1))


def test_sparse_tensors_are_compared_by_what_they_hold():
    def sparse(*values):
        return torch.sparse_coo_tensor(torch.tensor([[0, 2]]), torch.tensor(values), (4,))

    assert same_bits(sparse(1.0, 2.0), sparse(1.0, 2.0))
    assert not same_bits(sparse(1.0, 2.0), sparse(1.0, 3.0))
    assert not same_bits(sparse(1.0, 2.0), sparse(1.0, 2.0).to_dense())


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("size", [1, 100, 30_000])
@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_norm(dtype, size, scale):
    torch.manual_seed(size)
    t = (torch.randn(size) * scale).to(dtype)
    wide = t.to(torch.complex128 if dtype.is_complex else torch.float64)
    assert norm_of(t) == pytest.approx(float(torch.linalg.vector_norm(wide)), rel=1e-6)


def test_norms_and_cosines_at_the_ends_of_the_range():
    big, small = (HeldTensor(torch.full((3,), x, dtype=torch.float64)) for x in (1e300, 1e-300))
    assert big.norm() == pytest.approx(3**0.5 * 1e300) and small.norm() == pytest.approx(3**0.5 * 1e-300)
    assert big.cosine(small) == pytest.approx(1.0)
    assert big.cosine(HeldTensor(torch.zeros(3))) is None
    assert HeldTensor(torch.tensor([float("inf")])).cosine(big) is None


@pytest.mark.parametrize(
    "dtypes", [(torch.float32, torch.float64), (torch.float32,) * 2, (torch.bfloat16,) * 2], ids=str
)
def test_cosines_and_differences_of_large_tensors(dtypes):
    """They are computed some elements at a time, and the last stretch is a shorter one."""
    torch.manual_seed(0)
    a, b = torch.randn(3, 40_001).to(dtypes[0]), torch.randn(3, 40_001).to(dtypes[1])
    wide = a.double().flatten(), b.double().flatten()
    cosine = torch.dot(*wide) / (wide[0].norm() * wide[1].norm())
    assert HeldTensor(a).cosine(HeldTensor(b)) == pytest.approx(cosine.item(), rel=1e-5)
    assert torch.equal(HeldTensor(a).minus(HeldTensor(b)).value, a.double() - b.double())


def test_complex_numbers_keep_their_direction():
    x = torch.tensor([3 + 4j, -1j], dtype=torch.complex64)
    held, other = HeldTensor(x), HeldTensor(-x)
    assert held.cosine(other) == pytest.approx(-1.0)
    assert held.minus(other).norm() == pytest.approx(2 * math.sqrt(26))
    assert held.cells(2, 2, 0, 0)[0] == [[5.0, 1.0]] and held.vmax() == 5.0


def test_a_sum_of_what_requires_a_gradient_is_in_no_graph():
    """And makes no node: the program's own are numbered as without us."""
    a, b = (some(torch.float32, (3, 4)).requires_grad_(needs) for needs in (True, False))
    for mine, theirs in ((a, b), (b, a), (a, a), (b, b)):
        before = torch._C._autograd._get_sequence_nr()
        total = HeldTensor(mine).plus(HeldTensor(theirs)).value
        assert not total.requires_grad and same_bits(total, (mine + theirs).detach())
        assert torch._C._autograd._get_sequence_nr() - before == (mine.requires_grad or theirs.requires_grad)
