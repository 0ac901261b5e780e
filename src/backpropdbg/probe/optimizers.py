"""What moves a weight: the terms of one update, from the optimizer's own formula.

Sources: the `Algorithm` boxes of torch.optim.SGD, Adam and AdamW. The terms are computed in float64; what the
optimizer's own arithmetic in the parameter's dtype leaves over is the row "rounding", so that the rows always add up
to the change of the weight.
"""

import math
from typing import Any

import torch
from torch import Tensor

from backpropdbg.events import Held
from backpropdbg.probe.tensors import HeldTensor, copy

_ULPS = 32


def summary(optimizer: Any) -> str:
    """Return e.g. "SGD lr=0.01 momentum=0.9" (of the first group; zeros are left out)."""
    group = optimizer.param_groups[0]
    parts = [type(optimizer).__name__]
    for key in ("lr", "momentum", "betas", "weight_decay"):
        value = group.get(key)
        if key in group and (key == "lr" or value):
            shown = ",".join(f"{v:g}" for v in value) if isinstance(value, tuple) else f"{float(value):g}"
            parts.append(f"{key}={shown}")
    return " ".join(parts)


class OptimizerRecipe:
    """One parameter's update as one optimizer does it. Copies the state that `step()` is about to change."""

    def __init__(self, optimizer: Any, group: dict[str, Any], p: Tensor, before: Held, grad: Held | None) -> None:
        self._kind = type(optimizer)
        self._group = {k: _plain(v) for k, v in group.items() if k != "params"}
        self._state = {k: copy(v) if isinstance(v, Tensor) else v for k, v in optimizer.state.get(p, {}).items()}
        self._before, self._grad = before, grad

    def state(self) -> list[Held]:
        """The copies of the optimizer's state."""
        return [held for held in self._state.values() if isinstance(held, HeldTensor)]

    def terms(self, after: Held) -> list[tuple[str, Held, str]]:
        """Rows that add up to `after - before`; only the difference for an unknown optimizer, none if skipped."""
        before, grad = self._before, self._grad
        if grad is None or not (before.kept and after.kept and grad.kept and all(h.kept for h in self.state())):
            return []
        delta = _wide(after) - _wide(before)
        with torch.no_grad():
            if self._kind is torch.optim.SGD:
                parts = self._sgd()
            elif self._is_plain_adam() and not delta.is_complex():
                parts = self._adam()
            else:
                return [("difference", HeldTensor(delta), f"{self._kind.__name__}: its terms are not known")]
            rest = delta - sum((t for _, t, _ in parts), torch.zeros_like(delta))
        rows: list[tuple[str, Held, str]] = [(name, HeldTensor(t), note) for name, t, note in parts]
        if self._is_rounding(rest, [t for _, t, _ in parts]):
            rows.append(("rounding", HeldTensor(rest), "what float rounding left"))
        else:
            rows.append(("unexplained", HeldTensor(rest), "something else took part"))
        return rows

    def _is_rounding(self, rest: Tensor, parts: list[Tensor]) -> bool:
        """True where a few units in the last place of what was added account for the rest, or it is not finite."""
        value = self._before.value
        assert isinstance(value, Tensor)
        unit = torch.finfo(value.dtype).eps
        reach = _wide(self._before).abs() + sum((t.abs() for t in parts), torch.zeros_like(rest.abs()))
        return not bool((rest.abs() > _ULPS * unit * reach + torch.finfo(value.dtype).tiny).any())

    def _is_plain_adam(self) -> bool:
        return self._kind in (torch.optim.Adam, torch.optim.AdamW) and not self._group.get("amsgrad")

    def _sgd(self) -> list[tuple[str, Tensor, str]]:
        g = self._group
        lr, momentum, decay = float(g["lr"]), float(g["momentum"]), float(g["weight_decay"])
        sign = -1.0 if g.get("maximize") else 1.0
        grad, weight = sign * _wide(self._grad), _wide(self._before)
        buffer = self._state.get("momentum_buffer")
        # The first step takes the gradient itself as the buffer, undamped.
        damped = 1.0 if buffer is None else 1.0 - float(g["dampening"])
        share = damped if momentum else 1.0
        carry = momentum
        if momentum and g["nesterov"]:
            share, carry = 1.0 + momentum * damped, momentum * momentum
        up = "+" if g.get("maximize") else "-"
        times = f"{share:g} * " if share != 1 else ""
        rows = [("gradient", -lr * share * grad, f"{up}lr * {times}grad, lr={lr:g}")]
        if momentum:
            old = torch.zeros_like(grad) if buffer is None else _wide(buffer)
            note = f"-lr * {carry:g} * buffer" if buffer is not None else "no buffer yet"
            rows.append(("momentum", -lr * carry * old, note))
        if decay:
            rows.append(("weight decay", -lr * share * decay * weight, f"-lr * {times}{decay:g} * weight"))
        return rows

    def _adam(self) -> list[tuple[str, Tensor, str]]:
        g = self._group
        lr, decay, eps = float(g["lr"]), float(g["weight_decay"]), float(g["eps"])
        beta1, beta2 = (float(b) for b in g["betas"])
        sign = -1.0 if g.get("maximize") else 1.0
        grad, weight = sign * _wide(self._grad), _wide(self._before)
        first, second = (self._moment(k, grad) for k in ("exp_avg", "exp_avg_sq"))
        step = self._state.get("step", 0)
        step = (float(_wide(step)) if isinstance(step, HeldTensor) else float(step)) + 1
        decoupled = self._kind is torch.optim.AdamW or bool(g.get("decoupled_weight_decay"))
        total = grad if decoupled else grad + decay * weight
        second_now = beta2 * second + (1 - beta2) * total * total
        scale = -lr / (1 - beta1**step) / (second_now.sqrt() / math.sqrt(1 - beta2**step) + eps)
        rows = [
            ("gradient", scale * (1 - beta1) * grad, f"/ sqrt(2nd moment), step {step:g}"),
            ("1st moment", scale * beta1 * first, f"{beta1:g} of the moving mean"),
        ]
        if decay:
            pull = -lr * decay * weight if decoupled else scale * (1 - beta1) * decay * weight
            rows.append(("weight decay", pull, "decoupled" if decoupled else "added to the gradient"))
        return rows

    def _moment(self, key: str, like: Tensor) -> Tensor:
        held = self._state.get(key)
        return torch.zeros_like(like) if held is None else _wide(held)


def _plain(setting: Any) -> Any:
    """A setting of a group as a number: a scheduler may change a tensor in place later."""
    if isinstance(setting, (tuple, list)):
        return tuple([_plain(part) for part in setting])
    return float(setting) if isinstance(setting, Tensor) and setting.numel() == 1 else setting


def _wide(held: Held | None) -> Tensor:
    assert held is not None
    value = held.value
    assert isinstance(value, Tensor)
    value = value.detach()
    value = value.to_dense() if value.layout != torch.strided else value
    return value.to("cpu", torch.complex128 if value.is_complex() else torch.float64)
