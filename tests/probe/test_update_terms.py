"""The terms of an update: each one equals the optimizer's formula, and together they are the weight's change."""

import oracle
import pytest
import torch
from driving import make_net, probed, seed

from backpropdbg.events import StepFinished, StepStarted
from backpropdbg.probe.tensors import HeldTensor
from backpropdbg.recipes import Recipe

EPS32 = torch.finfo(torch.float32).eps
SGD = [
    {"lr": 1e-2},
    {"lr": 1e-2, "weight_decay": 0.1},
    {"lr": 1e-2, "momentum": 0.9},
    {"lr": 1e-2, "momentum": 0.9, "dampening": 0.4},
    {"lr": 1e-2, "momentum": 0.9, "weight_decay": 0.1, "dampening": 0.4},
    {"lr": 1e-2, "momentum": 0.9, "weight_decay": 0.1, "nesterov": True},
    {"lr": 1e-2, "momentum": 0.5, "weight_decay": 0.1, "maximize": True},
]
ADAM = [
    {"lr": 1e-2},
    {"lr": 1e-2, "weight_decay": 0.1},
    {"lr": 3e-2, "betas": (0.5, 0.7), "eps": 1e-4, "weight_decay": 0.3},
    {"lr": 1e-2, "maximize": True},
]
CASES = [
    *((torch.optim.SGD, options) for options in SGD),
    *((torch.optim.Adam, options) for options in ADAM),
    *((torch.optim.AdamW, {"weight_decay": 0.0} | options) for options in ADAM),
]
IDS = [f"{kind.__name__} {options}" for kind, options in CASES]


def oracle_terms(kind, options, weight, grad, state):
    if kind is torch.optim.SGD:
        return oracle.sgd_terms(weight, grad, state.get("momentum_buffer"), **options)
    return oracle.adam_terms(weight, grad, state, decoupled=kind is torch.optim.AdamW, **options)


def copy_of(state):
    return {k: v.detach().clone() for k, v in state.items() if v is not None}


def walk(kind, options, iterations=5, net="module", uses=2, between=lambda t, model, stepper: None):
    """Yield (iteration, name, recipe's rows, before, grad, state before, after) for each parameter's update."""
    seed(7)
    model, x, y = make_net(net, uses)
    stepper = kind(model.parameters(), **options)
    with probed() as seen:
        for t in range(1, iterations + 1):
            stepper.zero_grad()
            oracle.squares(model(x), y).backward()
            between(t, model, stepper)
            before = oracle.state_of(model)
            grads = {n: None if p.grad is None else p.grad.clone() for n, p in model.named_parameters()}
            states = {n: copy_of(stepper.state.get(p, {})) for n, p in model.named_parameters()}
            stepper.step()
            started = next(e for e in seen.events if isinstance(e, StepStarted) and e.iteration == t)
            finished = next(e for e in seen.events if isinstance(e, StepFinished) and e.iteration == t)
            for n, p in model.named_parameters():
                assert oracle.bits(started.before[n].value, before[n])
                assert oracle.bits(finished.after[n].value, p)
                assert (started.grads[n] is None) == (grads[n] is None)
                assert grads[n] is None or oracle.bits(started.grads[n].value, grads[n])
                rows = started.recipes[n].terms(finished.after[n])
                yield t, n, rows, before[n], grads[n], states[n], p.detach().clone()


@pytest.mark.parametrize(("kind", "options"), CASES, ids=IDS)
def test_terms_equal_the_formula_and_add_up(kind, options):
    seen = 0
    for t, name, rows, before, grad, state, after in walk(kind, options):
        expected = oracle_terms(kind, options, before, grad, state)
        shown = {row: held.value for row, held, _ in rows}
        assert list(shown) == [*expected, "rounding"], f"{name}, iteration {t}"
        for term, value in expected.items():
            torch.testing.assert_close(shown[term], value, rtol=1e-12, atol=1e-300)
        assert t == 1 or any(bool(state[k].any()) for k in state) or options.get("momentum", 1) == 0 or not state
        # The rows are float64; adding them up again may cost one rounding for each.
        change = after.double() - before.double()
        total = sum(shown.values())
        size = sum(v.abs() for v in shown.values())
        assert bool(((total - change).abs() <= len(shown) * 2**-53 * size).all())
        # What is left over is float32 rounding: of the terms, and of the weight itself.
        room = 8 * EPS32 * (size - shown["rounding"].abs()) + EPS32 * before.double().abs()
        assert bool((shown["rounding"].abs() <= room).all()), f"{name}, iteration {t}"
        seen += 1
    assert seen == 5 * 6


@pytest.mark.parametrize("options", [{"foreach": True}, {"fused": True}])
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW])
def test_terms_of_other_implementations(kind, options):
    plain = {"lr": 1e-2, "weight_decay": 0.1} | ({"momentum": 0.9} if kind is torch.optim.SGD else {})
    for t, name, rows, before, grad, state, after in walk(kind, plain | options):
        expected = oracle_terms(kind, plain, before, grad, state)
        shown = {row: held.value for row, held, _ in rows}
        for term, value in expected.items():
            torch.testing.assert_close(shown[term], value, rtol=1e-12, atol=1e-300)
        total = sum(shown.values())
        torch.testing.assert_close(total, after.double() - before.double(), rtol=1e-12, atol=1e-15)
        room = 16 * EPS32 * (sum(v.abs() for v in shown.values()) + before.double().abs())
        assert bool((shown["rounding"].abs() <= room).all()), f"{name}, iteration {t}"


def test_momentum_buffers_take_part_from_the_second_iteration_on():
    norms = {}
    for t, name, rows, *_ in walk(torch.optim.SGD, {"lr": 1e-2, "momentum": 0.9}, 3):
        if name == "middle_linear.weight":
            norms[t] = {row: held.norm() for row, held, _ in rows}["momentum"]
    assert norms[1] == 0 and norms[2] > 0 and norms[3] > 0


@pytest.mark.parametrize(("kind", "options"), CASES, ids=IDS)
def test_a_parameter_without_grad_is_skipped(kind, options):
    """Momentum, moments and decay exist, yet `.grad is None` means that nothing happens."""

    def drop(t, model, stepper):
        if t == 3:
            model.middle_linear.weight.grad = None

    seen = 0
    for t, name, rows, before, grad, _, after in walk(kind, options, 3, between=drop):
        if (t, name) == (3, "middle_linear.weight"):
            assert grad is None and rows == [] and oracle.bits(before, after)
            seen += 1
    assert seen == 1


@pytest.mark.parametrize(("kind", "options"), CASES, ids=IDS)
def test_a_zero_gradient_is_not_a_missing_one(kind, options):
    """With a gradient of zeros, momentum, moments and decay still move the weight."""

    def zero(t, model, stepper):
        if t == 3:
            model.middle_linear.weight.grad.zero_()

    for t, name, rows, before, _, state, after in walk(kind, options, 3, between=zero):
        if (t, name) != (3, "middle_linear.weight"):
            continue
        shown = {row: held.value for row, held, _ in rows}
        expected = oracle_terms(kind, options, before, torch.zeros_like(before), state)
        assert not shown["gradient"].any()
        moves = any(bool(v.any()) for v in expected.values())
        assert moves == (kind is not torch.optim.SGD or "momentum" in options or "weight_decay" in options)
        assert oracle.bits(before, after) == (not moves)
        for term, value in expected.items():
            torch.testing.assert_close(shown[term], value, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (torch.optim.RMSprop, {"lr": 1e-2}),
        (torch.optim.Adagrad, {"lr": 1e-2}),
        (torch.optim.Adam, {"lr": 1e-2, "amsgrad": True}),
    ],
)
def test_an_unknown_optimizer_shows_the_difference_alone(kind, options):
    for _, _, rows, before, _, _, after in walk(kind, options, 2):
        assert [name for name, _, _ in rows] == ["difference"]
        assert torch.equal(rows[0][1].value, after.double() - before.double())


def test_each_parameter_group_has_its_own_terms():
    seed(2)
    model, x, y = make_net("module", 2)
    stepper = torch.optim.SGD(
        [
            {"params": model.middle_linear.parameters(), "lr": 0.5},
            {"params": model.output_linear.parameters(), "weight_decay": 0.25},
        ],
        lr=0.125,
    )
    with probed() as seen:
        oracle.squares(model(x), y).backward()
        before = oracle.state_of(model)
        stepper.step()
    started = next(e for e in seen.events if isinstance(e, StepStarted))
    finished = next(e for e in seen.events if isinstance(e, StepFinished))
    assert "input_linear.weight" not in started.recipes
    for name, options in {
        "middle_linear.weight": {"lr": 0.5},
        "output_linear.bias": {"lr": 0.125, "weight_decay": 0.25},
    }.items():
        expected = oracle.sgd_terms(before[name], dict(model.named_parameters())[name].grad, None, **options)
        shown = {row: held.value for row, held, _ in started.recipes[name].terms(finished.after[name])}
        assert list(shown) == [*expected, "rounding"]
        for term, value in expected.items():
            torch.testing.assert_close(shown[term], value, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("off", [0.0, 1.0])
def test_a_large_update_is_computed_some_elements_at_a_time(off):
    """One element of the last stretch that something else moved is seen."""
    torch.manual_seed(0)
    before, grad, buffer = torch.randn(3, 300, 151).unbind()
    group = {"lr": 0.1, "momentum": 0.9, "dampening": 0.0, "weight_decay": 0.1, "nesterov": False}
    state = {"momentum_buffer": HeldTensor(buffer), "step": HeldTensor(torch.tensor(3.0))}
    after = before - 0.1 * (grad + 0.1 * before + 0.9 * buffer)
    after[-1, -1] += off
    recipe = Recipe("SGD", "sgd", group, state, 3, HeldTensor(before), HeldTensor(grad))
    shown = {name: held.value for name, held, _ in recipe.terms(HeldTensor(after))}
    expected = oracle.sgd_terms(before, grad, buffer, lr=0.1, momentum=0.9, weight_decay=0.1)
    assert list(shown) == [*expected, "unexplained" if off else "rounding"]
    expected["unexplained" if off else "rounding"] = after.double() - before.double() - sum(expected.values())
    for name, term in expected.items():
        torch.testing.assert_close(shown[name], term, rtol=1e-12, atol=1e-15)
