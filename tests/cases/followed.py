"""Tensors that are computed from parameters, and followed: `focus layer.weight`, `--track layer.weight`."""

import warnings

import torch
from cases.loops import times
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

import backpropdbg


class Masked(nn.Module):
    """A weight that is masked once in each forward, and used three times."""

    TITLE = "a weight masked once in a forward"

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 3))
        self.mask = torch.ones(3, 3).triu()

    def forward(self, x):
        masked = self.weight * self.mask
        self.seen = [masked]
        for _ in range(3):
            x = torch.tanh(x @ masked)
        return x


class Turned(nn.Module):
    """A weight that is transposed once, into an attribute."""

    TITLE = "a weight transposed once, into an attribute"

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 3))

    def forward(self, x):
        self.turned = self.weight.t()
        self.seen = [self.turned]
        return torch.tanh(torch.tanh(x @ self.turned) @ self.turned)


class Cached(nn.Module):
    """weight_norm, computed once for all three calls."""

    TITLE = "weight_norm, cached"

    def __init__(self):
        super().__init__()
        self.lin = parametrizations.weight_norm(nn.Linear(3, 3, bias=False))

    def forward(self, x):
        with parametrize.cached():
            self.seen = [self.lin.weight]
            for _ in range(3):
                x = torch.tanh(self.lin(x))
        return x


class Old(nn.Module):
    """weight_norm as it was: an attribute that is set before each call."""

    TITLE = "weight_norm as a hook before each call"

    def __init__(self):
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            self.lin = nn.utils.weight_norm(nn.Linear(3, 3, bias=False))

    def forward(self, x):
        self.seen = []
        for _ in range(2):
            x = torch.tanh(self.lin(x))
            self.seen.append(self.lin.weight)
        return x


class Pruned(Old):
    """Masked before each call, by torch's own pruning."""

    TITLE = "pruned before each call"

    def __init__(self):
        nn.Module.__init__(self)
        self.lin = prune.l1_unstructured(nn.Linear(3, 3, bias=False), "weight", amount=3)


class Anew(nn.Module):
    """weight_norm, computed at each use."""

    TITLE = "weight_norm, computed at each use"

    def __init__(self):
        super().__init__()
        self.lin = parametrizations.weight_norm(nn.Linear(3, 3, bias=False))

    def forward(self, x):
        self.seen = []
        for _ in range(2):
            self.seen.append(self.lin.weight)
            x = torch.tanh(x @ self.seen[-1].t())
        return x


LEAVES = ("lin.parametrizations.weight.original0", "lin.parametrizations.weight.original1")
KINDS = [
    (Masked, "masked", [3], ("weight",)),
    (Turned, "turned", [2], ("weight",)),
    (Cached, "lin.weight", [3], LEAVES),
    (Anew, "lin.weight", [1, 1], LEAVES),
    (Old, "lin.weight", [1, 1], ("lin.weight_g", "lin.weight_v")),
    (Pruned, "lin.weight", [1, 1], ("lin.weight_orig",)),
]


def train(net, look=lambda net, loss: None, iterations=2):
    x = torch.randn(4, 3)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in times(iterations):
        optimizer.zero_grad()
        loss = net(x).square().sum()
        look(net, loss)
        loss.backward()
        optimizer.step()
    return net


def names(name, many):
    """What the tensors of one name are called."""
    return [name if n == 0 else f"{name}@{n + 1}" for n in range(many)]


def consumers(loss, tensor):
    """How many edges of a graph go to a tensor, walked here."""
    stack, seen, count = [loss.grad_fn], set(), 0
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        for target, output in node.next_functions:
            count += target is tensor.grad_fn and output == tensor.output_nr
            stack += [target] * (target is not None)
    return count


def rows():
    """Of the table: room 2."""
    found = []
    for kind, name, uses, leaves in KINDS:
        torch.manual_seed(0)
        net, edges = kind(), []
        with backpropdbg.record(net, track=(name, "*")) as recording:
            train(net, lambda net, loss, edges=edges: edges.append([consumers(loss, t) for t in net.seen]))
        said = f"no .grad: not a leaf; its sum flows on to {', '.join(leaves)}"
        for one, expected, walked in zip(names(name, len(uses)), uses, edges[0], strict=True):
            ledger = recording.iteration(1).ledger(one)
            sum_of = {True: "exact", None: "unknown", False: "WRONG"}[ledger.exact]
            cells = [f"followed: {kind.TITLE}", f"`{one}`", walked, expected, len(ledger.uses), sum_of, said]
            found.append(f"| {' | '.join(map(str, cells))} |")
    return found
