"""When an iteration ends, what is no use, and what the probe lets go."""

import gc
import os
import weakref

import oracle
import pytest
import torch
from driving import make_net, probed, seed
from torch import nn
from torch.utils.checkpoint import checkpoint

from backpropdbg.events import Accumulated, BackwardFinished, BackwardStarted, BackwardUse, ForwardUse, ManualUpdate


def kinds(events, iteration):
    return [type(e) for e in events if e.iteration == iteration]


@pytest.mark.parametrize("bare", [False, True], ids=["module", "bare tensors"])
def test_a_manual_update_ends_the_iteration_at_the_next_forward(bare):
    seed(1)
    layer = nn.Linear(3, 3)
    w = torch.randn(3, 3, requires_grad=True)
    tensors = [w] if bare else list(layer.parameters())
    with probed() as seen:
        for _ in range(3):
            x = torch.ones(2, 3)
            (x @ w if bare else layer(x)).sum().backward()
            with torch.no_grad():
                for p in tensors:
                    p -= 0.1 * p.grad
                    p.grad = None
    assert [e.iteration for e in seen.events if isinstance(e, BackwardFinished)] == [1, 2, 3]
    updates = [e for e in seen.events if isinstance(e, ManualUpdate)]
    assert [e.iteration for e in updates] == [1, 2]
    assert all(len(e.parameters) == len(tensors) for e in updates)
    for number in (1, 2, 3):
        uses = [e for e in seen.events if isinstance(e, ForwardUse) and e.iteration == number]
        assert [e.numbers for e in uses] == [(1,) * len(tensors)]
    last = updates[-1].weights[updates[-1].parameters[0]].value
    assert oracle.bits(last - 0.1 * torch.full_like(last, 2.0), tensors[0].detach())


def test_new_leaves_in_the_place_of_all_others_end_the_iteration():
    """So does `w = (w - lr * w.grad).detach().requires_grad_()`, though no weight moves."""
    seed(1)
    x, made = torch.randn(4, 3), []
    w, b = torch.randn(3, requires_grad=True), torch.zeros(1, requires_grad=True)
    with probed() as seen:
        for _ in range(3):
            made.append((w.detach(), b.detach()))
            loss = (x @ w + b).square().mean()
            loss.backward()
            w = (w - 0.1 * w.grad).detach().requires_grad_()
            b = (b - 0.1 * b.grad).detach().requires_grad_()
    assert [e.iteration for e in seen.events if isinstance(e, BackwardFinished)] == [1, 2, 3]
    updates = [e for e in seen.events if isinstance(e, ManualUpdate)]
    assert [(e.iteration, set(e.parameters), e.replaced) for e in updates] == [(n, {"w", "b"}, True) for n in (1, 2)]
    for e, (w_then, b_then) in zip(updates, made[1:], strict=True):
        assert oracle.bits(e.weights["w"].value, w_then) and oracle.bits(e.weights["b"].value, b_then)


@pytest.mark.parametrize("how", ["an optimizer", "one that stays"])
def test_new_inputs_end_no_iteration(how):
    """Where an optimizer or a parameter waits for its gradient, they are batches of one iteration."""
    seed(1)
    net = nn.Linear(3, 3)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1) if how == "an optimizer" else None
    with probed() as seen:
        for _ in range(2):
            for _ in range(3):
                x = torch.randn(4, 3, requires_grad=True)
                net(x).square().mean().backward()
            if optimizer is not None:
                optimizer.step()
            else:
                with torch.no_grad():
                    for p in net.parameters():
                        p -= 0.1 * p.grad
    assert [e.iteration for e in seen.events if isinstance(e, BackwardFinished)] == [1] * 3 + [2] * 3


def test_several_backwards_without_an_update_are_one_iteration():
    model, x, y = make_net("module", 2)
    with probed() as seen:
        for _ in range(3):
            (model(x) - y).square().sum().backward()
    assert {e.iteration for e in seen.events} == {1}
    assert [e.run for e in seen.events if isinstance(e, BackwardStarted)] == [1, 2, 3]


def test_a_forward_without_gradients_is_no_use():
    """An evaluation between two steps neither counts nor shows."""
    model, x, _ = make_net("module", 2)
    with probed() as seen:
        with torch.no_grad():
            model(x)
        model(x).sum().backward()
        with torch.no_grad():
            for _ in range(5):
                model(x)
    uses = [e for e in seen.events if isinstance(e, ForwardUse) and e.module == "middle_linear"]
    assert [e.call for e in uses] == [1, 2]
    assert seen.probe.watch.here.calls == []


def test_a_forward_that_raises_leaves_nothing_open():
    class Fails(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(2, 2)

        def forward(self, x):
            return self.linear(x[:, :1])

    model, x = Fails(), torch.ones(1, 2)
    with probed() as seen:
        for _ in range(2):
            with pytest.raises(RuntimeError):
                model(x)
        with torch.no_grad(), pytest.raises(RuntimeError):
            model(x)
        model.linear(x).sum().backward()
    assert seen.probe.watch.here.calls == [] and seen.probe.watch.here.unwatched == []
    assert [e.use.number for e in seen.events if isinstance(e, BackwardUse)] == [1, 1]


def test_each_run_of_a_nested_backward_has_its_own_number():
    """A reentrant checkpoint runs the engine once more inside the outer run."""
    layer, x = nn.Linear(3, 3), torch.randn(2, 3, requires_grad=True)
    with probed() as seen:
        checkpoint(layer, x, use_reentrant=True).sum().backward()
    assert [e.run for e in seen.events if isinstance(e, BackwardStarted)] == [1, 2]
    assert [e.run for e in seen.events if isinstance(e, BackwardFinished)] == [2, 1]
    assert {e.run for e in seen.events if isinstance(e, Accumulated) and e.parameter.startswith("leaf")} <= {1, 2}
    assert {e.run for e in seen.events if isinstance(e, BackwardUse) and "weight" in e.use.parameter} <= {2}


def test_names_keep_nothing_alive():
    """Leaves of earlier iterations, and models that were replaced, can be collected."""
    with probed() as seen:
        gone = []
        for _ in range(200):
            x = torch.randn(2, 3, requires_grad=True)
            model = nn.Linear(3, 1)
            model(x).sum().backward()
            gone.append(weakref.ref(x))
            gone.append(weakref.ref(model.weight))
            seen.events.clear()
        del x, model
        gc.collect()
        assert not [r for r in gone if r() is not None]
        seen.probe.names.of(torch.zeros(1, requires_grad=True))
        assert len(list(seen.probe.names.parameters())) == 0
        nn.Linear(3, 1)(torch.ones(1, 3)).sum().backward()
        assert len(seen.probe.watch.weights) == 2
        assert len(seen.probe.names._leaves.found) < 300


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_worker_is_not_watched():
    model, x, _ = make_net("module", 1)
    with probed() as seen:
        model(x).sum().backward()
        before = len(seen.events)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                model(x).sum().backward()
                code = 0 if len(seen.events) == before else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        model(x).sum().backward()
        assert len(seen.events) > before
