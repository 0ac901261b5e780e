"""Random training programs: a few leaves, operations that use them in all kinds of ways, runs, and updates.

Each operation takes parameters by `take(name)`, and views or casts that are made once and used often by
`shared(name, make)`; with `oracle.Untied` in the place of `take`, every use has a copy of its own.
"""

import random
from collections.abc import Callable
from typing import Any

import oracle
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

MATRICES, VECTORS, SCALARS = ("w", "v", "lin.weight"), ("b", "lin.bias"), ("s",)


class Model(nn.Module):
    """Three matrices, two vectors, a scalar; two of them in a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(3, 3))
        self.v = nn.Parameter(torch.randn(3, 3))
        self.b = nn.Parameter(torch.randn(3))
        self.s = nn.Parameter(torch.tensor(0.7))
        self.lin = nn.Linear(3, 3)

    def forward(self, x: Tensor, program: "list[Step]") -> Tensor:
        return forward(Real(self), x, program)


class Real:
    """The parameters themselves; what is shared is made once."""

    def __init__(self, model: Model) -> None:
        self.named, self.model = dict(model.named_parameters()), model
        self.made: dict[Any, Tensor] = {}

    def take(self, name: str) -> Tensor:
        return self.named[name]

    def shared(self, name: str, make: Callable[[Tensor], Tensor]) -> Tensor:
        if (name, make) not in self.made:
            self.made[name, make] = make(self.named[name])
        return self.made[name, make]

    def layer(self, h: Tensor) -> Tensor:
        return self.model.lin(h)

    def checkpointed(self, call: Callable[[Tensor], Tensor], h: Tensor) -> Tensor:
        return checkpoint(call, h, use_reentrant=False)


class Copies:
    """A copy at each use, of weights as they were."""

    def __init__(self, state: oracle.State) -> None:
        self.take = oracle.Untied(state)

    def shared(self, name: str, make: Callable[[Tensor], Tensor]) -> Tensor:
        return make(self.take(name))

    def layer(self, h: Tensor) -> Tensor:
        return F.linear(h, self.take("lin.weight"), self.take("lin.bias"))

    def checkpointed(self, call: Callable[[Tensor], Tensor], h: Tensor) -> Tensor:
        return call(h)


def _cast(t: Tensor) -> Tensor:
    return t.to(torch.bfloat16)


def _turned(t: Tensor) -> Tensor:
    return t.t()


def _cast_and_turned(t: Tensor) -> Tensor:
    return t.to(torch.bfloat16).t()


def _viewed(t: Tensor) -> Tensor:
    return t.view(9).view(3, 3)


def _expanded(t: Tensor) -> Tensor:
    return t.expand(4, 3)


Step = tuple[str, str, int]  # what is done, with which parameter, how many times
_OF_A_MATRIX = ["linear", "matmul", "turned", "viewed", "cast", "cast and turned", "stacked", "own product", "lost"]
_OF_A_MATRIX += ["detached", "embedded", "checkpointed", "autocast", "penalty", "in place"]
_OF_A_VECTOR = ["shift", "shift in place"]
_OF_A_SCALAR = ["scale", "expanded", "scale in place"]


def forward(source: Any, x: Tensor, program: list[Step]) -> Tensor:
    """The loss."""
    h, extra = x, torch.zeros(())
    for what, name, times in program:
        for _ in range(times):
            before = h
            h, more = _apply(source, what, name, h, times)
            h = torch.tanh(h) + 0.1 * before
            extra = extra + more
    return h.square().mean() + extra


def _apply(source: Any, what: str, name: str, h: Tensor, times: int) -> tuple[Tensor, Tensor | float]:
    take, shared = source.take, source.shared
    match what:
        case "layer":
            return source.layer(h), 0.0
        case "linear":
            return F.linear(h, take(name), take("b")), 0.0
        case "matmul" | "in place":
            return (h @ take(name)).add_(0.1) if what == "in place" else h @ take(name), 0.0
        case "turned":
            return h @ shared(name, _turned), 0.0
        case "viewed":
            return h @ shared(name, _viewed), 0.0
        case "cast":
            return (h.bfloat16() @ shared(name, _cast)).float(), 0.0
        case "cast and turned":
            return (h.bfloat16() @ shared(name, _cast_and_turned)).float(), 0.0
        case "stacked":
            return h @ (torch.stack([take(name) for _ in range(times)]) * 0.3).sum(0), 0.0
        case "own product":
            return h, 0.01 * (take(name) * take(name)).sum()
        case "penalty":
            return h, 0.01 * take(name).square().sum()
        case "lost":
            F.linear(h, take(name))
            return h, 0.0
        case "detached":
            return h @ take(name).detach(), 0.0
        case "embedded":
            return h + F.embedding(torch.tensor([0, 2, 1, 2]), take(name)), 0.0
        case "checkpointed":
            return source.checkpointed(lambda g: torch.tanh(F.linear(g, take(name))), h), 0.0
        case "autocast":
            with torch.autocast("cpu", torch.bfloat16):
                return F.linear(torch.tanh(F.linear(h, take(name))), take(name)).float(), 0.0
        case "shift":
            return h + take(name), 0.0
        case "shift in place":
            return h.clone().add_(take(name)), 0.0
        case "scale":
            return h * take(name), 0.0
        case "expanded":
            return h * shared(name, _expanded), 0.0
        case "scale in place":
            return h.clone().mul_(take(name)), 0.0
    raise ValueError(what)


def random_program(dice: random.Random) -> list[Step]:
    """A forward of one to six operations."""
    program: list[Step] = []
    for _ in range(dice.randint(1, 6)):
        kinds = [("layer", "lin.weight")]
        kinds += [(what, dice.choice(MATRICES)) for what in _OF_A_MATRIX]
        kinds += [(what, dice.choice(VECTORS)) for what in _OF_A_VECTOR]
        kinds += [(what, dice.choice(SCALARS)) for what in _OF_A_SCALAR]
        program.append((*dice.choice(kinds), dice.randint(1, 3)))
    return program
