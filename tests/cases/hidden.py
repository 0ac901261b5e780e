"""2. One edge into the leaf that hides several uses."""

import torch
from cases.case import case
from cases.loops import train
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune


def thrice(take, x):
    """tanh(… take() …), three times."""
    for _ in range(3):
        x = torch.tanh(take(x))
    return x


@case(2, "autocast: a cast that is cached", {"weight": 3, "bias": 3}, edges={"weight": 1, "bias": 1}, in_order=False)
def autocast(look):
    net, x = nn.Linear(3, 3), torch.randn(4, 3)
    look(net)

    def loss():
        with torch.autocast("cpu", torch.bfloat16):
            return thrice(net, x).float().square().sum()

    train(net.parameters(), loss, iterations=1)


@case(2, "autocast, mixed with direct uses", {"weight": 5}, edges={"weight": 3}, in_order=False)
def autocast_mixed(look):
    net, x = nn.Linear(3, 3), torch.randn(4, 3)
    look(net)

    def loss():
        early = torch.tanh(x @ net.weight)
        with torch.autocast("cpu", torch.bfloat16):
            h = thrice(net, early)
        return h.float().square().sum() + net.weight.square().sum()

    train(net.parameters(), loss, iterations=1)


def transposed_each_time(look):
    w, x = nn.Parameter(torch.randn(3, 3)), torch.randn(4, 3)
    look(w=w)
    train([w], lambda: thrice(lambda h: h @ w.t(), x).square().sum())


@case(2, "transposed once, used three times", {"w": 3}, edges={"w": 1}, untied=transposed_each_time)
def transposed_once(look):
    w, x = nn.Parameter(torch.randn(3, 3)), torch.randn(4, 3)
    look(w=w)

    def loss():
        turned = w.t()
        return thrice(lambda h: h @ turned, x).square().sum()

    train([w], loss)


@case(2, "masked once, used three times", {"w": 1})
def masked_once(look):
    w, x, mask = nn.Parameter(torch.randn(3, 3)), torch.randn(4, 3), torch.ones(3, 3).triu()
    look(w=w)

    def loss():
        masked = w * mask
        return thrice(lambda h: h @ masked, x).square().sum()

    train([w], loss)


ORIGINALS = {"parametrizations.weight.original0": 3, "parametrizations.weight.original1": 3}


@case(2, "weight_norm, computed at each call", ORIGINALS)
def weight_norm(look):
    net, x = parametrizations.weight_norm(nn.Linear(3, 3, bias=False)), torch.randn(4, 3)
    look(net)
    train(net.parameters(), lambda: thrice(net, x).square().sum())


CACHED = {
    "inside": 3,
    "findings": ["not-split"],
    "says": ["3 uses share one cached weight", "one operation hides 3 uses"],
}


@case(2, "weight_norm, cached", dict.fromkeys(ORIGINALS, 1), **CACHED)
def weight_norm_cached(look):
    net, x = parametrizations.weight_norm(nn.Linear(3, 3, bias=False)), torch.randn(4, 3)
    look(net)

    def loss():
        with parametrize.cached():
            return thrice(net, x).square().sum()

    train(net.parameters(), loss)


class Symmetric(nn.Module):
    def forward(self, w):
        return w.triu() + w.triu(1).t()


def symmetric():
    net = nn.Linear(3, 3, bias=False)
    parametrize.register_parametrization(net, "weight", Symmetric())
    return net


@case(2, "a parametrization of one's own", {"parametrizations.weight.original": 6})
def own_parametrization(look):
    net, x = symmetric(), torch.randn(4, 3)
    look(net)
    train(net.parameters(), lambda: thrice(net, x).square().sum())


@case(2, "a parametrization of one's own, cached", {"parametrizations.weight.original": 2}, **CACHED)
def own_parametrization_cached(look):
    net, x = symmetric(), torch.randn(4, 3)
    look(net)

    def loss():
        with parametrize.cached():
            return thrice(net, x).square().sum()

    train(net.parameters(), loss)


@case(2, "spectral_norm", {"parametrizations.weight.original": 6})
def spectral_norm(look):
    net, x = parametrizations.spectral_norm(nn.Linear(3, 3, bias=False)), torch.randn(4, 3)
    look(net)
    train(net.parameters(), lambda: thrice(net, x).square().sum())


@case(2, "pruned: masked at each call", {"weight_orig": 3})
def pruned(look):
    net, x = prune.l1_unstructured(nn.Linear(3, 3, bias=False), "weight", amount=3), torch.randn(4, 3)
    look(net)
    train(net.parameters(), lambda: thrice(net, x).square().sum())
