"""1. Reuse in disguise: one parameter, used many times where nobody reads "shared"."""

import torch
from cases.case import case
from cases.loops import train
from torch import nn
from torch.nn import functional as F


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, x):
        return self.head(torch.tanh(self.embedding(x)))


@case(1, "tied embedding and head", {"embedding.weight": 2}, findings=["tied"], says=["embedding.weight = head.weight"])
def tied(look):
    model, x = Tied(), torch.tensor([[1, 2], [5, 1]])
    look(model)
    train(model.parameters(), lambda: model(x).square().mean())


def unrolled(cell, x, steps):
    state = None
    for _ in range(steps):
        state = cell(x, state)
    return state[0] if isinstance(state, tuple) else state


def unrolled_cell(kind):
    def program(look):
        cell, x = kind(3, 4), torch.randn(2, 3)
        look(cell)
        train(cell.parameters(), lambda: unrolled(cell, x, 3).square().mean())

    return program


for kind in (nn.RNNCell, nn.LSTMCell, nn.GRUCell):
    case(1, f"{kind.__name__} unrolled", {"weight_ih": 3, "weight_hh": 3, "bias_hh": 3})(unrolled_cell(kind))


@case(1, "siamese branches", {"weight": 2})
def siamese(look):
    net, left, right = nn.Linear(3, 2), torch.randn(4, 3), torch.randn(4, 3)
    look(net)
    train(net.parameters(), lambda: (net(left) - net(right)).square().sum())


@case(1, "F.linear outside of any module", {"w": 3})
def functional(look):
    w, x = nn.Parameter(torch.randn(3, 3)), torch.randn(2, 3)
    look(w=w)

    def loss():
        h = x
        for _ in range(3):
            h = torch.tanh(F.linear(h, w))
        return h.square().sum()

    train([w], loss)


class Bare(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([0.5, 2.0]))

    def forward(self, x):
        return torch.sin(self.scale * x) + self.scale


@case(1, "a bare Parameter in forward", {"scale": 2})
def bare(look):
    model, x = Bare(), torch.randn(3, 2)
    look(model)
    train(model.parameters(), lambda: model(x).square().sum())


@case(1, "a 0-dim Parameter", {"e": 3})
def scalar(look):
    e, x = nn.Parameter(torch.tensor(0.7)), torch.randn(5)
    look(e=e)
    train([e], lambda: (torch.sin(e * torch.sin(e * x)) + e).square().sum())


@case(1, "a leaf in no Module", {"w": 2})
def leaf(look):
    w, x = torch.randn(3, requires_grad=True), torch.randn(3)
    look(w=w)
    train([w], lambda: (w * x).sum() + (w * w.detach()).square().sum())


@case(1, "an L2 term in the loss", {"weight": 2, "bias": 1})
def l2_term(look):
    net, x = nn.Linear(3, 2), torch.randn(4, 3)
    look(net)
    train(net.parameters(), lambda: net(x).square().mean() + 0.1 * net.weight.square().sum())


@case(1, "a call whose output does not reach the loss", {"weight": 2, "bias": 2})
def thrown_away(look):
    net, x = nn.Linear(3, 3), torch.randn(4, 3)
    look(net)

    def loss():
        net(x)
        return net(torch.tanh(net(x))).square().mean()

    train(net.parameters(), loss)


@case(
    1,
    "only a call whose output does not reach the loss",
    {"0.weight": 0},
    runs=0,
    labels=(),
    findings=["no-gradient:detached"],
    says=["not on the path to the loss"],
)
def all_thrown_away(look):
    net, x = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)), torch.randn(4, 3)
    look(net)

    def loss():
        net(x)
        return net[1](x).square().mean()

    train(net.parameters(), loss)
