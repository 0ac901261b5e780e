"""Small programs and what the engine itself says of their graphs: a hook of the test's own on every node.

Nothing here imports backpropdbg. Each program returns what it calls `backward` (or `grad`) with.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint


class Engine:
    """The nodes below some tensors, and those that have run, in that order."""

    def __init__(self, *outputs: Tensor) -> None:
        self.ran: list[Any] = []
        self.nodes: list[Any] = []
        stack = [t.grad_fn for t in outputs]
        while stack:
            node = stack.pop()
            if node is None or node in self.nodes:
                continue
            self.nodes.append(node)
            stack += [target for target, _ in node.next_functions]
        for node in self.nodes:
            type(node).register_hook(node, self._hook(len(self.nodes), node))

    def _hook(self, number: int, node: Any) -> Callable[..., None]:
        def run(grad_inputs: Any, grad_outputs: Any) -> None:
            self.ran.append(node)

        return run

    def edges_to(self, leaf: Tensor) -> list[tuple[Any, int]]:
        """Every edge that ends in a leaf, in forward order."""
        found = [
            (node, slot)
            for node in self.nodes
            for slot, (target, _) in enumerate(node.next_functions)
            if target is not None and getattr(target, "variable", None) is leaf
        ]
        return sorted(found, key=lambda edge: (type(edge[0])._sequence_nr(edge[0]), edge[1]))


class Net(nn.Module):
    """One weight, one bias, and an embedding that is tied to the head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.lin = nn.Linear(4, 4)
        self.table = nn.Embedding(6, 4)
        self.head = nn.Linear(4, 6, bias=False)
        self.head.weight = self.table.weight

    def forward(self, how: str, x: Tensor) -> Tensor:
        return HOWS[how](self, x)


class Twice(torch.autograd.Function):
    """A function of the program's own, which calls something of its own `name`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, flag: bool) -> Tensor:
        ctx.save_for_backward(x, w)
        ctx.marked = "mine"
        return 2 * (x @ w)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, w = ctx.saved_tensors
        return 2 * grad @ w.t(), 2 * x.t() @ grad, None


def _turned(net: Net, x: Tensor) -> Tensor:
    w = net.lin.weight.t()
    return torch.tanh(torch.tanh(x @ w) @ w) @ w


def _residual(net: Net, x: Tensor) -> Tensor:
    for _ in range(3):
        x = x + torch.relu(net.lin(x))
    return x


def _cat(net: Net, x: Tensor) -> Tensor:
    return torch.cat([net.lin(x), net.lin(2 * x), net.lin.weight], 0) * net.lin.bias


def _tied(net: Net, x: Tensor) -> Tensor:
    return net.head(net.table(torch.tensor([0, 3, 3])) + net.lin(x))


def _split(net: Net, x: Tensor) -> Tensor:
    a, b = net.lin(x).chunk(2, 1)
    return (a * b).sum() + a.sum() + (net.lin.weight * net.lin.weight).sum()


HOWS: dict[str, Callable[[Net, Tensor], Tensor]] = {
    "unused": lambda net, x: net.lin(x).detach() @ net.head.weight.t(),
    "once": lambda net, x: net.lin(x),
    "three times": lambda net, x: net.lin(torch.relu(net.lin(torch.relu(net.lin(x))))),
    "turned": _turned,
    "residual": _residual,
    "cat": _cat,
    "tied": _tied,
    "split": _split,
    "own function": lambda net, x: Twice.apply(Twice.apply(x, net.lin.weight, True), net.lin.weight, False),
    "bfloat16": lambda net, x: (x.bfloat16() @ (w := net.lin.weight.bfloat16()) @ w).float(),
    "checkpoint": lambda net, x: checkpoint(lambda h: net.lin(torch.relu(net.lin(h))), net.lin(x), use_reentrant=False),
    "in place": lambda net, x: net.lin(x).mul_(2).add_(net.lin.bias),
    "none of it": lambda net, x: F.linear(x, net.lin.weight.detach(), net.lin.bias),
}


def loss_of(net: Net, how: str) -> Tensor:
    """The loss of one of them."""
    return net(how, torch.linspace(-1, 1, 12).reshape(3, 4)).square().sum()
