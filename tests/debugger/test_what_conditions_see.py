"""Conditions of all kinds stop at the uses where plain torch says that they hold, and leave the program as it is."""

import math
import random
from collections.abc import Callable

import oracle
import pytest
import torch
from chained import BACKWARDS, ITERATIONS, chain, inputs, weight
from playing import play
from torch import nn

USES = 5
LEAST = 0.02
CONDITIONS = [
    "use == 3",
    "use % 2 and uses == 10",
    "use == 8 or uses == 5 and use == 2",
    "use <= limit",
    "partial.norm() > 0.5",
    "abs(partial).max() > abs(running).max() / 2",
    "(running - partial).sum() > 0",
    "running.norm() > partial.norm() > 0.1",
    "grad is not None and grad.norm() < running.norm()",
    "grad is None",
    "math.sqrt(use) > 2",
    "torch.isfinite(partial).all() and use % 2",
    "float(loss) < 0.2 and carried is None",
    "loss > 0.16",
    "weight.sum() > 0 and iteration == 2",
    "max(use, 4) == 4",
    "partial.sum() > limit / 100",
    "any(row.norm() > 0.4 for row in partial)",
    "[n for n in (1, 2) if n == use]",
    "eval('partial.zero_()').norm() == 0 and use == 2",
    "positive(partial) and use != 4",
    "(partial.sum() + noise) > 0",
    "phase == 'backward' and event == 'BackwardUse' and use == 1",
    "before is None and after is None and use == 5",
]
Seen = list[tuple[int, int, int]]


def positive(tensor: torch.Tensor) -> bool:
    return bool(tensor.sum() > 0)


def max(*numbers: float) -> float:  # the program's own, in the place of Python's
    return numbers[1] if numbers[0] < numbers[1] else 4 if numbers[0] == 5 else numbers[0]


def program() -> None:
    limit, noise = 2, torch.full((1,), LEAST)
    w = nn.Parameter(weight())
    stepper = torch.optim.SGD([w], lr=0.1)
    for batches in inputs():
        stepper.zero_grad()
        for x in batches:
            chain(x, [w] * USES).backward()
        stepper.step()
    assert limit and noise is not None


def holding(condition: str) -> Seen:
    """Iteration, backward and use of each arrival that it is true of, by a copy of the weight for each use."""
    found: Seen = []
    now = weight()
    for iteration, batches in enumerate(inputs(), 1):
        carried = None
        for backward, x in enumerate(batches, 1):
            copies = [now.clone().requires_grad_() for _ in range(USES)]
            loss = chain(x, copies)
            partials = torch.autograd.grad(loss, copies)
            with torch.no_grad():
                for n in reversed(range(USES)):
                    use = n + 1 + USES * (backward - 1)
                    names = {
                        "partial": partials[n].clone(),
                        "running": oracle.arrival_sum(partials[n:], carried),
                        **{"carried": carried, "grad": carried, "weight": now, "before": None, "after": None},
                        **{"loss": loss, "use": use, "uses": USES * backward, "iteration": iteration},
                        **{"phase": "backward", "event": "BackwardUse", "limit": 2, "noise": torch.full((1,), LEAST)},
                        **{"torch": torch, "math": math, "positive": positive, "max": max},
                    }
                    if eval(condition, names):
                        found.append((iteration, backward, use))
                carried = oracle.arrival_sum(partials, carried)
        now = now - 0.1 * carried
    return found


def stopped(run: Callable[[], None], condition: str) -> Seen:
    seen = play(run, "until forward", f"break backward w if {condition}", "continue")
    events = list(seen.trace.between(0, len(seen.trace)))
    found = []
    for situation in seen.situations[1:]:
        assert not any("condition" in line for line in situation.explanation), situation.explanation
        event = events[situation.position]
        begun = [e for e in events[: situation.position] if type(e).__name__ == "BackwardStarted"]
        found.append((event.iteration, sum(e.iteration == event.iteration for e in begun), event.use.number))
    return found


@pytest.mark.parametrize("condition", CONDITIONS)
def test_it_stops_where_plain_torch_says(condition: str) -> None:
    truth = holding(condition)
    assert stopped(program, condition) == truth
    assert 0 < len(truth) < USES * BACKWARDS * ITERATIONS


DRAWS = ["torch.rand(1) > 2", "partial.bernoulli(0.5).sum() < 0", "random.random() > 2", "drawn() > 2",
         "torch.nn.functional.dropout(partial).norm() < 0", "[partial.clone().normal_() for n in (1, 2)] == 0",
         "eval('torch.rand(2).sum()') > 2", "torch.manual_seed(use) is None", "partial.zero_().norm() > 0"]  # fmt: skip


@pytest.mark.parametrize("condition", DRAWS)
def test_it_leaves_the_random_numbers_and_the_record_to_the_program(condition: str) -> None:
    def drawn() -> float:
        return random.random() + float(torch.rand(1))

    def noisy(found: list[torch.Tensor]) -> None:
        torch.manual_seed(1)
        random.seed(1)
        w = nn.Parameter(weight())
        stepper = torch.optim.SGD([w], lr=0.1)
        for batches in inputs():
            for x in batches:
                chain(x + drawn() + torch.rand(()), [w] * USES).backward()
                found.append(torch.cat([w.grad.flatten(), torch.rand(2), torch.tensor([random.random()])]))
            stepper.step()

    plain: list[torch.Tensor] = []
    noisy(plain)
    with_it: list[torch.Tensor] = []
    stops = stopped(lambda: noisy(with_it), condition)
    assert not stops and oracle.bits(torch.stack(with_it), torch.stack(plain))


@pytest.mark.parametrize("expression", ["use > 9", "partial.norm() > 9", "partial.no", "torch.set_grad_enabled(True)"])
@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.filterwarnings("ignore:Using backward")
def test_it_leaves_gradients_on_or_off(expression: str, enabled: bool) -> None:
    """Also where it fails, or switches them itself; while it is evaluated they are off."""
    seen = []

    def program() -> None:
        w = nn.Parameter(weight())
        with torch.set_grad_enabled(enabled):
            w.register_hook(lambda grad: seen.append(torch.is_grad_enabled()))
        chain(inputs()[0][0], [w] * USES).backward(create_graph=enabled)

    said = play(program, f"break backward w if {expression}", "c", "print torch.is_grad_enabled()", "c").said
    assert seen == [enabled] and said[2].text == "False"
