"""A backward that reaches calls of the iteration before shows them, with the partials that plain torch gives."""

import pytest
import torch
from playing import play
from torch import nn


def nets() -> tuple[nn.Linear, nn.Linear]:
    torch.manual_seed(0)
    return nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False)


def gan() -> None:
    """D steps in iteration 1; G's backward in iteration 2 goes through its two calls of iteration 1."""
    g, d = nets()
    steppers = [torch.optim.SGD(net.parameters(), lr=0.5) for net in (d, g)]
    fake = g(torch.tanh(g(torch.ones(1, 2))))
    d(fake.detach()).square().sum().backward()
    steppers[0].step()
    d(fake).square().sum().backward()
    steppers[1].step()


def plain() -> list[float]:
    """Norms of the partials of G's first and second use, after D's step."""
    g, d = nets()
    one, two = (g.weight.detach().clone().requires_grad_() for _ in range(2))
    fake = torch.tanh(torch.ones(1, 2) @ one.t()) @ two.t()
    (slope,) = torch.autograd.grad((fake.detach() @ d.weight.t()).square().sum(), d.weight)
    loss = (fake @ (d.weight - 0.5 * slope).detach().t()).square().sum()
    return [float(grad.double().norm()) for grad in torch.autograd.grad(loss, (one, two))]


def shown(situation) -> list[tuple[str, str, str, float | None]]:
    return [(n.label, n.partial, n.partial_state, n.partial_norm) for n in situation.graph if n.focused]


def test_their_partials_arrive_one_by_one() -> None:
    stops = play(gan, "until iteration 2", "until backward g.weight", "n", "n", "c", focus="g.weight").situations
    one, two = (pytest.approx(norm, rel=1e-6) for norm in plain())
    first, second = ("g#1", "A1"), ("g#2", "A2")
    assert shown(stops[1]) == [(*first, "pending", None), (*second, "value", two)]
    assert shown(stops[2]) == [(*first, "value", one), (*second, "value", two)]
    assert [n.backward for n in stops[1].graph if n.focused] == ["pending", "here"]
    assert [n.backward for n in stops[2].graph if n.focused] == ["here", "done"]
    assert shown(stops[3]) == shown(stops[2])
