"""Independent answers, in plain torch: nothing here imports backpropdbg.

Partials come from untied copies: the forward is run once more with a separate clone of the parameter for each use, and
each clone's gradient is what that use alone contributes.
"""

import math
import random
from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

State = dict[str, Tensor]
Partials = dict[str, list[Tensor | None]]


class Untied:
    """Hands out a fresh clone of a parameter at each use, and remembers them in forward order."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.clones: dict[str, list[Tensor]] = {}

    def __call__(self, name: str) -> Tensor:
        clone = self._state[name].detach().clone().requires_grad_()
        self.clones.setdefault(name, []).append(clone)
        return clone

    def partials(self, loss: Tensor) -> Partials:
        """One gradient per use, by parameter, in forward order; None where the loss does not depend on it."""
        flat = [clone for found in self.clones.values() for clone in found]
        gradients = iter(torch.autograd.grad(loss, flat, allow_unused=True))
        return {name: [next(gradients) for _ in found] for name, found in self.clones.items()}


def state_of(model: torch.nn.Module) -> State:
    """Copies of all parameters by name."""
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def peek_randint(low: int, high: int) -> int:
    """What the next `random.randint(low, high)` will give."""
    ahead = random.Random()
    ahead.setstate(random.getstate())
    return ahead.randint(low, high)


def module_net(take: Callable[[str], Tensor], x: Tensor, uses: int) -> Tensor:
    """The tutorial's DynamicNet, `middle_linear` applied `uses` times."""
    h = F.linear(x, take("input_linear.weight"), take("input_linear.bias")).clamp(min=0)
    for _ in range(uses):
        h = F.linear(h, take("middle_linear.weight"), take("middle_linear.bias")).clamp(min=0)
    return F.linear(h, take("output_linear.weight"), take("output_linear.bias"))


def polynomial_net(take: Callable[[str], Tensor], x: Tensor, uses: int) -> Tensor:
    """The tutorial's polynomial: third order, then `uses` more powers that share `e`."""
    y = take("a") + take("b") * x + take("c") * x**2 + take("d") * x**3
    for power in range(4, 4 + uses):
        y = y + take("e") * x**power
    return y


def squares(y: Tensor, target: Tensor) -> Tensor:
    """MSELoss(reduction="sum")."""
    return F.mse_loss(y, target, reduction="sum")


def untied_partials(
    forward: Callable[[Callable[[str], Tensor], Tensor, int], Tensor], state: State, x: Tensor, y: Tensor, uses: int
) -> Partials:
    """The partials of one training step of one of the two nets."""
    untied = Untied(state)
    return untied.partials(squares(forward(untied, x, uses), y))


def arrival_sum(partials: Iterable[Tensor], carried: Tensor | None) -> Tensor | None:
    """`carried + ((last + …) + first)`: what AccumulateGrad is left with."""
    total = None
    for partial in reversed(list(partials)):
        total = partial if total is None else total + partial
    if carried is None or total is None:
        return carried if total is None else total
    return carried + total


def bits(a: Tensor, b: Tensor) -> bool:
    """Equal bit for bit: NaN equals NaN, and -0 differs from 0."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    integer = {2: torch.int16, 4: torch.int32, 8: torch.int64}[a.element_size()]
    return torch.equal(a.detach().contiguous().view(integer), b.detach().contiguous().view(integer))


def same_states(a: State, b: State) -> bool:
    """Equal names, and equal bits under each."""
    return a.keys() == b.keys() and all(bits(a[name], b[name]) for name in a)


def sgd_terms(
    weight: Tensor,
    grad: Tensor,
    buffer: Tensor | None,
    lr: float,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    dampening: float = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
) -> dict[str, Tensor]:
    """What SGD adds to the weight, by cause, in float64. Each cause is pushed alone through the linear update rule."""
    w, g = weight.double(), grad.double() * (-1 if maximize else 1)
    zero = torch.zeros_like(w)

    def push(gradient: Tensor, decay: Tensor, old: Tensor) -> Tensor:
        d = gradient + decay
        if momentum:
            new = d if buffer is None else momentum * old + (1 - dampening) * d
            d = d + momentum * new if nesterov else new
        return -lr * d

    terms = {"gradient": push(g, zero, zero)}
    if momentum:
        terms["momentum"] = push(zero, zero, zero if buffer is None else buffer.double())
    if weight_decay:
        terms["weight decay"] = push(zero, weight_decay * w, zero)
    return terms


def adam_terms(
    weight: Tensor,
    grad: Tensor,
    state: dict[str, Tensor],
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
    maximize: bool = False,
) -> dict[str, Tensor]:
    """What Adam or AdamW adds to the weight, by cause, in float64: the numerator is linear in its causes."""
    w, g = weight.double(), grad.double() * (-1 if maximize else 1)
    m = state["exp_avg"].double() if state else torch.zeros_like(w)
    v = state["exp_avg_sq"].double() if state else torch.zeros_like(w)
    t = int(state["step"]) + 1 if state else 1
    decay = weight_decay * w
    used = g if decoupled else g + decay
    v_hat = (betas[1] * v + (1 - betas[1]) * used**2) / (1 - betas[1] ** t)

    def push(numerator: Tensor) -> Tensor:
        return -lr * (numerator / (1 - betas[0] ** t)) / (v_hat.sqrt() + eps)

    terms = {"gradient": push((1 - betas[0]) * g), "1st moment": push(betas[0] * m)}
    if weight_decay:
        terms["weight decay"] = -lr * decay if decoupled else push((1 - betas[0]) * decay)
    return terms


class TutorialNet(torch.nn.Module):
    """The tutorial's module net, written down once more."""

    def __init__(self, d_in: int, hidden: int, d_out: int, uses: int | None) -> None:
        super().__init__()
        self.input_linear = torch.nn.Linear(d_in, hidden)
        self.middle_linear = torch.nn.Linear(hidden, hidden)
        self.output_linear = torch.nn.Linear(hidden, d_out)
        self._uses = uses

    def forward(self, x: Tensor) -> Tensor:
        uses = self._uses if self._uses is not None else random.randint(0, 3)
        return module_net(dict(self.named_parameters()).__getitem__, x, uses)


class TutorialPolynomial(torch.nn.Module):
    """The tutorial's polynomial, written down once more."""

    def __init__(self, uses: int | None) -> None:
        super().__init__()
        for name in "abcde":
            self.register_parameter(name, torch.nn.Parameter(torch.randn(())))
        self._uses = uses

    def forward(self, x: Tensor) -> Tensor:
        uses = self._uses if self._uses is not None else random.randint(4, 6) - 4
        return polynomial_net(dict(self.named_parameters()).__getitem__, x, uses)


def tutorial_loop(
    net: str,
    seed: int,
    iterations: int,
    uses: int | None = None,
    optimizer: str = "sgd",
    lr: float = 1e-3,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    keep_zero_grads: bool = False,
    sizes: tuple[int, int, int, int] = (16, 4, 5, 3),
    points: int = 2000,
) -> tuple[State, list[float]]:
    """Train as the tutorial does; return the final weights and each iteration's loss."""
    torch.manual_seed(seed)
    random.seed(seed)
    if net == "module":
        batch, d_in, hidden, d_out = sizes
        x = torch.randn(batch, d_in)
        y = torch.randn(batch, d_out)
        model: torch.nn.Module = TutorialNet(d_in, hidden, d_out, uses)
    else:
        x = torch.linspace(-math.pi, math.pi, points)
        y = torch.sin(x)
        model = TutorialPolynomial(uses)
    parameters = list(model.parameters())
    if optimizer == "sgd":
        stepper: torch.optim.Optimizer = torch.optim.SGD(
            parameters, lr=lr, momentum=momentum, weight_decay=weight_decay
        )
    else:
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[optimizer]
        stepper = kind(parameters, lr=lr, weight_decay=weight_decay)
    losses = []
    for _ in range(iterations):
        loss = squares(model(x), y)
        for p in parameters:
            p.grad = None if not keep_zero_grads or p.grad is None else torch.zeros_like(p.grad)
        loss.backward()
        stepper.step()
        losses.append(loss.item())
    return state_of(model), losses
