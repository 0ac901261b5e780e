"""What moves a weight: the terms of one update, from the optimizer's own formula. This module imports no torch.

Sources: the `Algorithm` boxes of torch.optim.SGD, Adam and AdamW. The terms are computed in float64; what the
optimizer's own arithmetic in the parameter's dtype leaves over is the row "rounding", so that the rows always add up
to the change of the weight.
"""

import math
from functools import reduce
from operator import add
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from backpropdbg.held import FORMATS, Format, Held
from backpropdbg.hurry import looking_up, passing

_ULPS = 32
Setting = bool | int | float | str | tuple[float, ...] | None
Part = tuple[str, Any, str]


class Recipe(Struct, frozen=True):
    """How one optimizer moves one parameter.

    Attributes:
        name: of the optimizer's class. rule: "sgd", "adam" or "adamw"; "" where its arithmetic is not known.
        group: its settings for this parameter. state: copies of the tensors that it keeps for it.
        steps: taken before, where no tensor of the state says so.
        before, grad: the weight and the gradient that it reads.
    """

    name: str
    rule: str
    group: dict[str, Setting]
    state: dict[str, Held]
    steps: float
    before: Held
    grad: Held | None

    def terms(self, after: Held) -> list[tuple[str, Held, str]]:
        """Return (name, term, note) rows that add up to the weight's change, in float64.

        Only the difference for an unknown optimizer; none where it skipped the parameter, or a tensor was not kept.
        """
        before, grad = self.before, self.grad
        if grad is None or not (before.kept and after.kept and grad.kept and all(h.kept for h in self.state.values())):
            return []
        passing(math.prod(after.shape) * (3 + len(self.state)))
        names: list[tuple[str, str]] = []
        rooms: list[Any] = []
        rounding, filled = True, 0
        for piece, moved in self._pieces(after):
            looking_up()
            weight = piece.before.wide()
            delta = moved.wide() - weight
            parts = piece._parts(weight, "complex" in str(delta.dtype))
            if parts is None:
                return [("difference", after.minus(before), f"{self.name}: its terms are not known")]
            rest = delta - reduce(add, [t for _, t, _ in parts])
            rounding = rounding and piece._is_rounding(rest, weight, [t for _, t, _ in parts])
            names, terms = [(name, note) for name, _, note in parts], [*(t for _, t, _ in parts), rest]
            if moved is after:
                rooms = terms
                break
            rooms = rooms or [before.room(term) for term in terms]
            count = terms[0].shape[0]
            for room, term in zip(rooms, terms, strict=True):
                room[filled : filled + count] = term
            filled += count
        names.append(
            ("rounding", "what float rounding left") if rounding else ("unexplained", "something else took part")
        )
        shaped = [before.made(room.reshape(before.shape)) for room in rooms]
        return [(name, term, note) for (name, note), term in zip(names, shaped, strict=True)]

    def _pieces(self, after: Held) -> "list[tuple[Recipe, Held]]":
        """This and the new weight; of a large one some elements at a time, which stay in the processor's cache."""
        assert self.grad is not None
        moved = after.pieces()
        if len(moved) == 1:
            return [(self, after)]
        alike = {name: held for name, held in self.state.items() if held.shape == after.shape}
        cut = {name: held.pieces() for name, held in alike.items()}
        before, grad = self.before.pieces(), self.grad.pieces()
        if len({len(some) for some in (before, grad, moved, *cut.values())}) > 1:
            return [(self, after)]
        return [
            (
                replace(
                    self, before=before[n], grad=grad[n], state={**self.state, **{k: v[n] for k, v in cut.items()}}
                ),
                moved[n],
            )
            for n in range(len(moved))
        ]

    def _parts(self, weight: Any, is_complex: bool) -> list[Part] | None:
        """The terms of the formula; None where it is not known. weight: before, in float64."""
        if self.rule == "sgd":
            return self._sgd(weight)
        if self.rule in ("adam", "adamw") and not self.group.get("amsgrad") and not is_complex:
            return self._adam(weight)
        return None

    def _is_rounding(self, rest: Any, weight: Any, parts: list[Any]) -> bool:
        """True where a few units in the last place of what was added account for the rest, or it is not finite."""
        numbers = FORMATS.get(self.before.dtype, Format(0))
        reach = reduce(add, map(abs, [weight, *parts]))
        return not bool((abs(rest) > _ULPS * numbers.eps * reach + numbers.tiny).any())

    def _sgd(self, weight: Any) -> list[Part]:
        g: Any = self.group
        assert self.grad is not None
        lr, momentum, decay = float(g["lr"]), float(g["momentum"]), float(g["weight_decay"])
        grad = -self.grad.wide() if g.get("maximize") else self.grad.wide()
        buffer = self.state.get("momentum_buffer")
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
            old = self.grad.zeros() if buffer is None else buffer.wide()
            note = f"-lr * {carry:g} * buffer" if buffer is not None else "no buffer yet"
            rows.append(("momentum", -lr * carry * old, note))
        if decay:
            rows.append(("weight decay", -lr * share * decay * weight, f"-lr * {times}{decay:g} * weight"))
        return rows

    def _adam(self, weight: Any) -> list[Part]:
        g: Any = self.group
        assert self.grad is not None
        lr, decay, eps = float(g["lr"]), float(g["weight_decay"]), float(g["eps"])
        beta1, beta2 = (float(b) for b in g["betas"])
        grad = -self.grad.wide() if g.get("maximize") else self.grad.wide()
        first, second = (self._moment(k) for k in ("exp_avg", "exp_avg_sq"))
        held = self.state.get("step")
        step = (self.steps if held is None else float(held.wide())) + 1
        decoupled = self.rule == "adamw" or bool(g.get("decoupled_weight_decay"))
        total = grad if decoupled else grad + decay * weight
        second_now = beta2 * second + (1 - beta2) * total * total
        scale = -lr / (1 - beta1**step) / (second_now**0.5 / math.sqrt(1 - beta2**step) + eps)
        rows = [
            ("gradient", scale * (1 - beta1) * grad, f"/ sqrt(2nd moment), step {step:g}"),
            ("1st moment", scale * beta1 * first, f"{beta1:g} of the moving mean"),
        ]
        if decay:
            pull = -lr * decay * weight if decoupled else scale * (1 - beta1) * decay * weight
            rows.append(("weight decay", pull, "decoupled" if decoupled else "added to the gradient"))
        return rows

    def _moment(self, key: str) -> Any:
        assert self.grad is not None
        held = self.state.get(key)
        return self.grad.zeros() if held is None else held.wide()
