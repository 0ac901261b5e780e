"""The demo is the tutorial's training, bit for bit, and its defaults show something from the first minute on."""

import subprocess
import sys
from itertools import combinations
from typing import Any

import oracle
import pytest
import torch
from driving import probed, seed
from torch import Tensor
from torch.nn import functional as F

from backpropdbg.demo.training import Settings, train
from backpropdbg.events import BackwardStarted, BackwardUse

# -- the same training ---------------------------------------------------------------------------

DEFAULT_RATES = {"module": 1e-3, "parameter": 1e-8}
CASES: list[dict[str, Any]] = [
    {},
    {"net": "parameter"},
    *({"net": net, "uses": uses} for net in ("module", "parameter") for uses in (0, 1, 2, 3)),
    *({"seed": number, "lr": 1e-2} for number in (0, 1, 2)),
    {"net": "parameter", "seed": 1, "lr": 1e-6},
    {"momentum": 0.0, "weight_decay": 0.1},
    {"momentum": 0.5, "weight_decay": 0.01, "keep_zero_grads": True},
    *({"net": net, "optimizer": "adam"} for net in ("module", "parameter")),
    {"optimizer": "adam", "weight_decay": 0.2, "lr": 1e-2, "keep_zero_grads": True},
    {"optimizer": "adamw", "weight_decay": 0.2, "lr": 1e-2},
    {"net": "parameter", "optimizer": "adamw", "weight_decay": 0.2, "keep_zero_grads": True},
    {"batch": 1, "d_in": 1, "hidden": 1, "d_out": 1},
    {"batch": 3, "d_in": 7, "hidden": 2, "d_out": 6, "uses": 6},
    {"net": "parameter", "batch": 37},
    {"iterations": 1},
    {"tutorial": True, "iterations": 3},
]


def told_to_the_oracle(settings: Settings) -> dict[str, Any]:
    """The same in the oracle's words, with every default written out."""
    names = ("net", "uses", "optimizer", "momentum", "weight_decay", "keep_zero_grads", "iterations")
    told: dict[str, Any] = {name: getattr(settings, name) for name in names}
    rate = 1e-4 if settings.tutorial else DEFAULT_RATES[settings.net] if settings.optimizer == "sgd" else 1e-3
    sizes = (settings.batch or 16, settings.d_in, settings.hidden, settings.d_out)
    return told | {
        "seed": settings.seed if settings.seed is not None else settings.chosen_seed,
        "lr": rate if settings.lr is None else settings.lr,
        "sizes": (64, 1000, 100, 10) if settings.tutorial else sizes,
        "points": settings.batch or 2000,
    }


@pytest.mark.parametrize("options", CASES, ids=str)
def test_train_is_the_tutorials_loop_bit_for_bit(options, capsys):
    settings = Settings(**options)
    weights, losses = oracle.tutorial_loop(**told_to_the_oracle(settings))
    model = train(settings)
    assert oracle.same_states(oracle.state_of(model), weights)
    assert capsys.readouterr().out.splitlines() == [f"{t} {losses[t - 1]}" for t in range(10, len(losses) + 1, 10)]


def test_the_cases_above_train():
    """Weights differ from one to the next, so that equal ones mean something."""
    found = [torch.cat([p.detach().flatten() for p in train(Settings(**case)).parameters()]) for case in CASES]
    assert not any(a.shape == b.shape and torch.equal(a, b) for a, b in combinations(found, 2))
    assert all(t.isfinite().all() for t in found)


@pytest.mark.parametrize(
    ("net", "shared"), [("module", {"middle_linear.weight", "middle_linear.bias"}), ("parameter", {"e"})]
)
def test_the_focus_is_the_parameter_that_is_used_many_times(net, shared):
    settings = Settings(net=net, uses=3, iterations=1)
    with probed() as seen:
        train(settings)
    arrived = [e.use.parameter for e in seen.events if isinstance(e, BackwardUse)]
    assert {name for name in arrived if arrived.count(name) == 3} == shared
    assert {name for name in arrived if arrived.count(name) != 1} == shared
    assert settings.focus in shared


# -- lively defaults -----------------------------------------------------------------------------


def uses_of(settings: Settings) -> list[int]:
    """How often each iteration's graph uses the shared parameter."""
    with probed() as seen:
        train(settings)
    started = [e for e in seen.events if isinstance(e, BackwardStarted)]
    return [sum(u.parameter == settings.focus for u in e.uses) for e in started]


def test_three_uses_come_first_then_two_or_one_and_soon_none():
    uses = uses_of(Settings())
    assert len(uses) == 20
    assert uses[0] == 3 and uses[1] in (1, 2) and 0 in uses[:5]
    assert set(uses) == {0, 1, 2, 3}


def test_the_parameter_net_soon_shows_two_one_and_no_use():
    uses = uses_of(Settings(net="parameter"))
    assert uses[0] == 2 and set(uses[:5]) == {0, 1, 2}


def first_iteration() -> tuple[oracle.State, Tensor, list[Tensor]]:
    """Weights, inputs and the shared weight's partials of the demo's first iteration, in plain torch."""
    settings = Settings()
    seed(settings.chosen_seed)
    x, y = torch.randn(16, settings.d_in), torch.randn(16, settings.d_out)
    state = oracle.state_of(oracle.TutorialNet(settings.d_in, settings.hidden, settings.d_out, None))
    return state, x, oracle.untied_partials(oracle.module_net, state, x, y, 3)[settings.focus]


def test_partials_are_of_comparable_size():
    sizes = [float(p.norm()) for p in first_iteration()[2]]
    assert 0.1 < max(sizes) < 2 * min(sizes)


def test_few_units_are_dead():
    """Of the hidden layers that the first iteration unrolls, each unit is alive for some row of the batch."""
    state, h, _ = first_iteration()
    dead = 0
    for layer in ("input_linear", *["middle_linear"] * 3):
        h = F.linear(h, state[f"{layer}.weight"], state[f"{layer}.bias"]).clamp(min=0)
        dead += int((h.max(dim=0).values == 0).sum())
    assert dead <= 1


def test_two_uses_cancel_in_one_element_by_a_lot():
    """In an element that is no crumb."""
    partials = first_iteration()[2]
    largest = max(float(p.abs().max()) for p in partials)
    cancelled = [
        (torch.minimum(a.abs(), b.abs()) / torch.maximum(a.abs(), b.abs()))[(a * b < 0) & (a.abs() > largest / 10)]
        for a, b in combinations(partials, 2)
    ]
    assert float(torch.cat(cancelled).max()) > 0.75


# -- torch's compiler comes in beside it --------------------------------------------------------

CODE = """
import sys, threading
from torch.optim import Optimizer
from backpropdbg.demo.compiler import import_meanwhile
from backpropdbg.demo.training import Settings, train
assert "torch._dynamo" not in sys.modules
import_meanwhile()
thread = next(t for t in threading.enumerate() if t is not threading.main_thread())
assert thread.is_alive() and Optimizer.add_param_group.__wrapped__.__dynamo_disable is not None
train(Settings(iterations=20, seed=3))
thread.join()
assert "torch._dynamo" in sys.modules
assert not hasattr(Optimizer.add_param_group.__wrapped__, "__dynamo_disable")
train(Settings(iterations=20, seed=3))
assert Optimizer.add_param_group.__wrapped__.__dynamo_disable is not Optimizer.add_param_group.__wrapped__
"""


def test_training_goes_on_while_it_comes_in():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", CODE], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    losses = oracle.tutorial_loop(**told_to_the_oracle(Settings(iterations=20, seed=3)))[1]
    assert done.stdout.splitlines() == [f"{t} {losses[t - 1]}" for t in (10, 20)] * 2
