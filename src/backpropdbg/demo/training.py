"""The tutorial's training loop, unaware of any debugger."""

import math
import random

import torch
from msgspec import Struct

from backpropdbg.demo.dynamic_net import DynamicNet, DynamicPolynomial


class Settings(Struct, frozen=True):
    """What `demo` can be told; None means the default of the chosen net.

    Attributes:
        uses: how often the shared weight is used in each forward; None draws it at random.
    """

    net: str = "module"
    seed: int | None = None
    uses: int | None = None
    batch: int | None = None
    d_in: int = 4
    hidden: int = 5
    d_out: int = 3
    optimizer: str = "sgd"
    lr: float | None = None
    momentum: float = 0.9
    weight_decay: float = 0.0
    keep_zero_grads: bool = False
    iterations: int = 20
    tutorial: bool = False

    @property
    def title(self) -> str:
        """The net's class."""
        return (DynamicPolynomial if self.net == "parameter" else DynamicNet).__name__

    @property
    def focus(self) -> str:
        """The parameter that the demo is about."""
        return "e" if self.net == "parameter" else "middle_linear.weight"

    @property
    def chosen_seed(self) -> int:
        """The seed that was given, else one that shows a lively net."""
        return self.seed if self.seed is not None else (20787 if self.net == "module" else 35)


def _rate(settings: Settings) -> float:
    if settings.lr is not None:
        return settings.lr
    if settings.optimizer != "sgd":
        return 1e-3
    if settings.net == "parameter":
        return 1e-8
    return 1e-4 if settings.tutorial else 1e-3


def _optimizer(settings: Settings, model: torch.nn.Module) -> torch.optim.Optimizer:
    lr, decay = _rate(settings), settings.weight_decay
    if settings.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), lr=lr, weight_decay=decay)
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=decay)
    return torch.optim.SGD(model.parameters(), lr=lr, momentum=settings.momentum, weight_decay=decay)


def _task(settings: Settings) -> tuple[torch.Tensor, torch.Tensor, torch.nn.Module]:
    """Draw inputs and targets, then build the net, in the tutorial's order."""
    if settings.net == "parameter":
        x = torch.linspace(-math.pi, math.pi, settings.batch or 2000)
        return x, torch.sin(x), DynamicPolynomial(settings.uses)
    batch, d_in, hidden, d_out = settings.batch or 16, settings.d_in, settings.hidden, settings.d_out
    if settings.tutorial:
        batch, d_in, hidden, d_out = 64, 1000, 100, 10
    x, y = torch.randn(batch, d_in), torch.randn(batch, d_out)
    return x, y, DynamicNet(d_in, hidden, d_out, settings.uses)


def train(settings: Settings) -> torch.nn.Module:
    """Train for `settings.iterations` steps; return the net."""
    torch.manual_seed(settings.chosen_seed)
    random.seed(settings.chosen_seed)
    x, y, model = _task(settings)
    criterion = torch.nn.MSELoss(reduction="sum")
    optimizer = _optimizer(settings, model)
    for t in range(settings.iterations):
        y_pred = model(x)
        loss = criterion(y_pred, y)
        if t % 10 == 9:
            print(t + 1, loss.item())
        optimizer.zero_grad(set_to_none=not settings.keep_zero_grads)
        loss.backward()
        optimizer.step()
    return model
