"""Every dtype and layout comes back from a file bit for bit; with numpy in torch's place it reads the same."""

import math
from typing import Any

import msgspec
import pytest
import torch

from backpropdbg.held import FORMATS, MOST_EXPANDED, Facts, Form, Packed
from backpropdbg.probe.bits import same_bits
from backpropdbg.probe.measuring import measure
from backpropdbg.probe.packing import form_of, pack, unpack
from backpropdbg.probe.tensors import HeldTensor

DTYPES = [getattr(torch, name) for name in FORMATS if hasattr(torch, name)]


def all_bits(dtype: torch.dtype) -> torch.Tensor:
    """A matrix [16, 16] with patterns of every kind, NaNs among them; of one byte all 256."""
    size = dtype.itemsize
    torch.manual_seed(1)
    raw = torch.randint(0, 256, (256, size), dtype=torch.uint8)
    raw[:, -1] = torch.arange(256)
    if dtype is torch.bool:
        raw = raw % 2
    return raw.view(dtype).reshape(16, 16)


def back(t: torch.Tensor) -> torch.Tensor:
    packed = pack(t)
    assert packed is not None and packed.form.fits(len(packed.data))
    form = msgspec.msgpack.decode(msgspec.msgpack.encode(packed.form), type=Form)
    return unpack(Packed(form, bytes(packed.data)))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_comes_back_bit_for_bit(dtype):
    t = all_bits(dtype)
    for shown in (t, t.t(), t[:, 3:7], t[0], t[0, 0], t[:0], t[None].expand(3, 16, 16), t.t()[::2]):
        again = back(shown)
        assert again.dtype == dtype and same_bits(again.contiguous(), shown.contiguous())


def test_formats_are_what_torch_says():
    for name, known in FORMATS.items():
        dtype = getattr(torch, name)
        assert dtype.itemsize == known.size
        if dtype.is_floating_point or dtype.is_complex:
            told = torch.finfo(dtype)
            assert (known.eps, known.tiny) == (told.eps, told.tiny), name
        else:
            assert known.eps == known.tiny == 0


@pytest.mark.parametrize(
    "t",
    [
        torch.randn(6, 4).t(),
        torch.randn(1, 4).expand(6, 4),
        torch.randn(()).expand(6, 4),
        torch.randn(6, 8)[:, :4],
        torch.randn(2, 3, 4).permute(2, 0, 1),
        torch.randn(4, 6)[::2],
        torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    ],
    ids=str,
)
def test_strides_come_back_too(t):
    """A sum over elements in another order has other last bits."""
    assert back(t).stride() == t.stride()


def test_an_expanded_tensor_takes_no_room():
    packed = pack(torch.ones(1, 1).expand(1000, 1000))
    assert packed is not None and len(packed.data) == 4


def test_elements_that_share_memory_are_stored_apart():
    t = torch.arange(10.0).unfold(0, 4, 1)
    assert back(t).equal(t) and back(t).is_contiguous()


def test_conjugates_and_negatives_are_stored_as_what_they_show():
    z = torch.randn(3, 3, dtype=torch.complex64)
    for shown in (z.conj(), z.conj().imag, z.mT.conj()):
        assert back(shown).equal(shown)


@pytest.mark.parametrize("coalesced", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.complex64, torch.int64], ids=str)
def test_sparse_tensors_come_back(dtype, coalesced):
    indices = torch.tensor([[0, 2, 2], [1, 0, 0]])
    t = torch.sparse_coo_tensor(indices, torch.ones(3, 5).to(dtype), (4, 3, 5))
    t = t.coalesce() if coalesced else t
    again = back(t)
    assert (again.is_coalesced(), again._nnz(), again.shape) == (coalesced, t._nnz(), t.shape)
    assert again._indices().equal(t._indices()) and again._values().equal(t._values())


def test_what_no_file_keeps_is_not_packed():
    for t in (torch.eye(3).to_sparse_csr(), torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)):
        assert pack(t) is None
        assert form_of(t).shape == tuple(t.shape)


@pytest.mark.parametrize(
    ("form", "size"),
    [
        (Form("float32", (2, 3)), 23),
        (Form("float32", (-1,)), 4),
        (Form("float31", (1,)), 4),
        (Form("float32", (2**40, 2**40)), 2**40),
        (Form("float32", (2**30, 2**10), (0, 0)), 4),
        (Form("float32", (2, 2), (2**40, 1)), 16),
        (Form("float32", (2, 2), (-1, 1)), 16),
        (Form("float32", (2, 2), (1,)), 16),
        (Form("float32", (2,) * 65), 4),
        (Form("float32", (2**40, 4), None, 1, 1), 8 + 16),
        (Form("float32", (2, 2), None, 3, 1), 28),
        (Form("float32", (2, 2), None, 2, -1), 20),
    ],
    ids=str,
)
def test_a_form_that_its_bytes_do_not_make_is_known_before_anything_is_allocated(form, size):
    assert not form.fits(size)


def test_what_is_larger_in_memory_than_in_the_file_has_a_limit():
    n = MOST_EXPANDED // 4
    assert Form("float32", (n,), (0,)).fits(4) and not Form("float32", (n + 1,), (0,)).fits(4)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_facts_are_torchs(dtype):
    t = all_bits(dtype)
    wide = t.to(torch.complex128 if dtype.is_complex else torch.float64)
    facts = HeldTensor(t).facts()
    assert facts.form == Form(str(dtype).removeprefix("torch."), (16, 16))
    assert facts.finite == bool(torch.isfinite(wide).all())
    if facts.finite:
        assert facts.norm == pytest.approx(math.hypot(*wide.abs().flatten().tolist()), rel=1e-6)
    finite = wide.abs()[torch.isfinite(wide.abs())]
    assert facts.vmax == finite.max().item()


def test_many_tensors_measured_together_have_the_facts_of_each():
    """To the last bit: of every dtype and layout, of what is not finite, too large to be squared, zero or empty."""
    torch.manual_seed(2)
    tensors = [t for dtype in DTYPES for t in (all_bits(dtype), all_bits(dtype).t(), all_bits(dtype)[:0])]
    tensors += [torch.randn(n).to(kind) for n in (1, 7, 999, 2**17) for kind in (torch.float32, torch.bfloat16)]
    tensors += [torch.randn(9).double() * size for size in (0.0, -0.0, 1e-200, 1e200, math.inf, math.nan)]
    packed = [pack(t) for t in tensors]
    for t, mine in zip(tensors, measure(packed), strict=True):
        assert repr(mine) == repr(HeldTensor(t).facts())  # NaN is no equal of NaN
        if t.numel() < 2**17 and t.is_floating_point() and mine.finite and 1e-100 < mine.norm < 1e100:
            assert mine.norm == torch.linalg.vector_norm(t.double()).item()
            assert mine.vmax == t.double().abs().max().item()


# -- numpy in torch's place ------------------------------------------------------------------------


class Fake:
    """A tensor in a file."""

    kept = True

    def __init__(self, t: torch.Tensor) -> None:
        self._facts, self._packed = HeldTensor(t).facts(), pack(t)

    def facts(self) -> Facts:
        return self._facts

    def pack(self) -> Any:
        return self._packed

    def load(self, make: Any) -> Any:
        return make(self._packed)


def array(t: torch.Tensor) -> Any:
    pytest.importorskip("numpy")
    from backpropdbg.arrays import StoredArray

    return StoredArray(Fake(t))


def numbers(values: Any) -> list[Any]:
    """NaN as a word, so that lists compare."""
    flat = values if isinstance(values, list) else values.reshape(-1).tolist()
    return ["NaN" if isinstance(v, float) and math.isnan(v) else v for v in flat]


FLOATS = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2]


@pytest.mark.parametrize("dtype", [*FLOATS, torch.int32, torch.bool, torch.int8, torch.uint8], ids=str)
def test_an_array_shows_what_the_tensor_shows(dtype):
    t = all_bits(dtype)
    a, held = array(t), HeldTensor(t)
    assert (a.shape, a.dtype, a.eps, a.nbytes) == (held.shape, held.dtype, held.eps, held.nbytes)
    assert numbers(a.wide()) == numbers(held.wide())
    assert (a.vmax(), a.finite()) == (held.vmax(), held.finite())
    for window in ((4, 4, 0, 0), (3, 16, 5, 2), (20, 20, 0, 0)):
        for pool in (True, False):
            mine, theirs = a.cells(*window, pool), held.cells(*window, pool)
            assert [numbers(row) for row in mine[0]] == [numbers(row) for row in theirs[0]]
            assert mine[1:] == theirs[1:]
    assert numbers([a.at((3, 4))]) == numbers([held.at((3, 4))])
    assert a.same_bits(array(t.clone())) and not a.same_bits(array(t.t().contiguous()))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_arrays_add_as_the_engine_does(dtype):
    """Bit for bit, with rounding to the nearest even."""
    torch.manual_seed(0)
    a, b = torch.randn(64, 64).to(dtype), (10 * torch.randn(64, 64)).to(dtype)
    b[0, :3] = torch.tensor([math.inf, -math.inf, math.nan])
    total = array(a).plus(array(b))
    assert total.dtype == str(dtype).removeprefix("torch.")
    assert numbers(total.wide()) == numbers((a + b).double())
    assert numbers(array(a).minus(array(b)).wide()) == numbers(a.double() - b.double())


def test_a_sum_of_arrays_goes_on_as_one():
    a = torch.randn(5, 5).bfloat16()
    total = array(a).plus(array(a)).plus(array(a))
    assert numbers(total.wide()) == numbers(((a + a) + a).double())
    assert total.norm() == pytest.approx((a + a + a).double().norm().item())


def test_a_sparse_array_is_its_dense_one():
    t = torch.sparse_coo_tensor(torch.tensor([[0, 2, 2]]), torch.tensor([1.0, 2.0, 3.0]), (4,))
    assert array(t).wide().tolist() == t.to_dense().tolist()


def test_cosines_of_arrays():
    a, b = torch.randn(30), torch.randn(30)
    cosine = array(a).cosine(array(b))
    assert cosine == pytest.approx(torch.nn.functional.cosine_similarity(a.double(), b.double(), 0).item(), rel=1e-12)
    assert array(a).cosine(array(torch.zeros(30))) is None
