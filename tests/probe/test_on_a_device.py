"""Tensors on a device, of which each number that is read waits for all that the device still has to do.

There is none here: tensors of the CPU are taken for such, and what would wait is counted.
"""

from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from backpropdbg.demo.dynamic_net import DynamicNet
from backpropdbg.events import BackwardUse
from backpropdbg.probe import passes
from backpropdbg.probe.hooks import Policy, Probe
from backpropdbg.probe.passes import norm_there
from backpropdbg.probe.tensors import HeldTensor
from backpropdbg.trace.history import Trace

WAITS = {"_local_scalar_dense", "equal", "is_nonzero", "_to_copy", "nonzero"}


class Waits(TorchDispatchMode):
    """Counts what would wait for a device."""

    def __init__(self):
        super().__init__()
        self.found = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.__name__.split(".")[0]
        if name in WAITS:
            self.found[name] += 1
        return func(*args, **kwargs or {})


@pytest.fixture
def far(monkeypatch):
    monkeypatch.setattr(passes, "is_near", lambda t: False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (7, 5), (3, 700_001)], ids=str)
def test_a_norm_is_taken_now_and_fetched_when_asked(far, dtype, shape):
    torch.manual_seed(0)
    t = torch.randn(shape).to(dtype)
    held, expected = HeldTensor(t), float(torch.linalg.vector_norm(t.double()))
    with Waits() as waits:
        held.drop()
    assert not waits.found and held.tensor is None
    assert held.norm() == pytest.approx(expected, rel=1e-12)
    assert held.facts().norm == held.norm()


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_squares_stay_in_range(far, scale):
    t = torch.full((5,), scale)
    assert float(norm_there(t)) == pytest.approx(float(torch.linalg.vector_norm(t.double())), rel=1e-12)


def test_doubles_are_looked_at(far):
    assert norm_there(torch.full((3,), 1e300, dtype=torch.float64)) is None


@pytest.mark.parametrize("budget", [0, 2**30])
def test_statistics_of_partials_wait_for_nothing(far, budget):
    torch.manual_seed(0)
    model, x = DynamicNet(6, 5, 4), torch.randn(3, 6)
    trace = Trace(budget)

    def sink(event):
        trace.append(event)
        if isinstance(event, BackwardUse):
            event.partial.measure()

    probe = Probe(sink, Policy(snapshots=False, bare=False, graph=False))
    probe.install()
    try:
        with Waits() as waits:
            for _ in range(3):
                model(x).sum().backward()
    finally:
        probe.remove()
    assert not waits.found
    assert all(event.partial.norm() is not None for event in trace.between(0, len(trace)) if type(event) is BackwardUse)
