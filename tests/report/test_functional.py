"""`torch.func`: what stands in the place of a parameter is not taken for it, nor it for unused."""

import warnings

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad

ONES = torch.ones(1, 2)


class Hyper(nn.Module):
    """One layer computes the weights of another, whose own are never used."""

    def __init__(self) -> None:
        super().__init__()
        self.hyper, self.target = nn.Linear(4, 3), nn.Linear(2, 1)

    def forward(self, x):
        out = self.hyper(torch.ones(4))
        return functional_call(self.target, {"weight": out[:2].reshape(1, 2), "bias": out[2:]}, (x,))


def hyper():
    model = Hyper()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        model(ONES).sum().backward()
        optimizer.step()


def copies():
    """Copies of the parameters are trained, those of the model are not."""
    model = nn.Linear(2, 1)
    model(ONES)
    params = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
    optimizer = torch.optim.SGD(params.values(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        functional_call(model, params, (ONES,)).sum().backward()
        optimizer.step()


@pytest.mark.parametrize(
    "program,unused,trained",
    [(hyper, "target.weight", "hyper.weight"), (copies, "weight", "model.weight")],
    ids=["computed weights", "copies"],
)
def test_a_parameter_that_was_replaced_in_each_call_is_told_so(collect, program, unused, trained):
    report = collect(program)
    assert report.slugs(unused) == {"no-gradient:replaced"} and report.slugs(trained) == set()
    assert "functional_call" in report.text("no-gradient:replaced", unused)
    assert [report.line(trained, n).row.uses for n in (1, 2)] == [1, 1]


def test_computed_weights_are_no_parameters_and_warn_nobody(collect):
    """MAML: the second call has weights that a step of gradient descent made."""

    def program():
        model = nn.Linear(2, 1)
        for _ in range(2):
            params = dict(model.named_parameters())
            loss = functional_call(model, params, (ONES,)).square().sum()
            slopes = torch.autograd.grad(loss, list(params.values()), create_graph=True)
            fast = {name: w - 0.1 * slope for (name, w), slope in zip(params.items(), slopes, strict=True)}
            functional_call(model, fast, (ONES,)).square().sum().backward()
        return model

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = collect(program)
    assert {line.row.names for line in report.lines} == {("weight",), ("bias",)}
    assert report.slugs("weight") == {"carried-in:same-iteration", "no-optimizer"}


def test_a_gradient_of_torch_func_is_no_leftover(collect):
    """It is written to .grad by hand: no backward of an earlier iteration left it."""

    def program():
        model = nn.Linear(2, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        model(ONES)

        def loss(params):
            return functional_call(model, params, (ONES,)).square().sum()

        for _ in range(2):
            slopes = grad(loss)({name: p.detach() for name, p in model.named_parameters()})
            for name, p in model.named_parameters():
                p.grad = slopes[name]
            optimizer.step()
            optimizer.zero_grad()

    report = collect(program)
    for n in (1, 2):
        assert report.slugs("weight", n) == set() and report.line("weight", n).row.labels == ("no backward seen",)
        assert report.line("weight", n).row.weight_moved is True


def test_a_second_step_with_the_same_gradient_carries_it_in(collect):
    def program():
        model = nn.Linear(2, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        model(ONES).sum().backward()
        optimizer.step()
        optimizer.step()

    report = collect(program)
    assert [report.slugs("weight", n) for n in (1, 2)] == [set(), {"carried-in:earlier-iteration"}]
