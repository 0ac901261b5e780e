"""Models of others need no change: any parameter that is used many times shows each use's own gradient."""

import oracle
import pytest
import torch
from driving import ledger, partials, probed, seed
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from backpropdbg.events import Accumulated, BackwardStarted, BackwardUse, ForwardUse


class SharedParameter(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(4, 4))

    def forward(self, x):
        for _ in range(3):
            x = torch.tanh(F.linear(x, self.w))
        return x

    @staticmethod
    def untied(take, x):
        for _ in range(3):
            x = torch.tanh(F.linear(x, take("w")))
        return x


class TiedEmbedding(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, x):
        return self.head(torch.tanh(self.embedding(x.abs().mul(3).long().clamp(max=6)))).log_softmax(-1)

    @staticmethod
    def untied(take, x):
        h = F.embedding(x.abs().mul(3).long().clamp(max=6), take("embedding.weight"))
        return F.linear(torch.tanh(h), take("embedding.weight")).log_softmax(-1)


class UnrolledCell(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.LSTMCell(4, 3)

    def forward(self, x):
        state = None
        for _ in range(4):
            state = self.cell(x, state)
        return state[0]

    @staticmethod
    def untied(take, x):
        cell, state = nn.LSTMCell(4, 3), None
        for _ in range(4):
            now = {name: take("cell." + name) for name, _ in cell.named_parameters()}
            state = functional_call(cell, now, (x, state) if state else (x,))
        return state[0]


class TransposedOnce(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(4, 4))

    def forward(self, x):
        w = self.w.t()
        for _ in range(3):
            x = torch.tanh(x @ w)
        return x

    @staticmethod
    def untied(take, x):
        for _ in range(3):
            x = torch.tanh(x @ take("w").t())
        return x


class Scalar(nn.Module):
    def __init__(self):
        super().__init__()
        self.s = nn.Parameter(torch.tensor(0.7))

    def forward(self, x):
        for _ in range(3):
            x = torch.sin(self.s * x)
        return x

    @staticmethod
    def untied(take, x):
        for _ in range(3):
            x = torch.sin(take("s") * x)
        return x


class ReusedConvolution(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x):
        x = x.view(1, 1, *x.shape)
        for _ in range(3):
            x = torch.tanh(self.conv(x))
        return x

    @staticmethod
    def untied(take, x):
        x = x.view(1, 1, *x.shape)
        for _ in range(3):
            x = torch.tanh(F.conv2d(x, take("conv.weight"), take("conv.bias"), padding=1))
        return x


class ThreeDimensions(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        x = x.view(2, -1, 4)
        return self.linear(torch.tanh(self.linear(x)))

    @staticmethod
    def untied(take, x):
        x = x.view(2, -1, 4)
        for last in (False, True):
            x = F.linear(x, take("linear.weight"), take("linear.bias"))
            x = x if last else torch.tanh(x)
        return x


class TwiceInOneOperation(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(4))

    def forward(self, x):
        return x * (self.w * self.w)

    @staticmethod
    def untied(take, x):
        return x * (take("w") * take("w"))


class BroadcastBias(nn.Module):
    def __init__(self):
        super().__init__()
        self.b = nn.Parameter(torch.randn(1, 4))

    def forward(self, x):
        return torch.tanh(torch.tanh(x + self.b) + self.b) - self.b

    @staticmethod
    def untied(take, x):
        return torch.tanh(torch.tanh(x + take("b")) + take("b")) - take("b")


class Nested(nn.Module):
    """A module that calls a module that calls a module, each with a parameter of its own."""

    def __init__(self):
        super().__init__()
        self.inner = SharedParameter()
        self.scale = nn.Parameter(torch.randn(4))

    def forward(self, x):
        return self.inner(self.inner(x) * self.scale) * self.scale

    @staticmethod
    def untied(take, x):
        def inner(x):
            for _ in range(3):
                x = torch.tanh(F.linear(x, take("inner.w")))
            return x

        return inner(inner(x) * take("scale")) * take("scale")


MODELS = {
    SharedParameter: {"w": 3},
    TiedEmbedding: {"embedding.weight": 2},
    UnrolledCell: {f"cell.{name}": 4 for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")},
    TransposedOnce: {"w": 3},
    Scalar: {"s": 3},
    ReusedConvolution: {"conv.weight": 3, "conv.bias": 3},
    ThreeDimensions: {"linear.weight": 2, "linear.bias": 2},
    TwiceInOneOperation: {"w": 2},
    BroadcastBias: {"b": 3},
    Nested: {"inner.w": 6, "scale": 2},
}


@pytest.fixture(params=MODELS, ids=lambda kind: kind.__name__)
def kind(request):
    return request.param


def prepared(kind):
    seed(13)
    return kind(), torch.randn(6, 4)


def loss_of(y):
    return (y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum()


def truth_of(kind, model, x):
    untied = oracle.Untied(oracle.state_of(model))
    return untied.partials(loss_of(kind.untied(untied, x)))


def test_each_use_has_the_gradient_of_an_untied_copy(kind):
    model, x = prepared(kind)
    stepper = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    with probed() as seen:
        for t in (1, 2, 3):
            with seen.probe.inert():
                truth = truth_of(kind, model, x)
            stepper.zero_grad()
            loss_of(model(x)).backward()
            for name, p in model.named_parameters():
                arrived = partials(seen.events, t, name)
                assert len(arrived) == len(truth[name]) == MODELS[kind][name]
                assert sorted(n for n, _ in arrived) == list(range(1, len(arrived) + 1))
                for use, partial in arrived:
                    assert oracle.bits(partial, truth[name][use - 1]), f"{name} #{use}"
                run = ledger(seen.events, t, name).latest
                assert run.exact() is True and oracle.bits(run.running().value, p.grad)
            stepper.step()


def test_partials_of_one_run_arrive_last_use_first(kind):
    """Except where one operation takes both: it hands them out in the order of its slots."""
    model, x = prepared(kind)
    with probed() as seen:
        loss_of(model(x)).backward()
    for name, count in MODELS[kind].items():
        numbers = list(range(1, count + 1))
        assert [n for n, _ in partials(seen.events, 1, name)] == (
            numbers if kind is TwiceInOneOperation else numbers[::-1]
        )


def test_gradients_carried_in(kind):
    """Two backwards before a step: the second one's sum starts from what the first left."""
    model, x = prepared(kind)
    truth = [truth_of(kind, model, x), truth_of(kind, model, x * 0.5)]
    with probed() as seen:
        loss_of(model(x)).backward()
        first = {n: p.grad.clone() for n, p in model.named_parameters()}
        loss_of(model(x * 0.5)).backward()
    for name, p in model.named_parameters():
        runs = ledger(seen.events, 1, name).runs
        assert len(runs) == 2 and runs[0].carried is None
        assert oracle.bits(runs[1].carried.value, first[name])
        assert oracle.bits(runs[1].running().value, p.grad) and runs[1].exact() is True
        for run in (1, 2):
            for use, partial in partials(seen.events, 1, name, run):
                place = use - (run - 1) * len(truth[0][name])
                assert oracle.bits(partial, truth[run - 1][name][place - 1])


def test_training_keeps_its_bits(kind):
    def train():
        model, x = prepared(kind)
        stepper = torch.optim.Adam(model.parameters(), lr=0.1)
        for _ in range(3):
            stepper.zero_grad()
            loss_of(model(x)).backward()
            stepper.step()
        return oracle.state_of(model)

    plain = train()
    with probed():
        watched = train()
    assert oracle.same_states(plain, watched)


def test_forward_uses_agree_with_the_edges(kind):
    model, x = prepared(kind)
    with probed() as seen:
        loss_of(model(x)).backward()
    for name, count in MODELS[kind].items():
        numbers = [
            n
            for e in seen.events
            if isinstance(e, ForwardUse)
            for p, n in zip(e.parameters, e.numbers, strict=True)
            if p == name
        ]
        # A view that is taken once is one use in forward; how often it is used shows in backward.
        assert numbers == list(range(1, 1 + (1 if kind is TransposedOnce else count)))


def test_retained_graph_runs_again():
    """The same nodes fire again: each run sees each use once."""
    model, x = prepared(SharedParameter)
    truth = truth_of(SharedParameter, model, x)
    with probed() as seen:
        loss = loss_of(model(x))
        for last in (False, False, True):
            loss.backward(retain_graph=not last)
    for run in (1, 2, 3):
        arrived = partials(seen.events, 1, "w", run)
        assert [n for n, _ in arrived] == [3, 2, 1]
        assert all(oracle.bits(p, truth["w"][n - 1]) for n, p in arrived)
    runs = ledger(seen.events, 1, "w").runs
    assert [r.exact() for r in runs] == [True] * 3
    assert oracle.bits(runs[-1].running().value, model.w.grad)


@pytest.mark.parametrize(
    "slots",
    [2, 3, 5],
)
@pytest.mark.parametrize("carried", [False, True])
def test_one_operation_that_takes_a_parameter_in_many_slots(slots, carried):
    """The engine adds the slots of one node in their order, whatever they are called."""
    seed(4)
    w = nn.Parameter(torch.randn(33))
    weights = torch.randn(slots, 33) * torch.logspace(-4, 4, slots)[:, None]
    if carried:
        w.grad = torch.randn(33)
    with probed() as seen:
        (torch.stack([w] * slots) * weights).sum().backward()
    name = seen.probe.names.of(w)
    run = ledger(seen.events, 1, name).latest
    assert len(run.partials) == slots
    assert all(any(oracle.bits(p.value, row) for row in weights) for p in run.partials)
    assert oracle.bits(run.running().value, w.grad) and run.exact() is True


def test_grad_of_another_tensor_computes_no_parameter():
    """`autograd.grad` for an input: edges fire with nothing, and `.grad` stays what it was."""
    model, x = prepared(ThreeDimensions)
    x.requires_grad_()
    with probed() as seen:
        (got,) = torch.autograd.grad(loss_of(model(x)), x)
    assert got.abs().sum() > 0
    assert model.linear.weight.grad is None
    for name in ("linear.weight", "linear.bias"):
        assert all(p is None for _, p in partials(seen.events, 1, name))
        run = ledger(seen.events, 1, name).latest
        assert len(run.uses) == 2 and run.finished and not run.accumulates
        assert run.grad is None and run.running() is None
    assert not any(isinstance(e, Accumulated) for e in seen.events)


@pytest.mark.parametrize("through", [torch.autograd.grad, "imported"])
def test_grad_of_a_parameter_does_not_accumulate(through):
    from torch.autograd import grad as imported

    model, x = prepared(ReusedConvolution)
    truth = truth_of(ReusedConvolution, model, x)
    with probed() as seen:
        loss = loss_of(model(x))
        (got,) = (imported if through == "imported" else torch.autograd.grad)(loss, [model.conv.weight])
    arrived = partials(seen.events, 1, "conv.weight")
    assert [n for n, _ in arrived] == [3, 2, 1]
    assert all(oracle.bits(p, truth["conv.weight"][n - 1]) for n, p in arrived)
    run = ledger(seen.events, 1, "conv.weight").latest
    assert model.conv.weight.grad is None and run.grad is None and not run.accumulates
    assert oracle.bits(run.running().value, got)


def test_backward_for_some_inputs_does_not_compute_the_others():
    model, x = prepared(ReusedConvolution)
    truth = truth_of(ReusedConvolution, model, x)
    with probed() as seen:
        loss_of(model(x)).backward(inputs=[model.conv.bias])
    assert model.conv.weight.grad is None
    weight, bias = (ledger(seen.events, 1, "conv." + name).latest for name in ("weight", "bias"))
    assert len(weight.uses) == 3 and weight.partials == [] and weight.grad is None and weight.finished
    assert [u.number for u, _ in bias.arrived] == [3, 2, 1]
    assert all(oracle.bits(p.value, truth["conv.bias"][u.number - 1]) for u, p in bias.arrived)
    assert oracle.bits(bias.grad.value, model.conv.bias.grad) and bias.exact() is True


@pytest.mark.parametrize("in_place", [True, False])
def test_a_parameter_with_a_hook_of_its_own(in_place):
    """The hook changes the sum, not the partials: they are shown as they flowed, `.grad` as it is."""

    def double(grad):
        return grad.mul_(2) if in_place else grad * 2

    for uses in (1, 3):
        seed(8)
        w, x = nn.Parameter(torch.randn(4, 4)), torch.randn(5, 4)

        def forward(take, x, uses=uses):
            for _ in range(uses):
                x = torch.tanh(F.linear(x, take("w")))
            return x

        untied = oracle.Untied({"w": w})
        truth = untied.partials(loss_of(forward(untied, x)))["w"]
        w.register_hook(double)
        with probed() as seen:
            loss_of(forward(lambda name, w=w: w, x)).backward()
        name = seen.probe.names.of(w)
        run = ledger(seen.events, 1, name).latest
        assert len(run.arrived) == uses
        assert all(oracle.bits(p.value, truth[u.number - 1]) for u, p in run.arrived)
        total = oracle.arrival_sum(truth, None)
        assert oracle.bits(w.grad, total * 2)
        assert oracle.bits(run.grad.value, w.grad)
        assert oracle.bits(run.running().value, total)
        assert run.hooked and run.exact() is None


def test_double_backward_keeps_its_values():
    """A gradient penalty: the first run is `autograd.grad` with `create_graph`."""

    def penalty(w, x):
        y = torch.tanh(F.linear(torch.tanh(F.linear(x, w)), w))
        (g,) = torch.autograd.grad(y.sum(), w, create_graph=True)
        return y.square().sum() + g.square().sum()

    seed(6)
    w, x = nn.Parameter(torch.randn(4, 4)), torch.randn(5, 4)
    plain = torch.autograd.grad(penalty(w, x), w)[0]
    with probed() as seen:
        penalty(w, x).backward()
    assert oracle.bits(w.grad, plain)
    name = seen.probe.names.of(w)
    first, second = ledger(seen.events, 1, name).runs
    assert not first.accumulates and first.grad is None and len(first.partials) == 2
    assert second.accumulates and oracle.bits(second.grad.value, plain)
    assert oracle.bits(second.running().value, plain) and second.exact() is True


def test_sparse_gradients_have_partials_too():
    seed(0)
    embedding = nn.Embedding(9, 3, sparse=True)
    with probed() as seen:
        loss_of(embedding(torch.tensor([1, 4, 4])) + embedding(torch.tensor([2, 4, 0]))).backward()
    arrived = partials(seen.events, 1, "weight")
    assert [n for n, _ in arrived] == [2, 1]
    assert torch.equal(sum(p.to_dense() for _, p in arrived), embedding.weight.grad.to_dense())


def test_a_frozen_parameter_has_no_use():
    model, x = prepared(ThreeDimensions)
    model.linear.weight.requires_grad_(False)
    with probed() as seen:
        loss_of(model(x)).backward()
    assert partials(seen.events, 1, "linear.weight") == []
    assert [n for n, _ in partials(seen.events, 1, "linear.bias")] == [2, 1]


def test_a_call_that_does_not_reach_the_loss_has_no_edge():
    """Three calls in forward, one of them thrown away: two uses in backward, numbered 1 and 2."""

    class Wasteful(ThreeDimensions):
        def forward(self, x):
            self.linear(x)
            return super().forward(x)

    model, x = prepared(Wasteful)
    with probed() as seen:
        loss_of(model(x)).backward()
    assert sum(isinstance(e, ForwardUse) for e in seen.events) == 3
    started = next(e for e in seen.events if isinstance(e, BackwardStarted))
    assert [(u.number, u.call) for u in started.uses if u.parameter == "linear.weight"] == [(1, 2), (2, 3)]
    assert all(e.use.total == 2 for e in seen.events if isinstance(e, BackwardUse))
