"""Runs of the engine within runs, and others beside: what each one adds to `.grad` is told of that one."""

import threading

import oracle  # noqa: F401  (imports torch quietly)
import pytest
import torch
from driving import ledger, probed, seed
from torch import nn
from torch.utils.checkpoint import checkpoint

from backpropdbg.events import Accumulated, BackwardFinished
from backpropdbg.probe.bits import same_bits
from backpropdbg.probe.hooks import Policy


@pytest.mark.parametrize("inside", [1, 2])
def test_a_reentrant_checkpoint_accumulates_within_the_outer_run(inside: int) -> None:
    """The weight is used outside and inside of the checkpoint: each accumulation belongs to one run, bit for bit."""
    seed(0)
    layer = nn.Linear(3, 3, bias=False)

    def part(x):
        for _ in range(inside):
            x = torch.tanh(layer(x))
        return x

    x = torch.randn(2, 3, requires_grad=True)
    with probed() as seen:
        layer(checkpoint(part, layer(x), use_reentrant=True)).square().sum().backward()
    written = [(e.run, e.parameter) for e in seen.events if isinstance(e, Accumulated) and e.parameter == "weight"]
    assert [run for run, _ in written] == [2, 1]
    assert ledger(seen.events, 1, "weight").written.number == 1
    runs = {run.number: run for run in ledger(seen.events, 1, "weight").runs}
    assert (len(runs[1].uses), len(runs[2].uses)) == (2, inside)
    assert runs[1].exact() is True and runs[2].exact() is True
    assert torch.equal(runs[1].grad.value, layer.weight.grad) and runs[1].carried.same_bits(runs[2].grad)


def test_threads_that_train_under_autocast_lose_no_backward() -> None:
    """Our own look at a cast in one thread hides nothing in another."""
    started = threading.Barrier(3)

    def train() -> None:
        layer = nn.Linear(4, 4)
        started.wait()
        for _ in range(30):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = layer(layer(torch.ones(2, 4))).float().square().sum()
            loss.backward()

    with probed(policy=Policy(snapshots=False, bare=False, graph=False)) as seen:
        threads = [threading.Thread(target=train) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sum(isinstance(e, BackwardFinished) for e in seen.events) == 90


@pytest.mark.parametrize("shape", [(1, 4), (4, 1), (1, 1, 6), (2, 1, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_dimensions_of_size_1_may_have_any_stride(shape, dtype) -> None:
    t = torch.randn(*shape).to(dtype).transpose(0, -1)
    other = t.clone()
    assert same_bits(t, other) and same_bits(other, t)
    other[(0,) * other.dim()] += 1
    assert not same_bits(t, other)


def test_a_forward_without_end_does_not_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backpropdbg.probe.forward._MOST", 100)
    layer = nn.Linear(1, 1)
    with probed() as seen:
        for _ in range(1000):
            layer(torch.ones(1, 1))
        loss = layer(layer(torch.ones(1, 1))).sum()
        loss.backward()
    assert len(seen.probe.forward._segments) <= 101
    (use, _) = [u for e in seen.events if hasattr(e, "uses") for u in e.uses if u.parameter == "weight"]
    assert use.call == 1001
