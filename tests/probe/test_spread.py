"""What is shown of large tensors (rows, planes, pooled cells, how values are spread), against plain torch and numpy."""

import itertools
import math

import pytest
import torch

from backpropdbg.held import Facts, Spread
from backpropdbg.probe.packing import pack
from backpropdbg.probe.tensors import HeldTensor

KINDS = [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64, torch.int64, torch.bool]
INF, NAN = math.inf, math.nan


def some(dtype, shape):
    torch.manual_seed(0)
    return (3 * torch.randn(shape)).to(dtype)


def array(t):
    """The same, by numpy."""
    pytest.importorskip("numpy")
    from backpropdbg.arrays import StoredArray

    class InFile:
        kept = True

        def facts(self) -> Facts:
            return HeldTensor(t).facts()

        def load(self, make):
            return make(pack(t))

    return StoredArray(InFile())


def both(t):
    """The tensor's handle, and numpy's where it is installed."""
    yield HeldTensor(t)
    try:
        yield array(t)
    except pytest.skip.Exception:
        return


@pytest.mark.parametrize("dtype", KINDS, ids=str)
@pytest.mark.parametrize("size", [(40, 30), (41, 31), (7, 100), (1, 5)], ids=str)
def test_a_pooled_cell_is_the_strongest_of_its_block(dtype, size):
    t = some(dtype, size)
    wide = t.abs().double() if dtype.is_complex else t.double()
    for held in both(t):
        cells, down, right = held.cells(6, 5, 0, 0)
        assert (down, right) == (math.ceil(size[0] / 6), math.ceil(size[1] / 5))
        for r, row in enumerate(cells):
            for c, value in enumerate(row):
                block = wide[r * down : (r + 1) * down, c * right : (c + 1) * right]
                assert abs(value) == block.abs().max() and (block == value).any()


def test_nan_is_the_strongest_and_of_two_signs_the_positive_one():
    t = torch.zeros(4, 6)
    t[0, 0], t[0, 1], t[2, 2], t[3, 3], t[1, 4], t[0, 5] = NAN, 5, -INF, 7, -2, 2
    for held in both(t):
        cells, down, right = held.cells(2, 3, 0, 0)
        assert (down, right) == (2, 2) and math.isnan(cells[0][0])
        assert [cells[0][1:], cells[1]] == [[0, 2], [0, -INF, 0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_cosines_of_large_tensors(dtype):
    a, b = some(dtype, (300, 101)), some(dtype, (300, 101)).flip(0).contiguous()
    wanted = torch.nn.functional.cosine_similarity(a.double().flatten(), b.double().flatten(), 0).item()
    assert HeldTensor(a).cosine(HeldTensor(b)) == pytest.approx(wanted, abs=1e-6)
    assert HeldTensor(a).cosine(HeldTensor(a)) == pytest.approx(1.0, abs=1e-6)
    assert HeldTensor(a).cosine(HeldTensor(a.double())) == pytest.approx(1.0)
    if dtype == torch.float64:  # their product has left the range
        assert HeldTensor(a * 1e-170).cosine(HeldTensor(b * 1e-170)) == pytest.approx(wanted)


def test_the_largest_finite_magnitude_is_found_once_and_again():
    t = some(torch.float32, (50, 50))
    for change, wanted in ((lambda: None, t.abs().max().item()), (lambda: t[3].fill_(NAN), None)):
        change()
        held = HeldTensor(t.clone())
        expected = wanted if wanted is not None else t[t.isfinite()].abs().max().item()
        assert held.vmax() == held.vmax() == pytest.approx(expected)
    assert HeldTensor(torch.tensor([NAN])).vmax() == HeldTensor(torch.tensor([])).vmax() == 0.0


@pytest.mark.parametrize("shape", [(), (4,), (3, 5), (2, 3, 4), (2, 1, 3, 2)], ids=str)
def test_rows_and_planes_are_torchs(shape):
    t = some(torch.float32, shape)
    for held in both(t):
        row = held.row(shape[0] - 1 if shape else 0)
        assert row.shape == shape[1:] and row.wide().tolist() == (t[-1] if shape else t).tolist()
        at = tuple(size - 1 for size in shape)
        for first, second in itertools.permutations(range(len(shape)), 2):
            index = tuple(slice(None) if axis in (first, second) else n for axis, n in enumerate(at))
            wanted = t[index] if first < second else t[index].t()
            shown = held.plane((first, second), at)
            assert shown.shape == wanted.shape and shown.wide().tolist() == wanted.tolist()


@pytest.mark.parametrize("dtype", KINDS, ids=str)
def test_the_spread_is_torchs(dtype):
    t = some(dtype, (60, 50))
    t[0, :3] = 0
    wide = t.abs().double() if dtype.is_complex else t.double()
    if dtype.is_floating_point:
        t[1, :3] = torch.tensor([INF, -INF, NAN])
        wide = t.double()
    finite = wide[wide.isfinite()]
    for held in both(t):
        found = held.spread(10)
        assert (found.size, found.zeros, found.odd) == (3000, int((wide == 0).sum()), 3000 - finite.numel())
        assert (found.low, found.high) == (finite.min().item(), finite.max().item())
        assert found.mean == pytest.approx(finite.mean().item()) and found.std == pytest.approx(finite.std().item())
        edges = torch.linspace(found.low, found.high, 11, dtype=torch.float64)
        wanted = [int(((finite >= a) & (finite < b)).sum()) for a, b in itertools.pairwise(edges)]
        wanted[-1] += int((finite == found.high).sum())
        assert sum(found.counts) == finite.numel() and len(found.counts) == 10
        if dtype.is_floating_point:  # whole numbers stand on the edges
            assert list(found.counts) == wanted


def test_the_spread_of_next_to_nothing():
    for t, wanted in (
        (torch.zeros(0, 3), Spread(0, 0, 0)),
        (torch.tensor([NAN, INF]), Spread(2, 0, 2)),
        (torch.tensor(2.5), Spread(1, 0, 0, 2.5, 2.5, 2.5, None, (1,))),
        (torch.full((4,), -1.0), Spread(4, 0, 0, -1.0, -1.0, -1.0, 0.0, (4,))),
    ):
        for held in both(t):
            assert held.spread(5) == wanted
    large = torch.tensor([-1.5e308, 1.5e308], dtype=torch.float64)
    for held in both(large):
        assert held.spread(2).counts == (1, 1) and held.spread(2).mean == 0.0
