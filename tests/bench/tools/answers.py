"""What a tool says about one weight in one training step, and what plain torch says: found out by running both."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

sys.path.append(str(Path(__file__).parents[2]))

import oracle
from workloads import Loop, dynamic_net

WEIGHT = "middle_linear.weight"
USES = 3


@dataclass
class Answers:
    """About WEIGHT, after one step.

    Attributes:
        partials: of each use, by its number in forward order, as the tool gives them under a name.
        by_hand: the same, as a user can work them out of named values that the tool gives, by one more product.
        recorded: tensors that the tool gives, without a name that says which is which.
        running: the sum after each use, in order of arrival. grad: what `.grad` holds.
        before, after: the weight around the step.
        words: what there is to say beside.
    """

    partials: dict[int, Tensor] = field(default_factory=dict)
    by_hand: dict[int, Tensor] = field(default_factory=dict)
    recorded: list[Tensor] = field(default_factory=list)
    running: list[Tensor] = field(default_factory=list)
    grad: Tensor | None = None
    before: Tensor | None = None
    after: Tensor | None = None
    words: str = ""


@dataclass
class Truth:
    """The same in plain torch. partials, running: in order of arrival, that is the last use first."""

    partials: list[Tensor]
    running: list[Tensor]
    grad: Tensor
    before: Tensor
    after: Tensor


def case(device: str = "cpu") -> Loop:
    """The net that the answers are about: small, three uses."""
    return dynamic_net(device, 5, inputs=4, batch=16, uses=USES)


def truth(device: str = "cpu") -> Truth:
    """Work out a step of it: the partials from untied copies of the weight, the sums by adding."""
    loop = case(device)
    state = oracle.state_of(loop.model)
    untied = oracle.Untied(state)
    loss = loop.loss(oracle.module_net(untied, loop.inputs, USES))
    partials = [p for p in reversed(untied.partials(loss)[WEIGHT]) if p is not None]
    running = [partials[0]]
    for partial in partials[1:]:
        running.append(running[-1] + partial)
    loop.step()
    weight = loop.model.get_parameter(WEIGHT)
    assert weight.grad is not None and torch.equal(running[-1], weight.grad)
    return Truth(partials, running, weight.grad, state[WEIGHT], weight.detach())


def mark(said: Tensor | None, true: Tensor) -> str:
    """How good one answer is."""
    if said is None:
        return "no"
    if said.shape == true.shape and oracle.bits(said.cpu(), true.cpu()):
        return "bit for bit"
    return "nearly" if said.shape == true.shape and torch.allclose(said, true, rtol=1e-4) else "WRONG"


def worst(said: Sequence[Tensor | None], true: Sequence[Tensor]) -> str:
    """How good several are together."""
    if not any(each is not None for each in said):
        return "no"
    if len(said) != len(true):
        return f"WRONG: {len(said)} in place of {len(true)}"
    marks = [mark(a, b) for a, b in zip(said, true, strict=True)]
    return next(m for m in ("WRONG", "no", "nearly", "bit for bit") if m in marks)


def found(recorded: Sequence[Tensor], true: Sequence[Tensor]) -> int:
    """How many of some true values are among what was recorded, transposed or not."""
    return sum(any(mark(r, t) == "bit for bit" or mark(r, t.t()) == "bit for bit" for r in recorded) for t in true)


def judge(said: Answers, true: Truth) -> str:
    """All of it in words."""
    numbers = range(USES, 0, -1)
    partials = worst([said.partials.get(n) for n in numbers], true.partials)
    if partials == "no" and said.by_hand:
        partials = f"by hand: {worst([said.by_hand.get(n) for n in numbers], true.partials)}"
    elif partials == "no" and said.recorded:
        count = found(said.recorded, true.partials)
        partials = f"{count} of {USES} are among {len(said.recorded)} tensors, unnamed" if count else "no"
    running = worst(said.running, true.running) if said.running else "no"
    if running == "no" and said.recorded and (count := found(said.recorded, true.running[1:])):
        running = f"{count} of {USES - 1} sums unnamed"
    parts = {
        "partial of each use": partials,
        "running sum": running,
        ".grad": mark(said.grad, true.grad),
        "weight before": mark(said.before, true.before),
        "after": mark(said.after, true.after),
    }
    return ", ".join(f"{name}: {value}" for name, value in parts.items()) + (f"; {said.words}" if said.words else "")
