"""Tensors on a device, of which each number that is read waits for all that the device still has to do.

There is none here: tensors of the CPU are taken for such, and what would wait is counted.
"""

import random
from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from backpropdbg.demo.dynamic_net import DynamicNet
from backpropdbg.events import BackwardUse, GradChanged, ManualUpdate, handles
from backpropdbg.probe import bits, passes, sketches
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
        if name in WAITS or name == "stack":
            self.found[name] += 1
        return func(*args, **kwargs or {})


def far_away(monkeypatch):
    for room in (passes, bits):
        monkeypatch.setattr(room, "is_near", lambda t: False)
    monkeypatch.setattr(sketches, "is_plain", lambda t: False)
    monkeypatch.setattr(bits, "is_plain", lambda t: False)


@pytest.fixture
def far(monkeypatch):
    far_away(monkeypatch)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (7, 5), (3, 700_001)], ids=str)
def test_a_norm_is_taken_now_and_fetched_when_asked(far, dtype, shape):
    torch.manual_seed(0)
    t = torch.randn(shape).to(dtype)
    held, expected = HeldTensor(t), float(torch.linalg.vector_norm(t.double()))
    with Waits() as waits:
        held.drop()
    assert not waits.found.keys() & WAITS and held.tensor is None
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
    assert not waits.found.keys() & WAITS
    assert all(event.partial.norm() is not None for event in trace.between(0, len(trace)) if type(event) is BackwardUse)


class Loop:
    """A training loop."""

    def __init__(self):
        torch.manual_seed(0)
        self.model, self.x, self.events = DynamicNet(6, 5, 4), torch.randn(3, 6), []
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.probe = Probe(self.events.append, Policy(bare=False))

    def step(self, spoilt=None):
        """spoilt: an element that is changed by hand of a weight, past its version counter, and of a gradient."""
        random.seed(1)  # the layer is used as often each time
        self.optimizer.zero_grad()
        self.model(self.x).sum().backward()
        if spoilt is not None:
            self.model.input_linear.bias.grad[spoilt] = -0.0 if spoilt else float("nan")
        self.optimizer.step()
        if spoilt is not None:
            self.model.middle_linear.weight.data[0, spoilt] += 1

    def __enter__(self):
        self.probe.install()
        return self

    def __exit__(self, *failure):
        self.probe.remove()


def test_comparisons_wait_once_for_all_parameters(far):
    """Not for each of the 6: in a step 5 times all weights are compared, and once all gradients.

    What is stacked is then read at once, which on the CPU is no operation.
    """
    with Loop() as loop:
        loop.step()
        with Waits() as waits:
            loop.step()
    assert waits.found.keys() == {"stack"} and waits.found["stack"] <= 6


def test_what_devices_tell_is_what_the_cpu_tells(monkeypatch):
    def told():
        with Loop() as loop:
            for spoilt in range(3):
                loop.step(spoilt)
        return loop.events

    near = told()
    far_away(monkeypatch)
    far = told()
    assert [type(event) for event in far] == [type(event) for event in near]
    assert {ManualUpdate, GradChanged} <= {type(event) for event in far}
    for mine, theirs in zip(far, near, strict=True):
        assert getattr(mine, "moved", None) == getattr(theirs, "moved", None)
        assert getattr(mine, "parameters", None) == getattr(theirs, "parameters", None)
        norms = [[held.norm() for held in handles(event)] for event in (mine, theirs)]
        assert norms[0] == pytest.approx(norms[1], rel=1e-12, nan_ok=True)
