"""Uses are counted through the iteration: `param#N` is the N-th edge that its backwards reach."""

import threading

import oracle  # noqa: F401  (imports torch quietly)
import torch
from driving import partials, probed, seed
from torch import nn
from torch.utils.checkpoint import checkpoint

from backpropdbg.events import BackwardStarted, BackwardUse, ForwardUse
from backpropdbg.probe import numbers


def numbered(events, name="weight"):
    """The number, place and total of each use, by run."""
    started = [e for e in events if isinstance(e, BackwardStarted)]
    return [[(u.number, u.place, u.total) for u in e.uses if u.parameter == name] for e in started]


def test_accumulation_goes_on_counting_as_the_forward_does():
    seed(0)
    layer, xs = nn.Linear(3, 3, bias=False), torch.randn(3, 2, 3)
    with probed() as seen:
        for x in xs:
            layer(torch.tanh(layer(x))).sum().backward()
    assert numbered(seen.events) == [[(1, 1, 2), (2, 2, 2)], [(3, 1, 2), (4, 2, 2)], [(5, 1, 2), (6, 2, 2)]]
    forward = {e.index: e.numbers for e in seen.events if isinstance(e, ForwardUse)}
    arrived = [e.use for e in seen.events if isinstance(e, BackwardUse)]
    assert [forward[use.index] for use in arrived] == [(use.number,) for use in arrived]
    for run, x in enumerate(xs, 1):
        one, two = (layer.weight.detach().clone().requires_grad_() for _ in range(2))
        first, second = torch.autograd.grad((torch.tanh(x @ one.t()) @ two.t()).sum(), (one, two))
        for (_, partial), plain in zip(partials(seen.events, 1, "weight", run), (second, first), strict=True):
            assert torch.equal(partial, plain)


def test_the_next_iteration_counts_from_1():
    layer = nn.Linear(2, 1, bias=False)
    stepper = torch.optim.SGD(layer.parameters(), lr=0.1)
    with probed() as seen:
        for _ in range(2):
            for _ in range(2):
                layer(torch.ones(1, 2)).sum().backward()
            stepper.step()
    assert [run[0][0] for run in numbered(seen.events)] == [1, 2, 1, 2]


def test_a_node_that_fires_again_keeps_its_number():
    layer, x = nn.Linear(2, 2, bias=False), torch.ones(1, 2)
    with probed() as seen:
        one, two = layer(x).sum(), layer(2 * x).sum()
        two.backward(retain_graph=True)
        (one + two).backward(retain_graph=True)
        one.backward()
    # What the first backward reached is #1, though another use was made before it.
    assert numbered(seen.events) == [[(1, 1, 1)], [(2, 1, 2), (1, 2, 2)], [(2, 1, 1)]]
    fired = {run: partials(seen.events, 1, "weight", run) for run in (1, 2, 3)}
    assert [[number for number, _ in of] for of in fired.values()] == [[1], [1, 2], [2]]
    assert torch.equal(fired[1][0][1], fired[2][0][1]) and torch.equal(fired[2][1][1], fired[3][0][1])


def test_a_gradient_of_a_gradient_keeps_those_of_the_forward():
    """The outer graph holds the inner one's node of the forward, and uses that the inner backward itself made."""
    w, x = torch.tensor([2.0], requires_grad=True), torch.tensor([3.0], requires_grad=True)
    with probed() as seen:
        out = w * x
        (slope,) = torch.autograd.grad(out, x, create_graph=True)  # w, made in backward
        (out + slope.square()).backward()
    inner, outer = numbered(seen.events, "w")
    assert [number for number, _, _ in inner] == [1] and sorted(number for number, _, _ in outer) == [1, 2]
    found = dict(partials(seen.events, 1, "w", 2))
    assert (found[1].item(), found[2].item()) == (3.0, 4.0)  # d out / dw = x;  d slope^2 / dw = 2 w


def test_a_gan_counts_anew_after_each_step():
    g, d = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    steppers = [torch.optim.SGD(net.parameters(), lr=0.1) for net in (d, g)]
    with probed() as seen:
        for _ in range(2):
            fake = g(torch.ones(1, 1))
            (d(torch.ones(1, 1)) - d(fake.detach())).sum().backward()
            steppers[0].step()
            d(fake).sum().backward()
            steppers[1].step()
    assert numbered(seen.events, seen.probe.names.of(d.weight)) == [[(1, 1, 2), (2, 2, 2)], [(1, 1, 1)]] * 2
    assert numbered(seen.events, seen.probe.names.of(g.weight)) == [[], [(1, 1, 1)]] * 2


def test_lbfgs_counts_on_through_its_closure():
    layer = nn.Linear(2, 1, bias=False)
    stepper = torch.optim.LBFGS(layer.parameters(), max_iter=4)

    def closure():
        stepper.zero_grad()
        loss = (layer(torch.ones(1, 2)) - 1).square().sum()
        loss.backward()
        return loss

    with probed() as seen:
        stepper.step(closure)
    runs = numbered(seen.events)
    assert len(runs) > 1 and runs == [[(n, 1, 1)] for n in range(1, len(runs) + 1)]
    forward = [e.numbers for e in seen.events if isinstance(e, ForwardUse)]
    assert forward == [(n,) for n in range(1, len(runs) + 1)]


def test_runs_within_a_run_go_on_counting():
    layer, x = nn.Linear(2, 2, bias=False), torch.ones(1, 2, requires_grad=True)
    with probed() as seen:
        layer(checkpoint(layer, checkpoint(layer, x, use_reentrant=True), use_reentrant=True)).sum().backward()
    assert numbered(seen.events) == [[(1, 1, 1)], [(2, 1, 1)], [(3, 1, 1)]]


def test_threads_do_not_take_each_others_nodes_for_their_own():
    layer = nn.Linear(2, 1, bias=False)
    with probed() as seen:
        for _ in range(2):  # one after the other: sequence numbers begin anew in each thread
            thread = threading.Thread(target=lambda: layer(torch.ones(1, 2)).sum().backward())
            thread.start()
            thread.join()
    assert [run[0][0] for run in numbered(seen.events)] == [1, 2]


def test_an_iteration_without_end_is_bounded(monkeypatch):
    monkeypatch.setattr(numbers, "_MOST", 4)
    w = torch.ones(2, requires_grad=True)
    with probed() as seen:
        for _ in range(20):
            torch.autograd.grad((w * 2).sum(), w)
    assert [run[0][0] for run in numbered(seen.events, "w")] == list(range(1, 21))
    assert len(seen.probe.backward._numbers._known) <= 4
