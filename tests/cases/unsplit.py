"""6. What can't be split: several uses inside one operation, or none that could be seen."""

import warnings

import torch
from cases.case import case
from cases.loops import train
from torch import nn
from torch.func import vmap
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel


def hides(number, *says):
    """What is expected where one operation hides so many uses."""
    words = [f"{number} calls are inside one operation", *says]
    never = ["1 use in", "several uses"]
    return {"inside": number, "findings": ["not-split"], "says": words, "copies": False, "never": never}


class Thrice(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(3, 3)

    def forward(self, x):
        x = torch.tanh(self.lin(x))
        x = torch.tanh(self.lin(x))
        return torch.tanh(self.lin(x))


def compiled(**settings):
    def program(look):
        torch._dynamo.reset()
        fast, x = torch.compile(Thrice(), backend="aot_eager", **settings), torch.randn(4, 3)
        look(fast)
        train(fast.parameters(), lambda: fast(x).square().sum())

    return program


case(6, "torch.compile", {"_orig_mod.lin.weight": 1}, **hides(3))(compiled())
case(6, "torch.compile, fullgraph", {"_orig_mod.lin.weight": 1}, **hides(3))(compiled(fullgraph=True))


@case(6, "torch.jit.script", {"lin.weight": 1}, iteration=4, **hides(3))
def scripted(look):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        fast, x = torch.jit.script(Thrice()), torch.randn(4, 3)
    look(fast)
    train(fast.parameters(), lambda: fast(x).square().sum(), iterations=4)


def recurrent(kind, **settings):
    def program(look):
        net, x = kind(3, 4, **settings), torch.randn(5, 2, 3)
        look(net)
        train(net.parameters(), lambda: net(x)[0].square().sum())

    return program


UNFUSED = ["without --unfuse", "with --unfuse it is split"]
INPUT = {"weight_ih_l0": 1, "bias_ih_l0": 1}
case(6, "nn.LSTM on CPU, what takes all its input at once", INPUT, copies=False)(recurrent(nn.LSTM))
HIDDEN = {"weight_hh_l0": 1, "bias_hh_l0": 1}
case(6, "nn.LSTM on CPU, 5 time steps", HIDDEN, **hides(5, *UNFUSED))(recurrent(nn.LSTM))
LAYERS = {"weight_hh_l0": 1, "weight_hh_l1_reverse": 1}
case(6, "nn.LSTM, two layers, both ways", LAYERS, **hides(5, *UNFUSED))(
    recurrent(nn.LSTM, num_layers=2, bidirectional=True)
)


def unrolled_by_hand(look):
    net, x = nn.RNN(3, 4), torch.randn(5, 2, 3)
    look(net)

    def loss():
        from_inputs = F.linear(x, net.weight_ih_l0, net.bias_ih_l0)
        h, hidden = torch.zeros(2, 4), []
        for step in from_inputs:
            h = torch.tanh(F.linear(h, net.weight_hh_l0, net.bias_hh_l0) + step)
            hidden.append(h)
        return torch.stack(hidden).square().sum()

    train(net.parameters(), loss)


STEPS = {"weight_ih_l0": 1, "weight_hh_l0": 5}
case(6, "nn.RNN, 5 time steps", STEPS, untied=unrolled_by_hand)(recurrent(nn.RNN))
case(6, "nn.GRU, 5 time steps", STEPS, copies=False)(recurrent(nn.GRU))


@case(6, "nn.LSTM without mkldnn", STEPS, copies=False)
def without_mkldnn(look):
    with torch.backends.mkldnn.flags(enabled=False):
        recurrent(nn.LSTM)(look)


@case(6, "fused attention of a parameter with itself", {"q": 3}, never=["one operation"], in_order=False)
def attention(look):
    q = nn.Parameter(torch.randn(1, 1, 5, 4))
    look(q=q)
    train([q], lambda: F.scaled_dot_product_attention(q, q, q).square().sum())


@case(6, "attention by plain mathematics", {"q": 3})
def plain_attention(look):
    q = nn.Parameter(torch.randn(1, 1, 5, 4))
    look(q=q)

    def loss():
        with sdpa_kernel(SDPBackend.MATH):
            return F.scaled_dot_product_attention(q, q, q).square().sum()

    train([q], loss)


@case(6, "vmap over a net that is used twice", {"weight": 2}, **hides(4))
def batched(look):
    net, x = nn.Linear(3, 3), torch.randn(4, 3)
    look(net)
    train(net.parameters(), lambda: vmap(lambda one: net(torch.tanh(net(one))))(x).square().mean())
