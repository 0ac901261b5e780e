"""Probes come and go in any order, also from inside a hook, and leave torch as they found it."""

import contextlib
import itertools
import threading

import oracle
import pytest
import torch
from driving import OPTIMIZERS, make_net, probed, seed
from leftovers import closures, hooks, left_on
from torch import nn
from torch.overrides import TorchFunctionMode

from backpropdbg.events import Anomaly, BackwardUse, ForwardUse, StepStarted
from backpropdbg.probe.hooks import Policy, Probe


def train(iterations=2, sink=lambda: None):
    seed(5)
    model, x, y = make_net("parameter", 2)
    stepper = OPTIMIZERS["adamw"](model.parameters())
    for _ in range(iterations):
        stepper.zero_grad()
        oracle.squares(model(x), y).backward()
        stepper.step()
        sink()
    return model


def probe_of(events, policy=None):
    return Probe(events.append, policy or Policy())


def without_handles(events):
    return [(type(e).__name__, e.iteration, getattr(e, "where", None)) for e in events]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_probes_that_go_in_any_order(order):
    plain, before, hooked = oracle.state_of(train()), hooks(), closures()
    events = [[], [], []]
    probes = [probe_of(found) for found in events]
    for probe in probes:
        probe.install()
    for n, gone in enumerate(order):
        model = train()
        assert oracle.same_states(plain, oracle.state_of(model)) and left_on(model) == []
        alive = set(range(3)) - set(order[:n])
        assert {i for i in range(3) if len(events[i]) > 30} == alive
        assert len({str(without_handles(events[i])) for i in alive}) == 1
        for found in events:
            found.clear()
        probes[gone].remove()
    assert hooks() == before
    train()
    assert events == [[], [], []]
    del probes, probe, model
    assert closures() == hooked


def test_a_probe_that_is_removed_while_another_is_in_a_hook():
    """Of several at one edge, the first one's sink takes out the second."""
    before, plain = hooks(), oracle.state_of(train())
    second = []

    def sink(event):
        if isinstance(event, BackwardUse):
            other.remove()

    one, other = Probe(sink), probe_of(second)
    one.install()
    other.install()
    watched = oracle.state_of(train())
    one.remove()
    assert hooks() == before and oracle.same_states(plain, watched)
    assert not any(isinstance(e, StepStarted) for e in second)


def test_what_one_sink_runs_is_no_program_of_another():
    model, x, _ = make_net("module", 1)
    events = []

    def sink(event):
        if isinstance(event, ForwardUse):
            model(x).sum().backward()

    one, other = Probe(sink), probe_of(events)
    one.install()
    other.install()
    with one.inert():
        model(x)
    model(x)
    one.remove()
    other.remove()
    assert sum(isinstance(e, ForwardUse) for e in events) == 3 and not any(isinstance(e, BackwardUse) for e in events)


def test_installed_twice_and_again():
    before, events = hooks(), []
    probe = probe_of(events)
    for _ in range(2):
        probe.install()
        probe.install()
        train(1)
        probe.remove()
        probe.remove()
        assert hooks() == before
    counts = [sum(type(e) is BackwardUse and e.iteration == t for e in events) for t in (1, 2)]
    assert counts[0] == counts[1] > 4


def test_a_function_that_the_program_replaced_meanwhile_stays_the_programs():
    before = hooks()
    original = torch.optim.Optimizer.zero_grad
    calls, events = [], []
    probe = probe_of(events)
    probe.install()
    ours = torch.optim.Optimizer.zero_grad

    def theirs(optimizer, *args, **kwargs):
        calls.append("theirs")
        return ours(optimizer, *args, **kwargs)

    try:
        torch.optim.Optimizer.zero_grad = theirs
        probe.remove()
        assert torch.optim.Optimizer.zero_grad is theirs
        train(1)
        assert calls == ["theirs"] and events == []
        probe.install()
        train(1)
        assert events
        torch.optim.Optimizer.zero_grad = ours
    finally:
        probe.remove()
        torch.optim.Optimizer.zero_grad = original
    assert hooks() == before


# -- function modes ------------------------------------------------------------------------------


class Theirs(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


def test_a_mode_of_the_programs_is_not_taken_for_ours():
    events = []
    probe, mode = probe_of(events), Theirs()
    with mode:
        probe.install()
        assert torch._C._len_torch_function_stack() == 2
    assert torch._C._len_torch_function_stack() == 1
    with mode:
        probe.remove()
        assert torch._C._len_torch_function_stack() == 1 and torch._C._get_function_stack_at(0) is mode
    assert torch._C._len_torch_function_stack() == 0
    with torch.device("cpu"):
        probe.install()
        (torch.ones(2, requires_grad=True) * 2).sum().backward()
        assert any(isinstance(e, ForwardUse) for e in events)
    probe.remove()
    assert torch._C._len_torch_function_stack() == 0


# -- detach --------------------------------------------------------------------------------------

KINDS = ["IterationStarted", "ForwardUse", "GradCleared", "BackwardStarted", "BackwardUse", "Accumulated"]
KINDS += ["BackwardFinished", "StepStarted", "StepFinished"]


@pytest.mark.parametrize("number", [1, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_detached_from_inside_a_hook(kind, number):
    """From then on no event; every hook that can go is gone at once, and the rest with the next call or step."""
    plain, before = oracle.state_of(train(6)), hooks()
    events, left = [], []

    def sink(event):
        events.append(event)
        if type(event).__name__ == kind and sum(type(e).__name__ == kind for e in events) == number:
            probe.detach()
            left.append((probe._undo, probe._seeing))

    probe = Probe(sink)
    probe.install()
    model = train(6)
    assert type(events[-1]).__name__ == kind and left == [([], [])]
    assert hooks() == before and left_on(model) == []
    assert oracle.same_states(plain, oracle.state_of(model))
    probe.install()
    probe.remove()
    assert hooks() == before, "for good"
    assert not [e for e in events if isinstance(e, Anomaly)]


def test_detached_from_outside_and_from_another_thread():
    before = hooks()
    for elsewhere in (False, True):
        events = []
        probe = probe_of(events)
        probe.install()
        if elsewhere:
            thread = threading.Thread(target=probe.detach)
            thread.start()
            thread.join()
        else:
            probe.detach()
        train(1)
        assert events == [] and hooks() == before


def test_detached_in_one_of_two_nested_backwards():
    class Inner(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, layer):
            ctx.layer = layer
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            with torch.enable_grad():
                ctx.layer(torch.ones(1, 2)).sum().backward()
            return grad, None

    before, events = hooks(), []

    def sink(event):
        events.append(event)
        if isinstance(event, BackwardUse) and event.run == 2:
            probe.detach()

    probe = Probe(sink)
    probe.install()
    outer, inner = nn.Linear(2, 2), nn.Linear(2, 2)
    Inner.apply(outer(torch.ones(1, 2)), inner).sum().backward()
    assert isinstance(events[-1], BackwardUse) and left_on(outer) == left_on(inner) == []
    outer(torch.ones(1, 2))
    assert hooks() == before and outer.weight.grad is not None and inner.weight.grad is not None


def test_a_program_that_is_ended_after_it_was_detached():
    class Quit(BaseException):
        pass

    before = hooks()

    def sink(event):
        if isinstance(event, BackwardUse):
            probe.detach()
            raise Quit

    probe = Probe(sink)
    probe.install()
    with contextlib.suppress(Quit):
        train()
    nn.Linear(1, 1)(torch.ones(1))
    assert hooks() == before


def test_compiled_code_is_compiled_as_without_us():
    """Also where it takes a bare parameter, and where a graph break would be an error."""

    def run():
        seed(0)
        layer, w = torch.nn.Linear(4, 4), torch.nn.Parameter(torch.randn(4))
        compiled = torch.compile(lambda x: (layer(x) * w).square().mean(), backend="eager", fullgraph=True)
        loss = compiled(torch.ones(2, 4))
        loss.backward()
        return loss, layer.weight.grad, w.grad

    plain = run()
    torch.compiler.reset()
    with probed():
        watched = run()
    torch.compiler.reset()
    assert watched[0].shape == () and all(torch.equal(a, b) for a, b in zip(plain, watched, strict=True))
