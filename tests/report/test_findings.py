"""Each finding has a program that shows it, and a near miss that must not."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from backpropdbg.report.findings import REASONS, SLUGS, fails


def loop(model, optimizer=None, iterations=3, zero=True, forward=None, before_step=lambda n: None):
    """Train on random data."""
    forward = forward or (lambda n: model(torch.randn(4, 3)).square().mean())
    for n in range(iterations):
        if zero and optimizer is not None:
            optimizer.zero_grad()
        forward(n).backward()
        before_step(n)
        if optimizer is not None:
            optimizer.step()


def sgd(model, **settings):
    return torch.optim.SGD(model.parameters(), lr=0.1, **settings)


class Two(nn.Module):
    """Two layers; the second may be left out, or cut off."""

    def __init__(self, use="both"):
        super().__init__()
        self.first, self.second, self.use = nn.Linear(3, 3), nn.Linear(3, 3), use

    def forward(self, x):
        h = self.first(x)
        if self.use == "both":
            return h + self.second(x)
        return h + self.second(x).detach() if self.use == "detached" else h


def test_a_plain_program_has_no_finding(collect):
    report = collect(lambda: loop(model := Two(), sgd(model, momentum=0.9)))
    assert len(report.lines) == 12
    assert [line.row.findings for line in report.lines] == [()] * 12


# -- no-optimizer --------------------------------------------------------------------------------


def test_no_optimizer(collect):
    def program():
        model = Two()
        loop(model, torch.optim.SGD(model.first.parameters(), lr=0.1))

    report = collect(program)
    assert "no-optimizer" in report.slugs("second.weight", 1) & report.slugs("second.weight", 3)
    assert "no-optimizer" not in report.slugs("first.weight")
    assert report.text("no-optimizer", "second.weight") == "received a gradient, but the optimizer does not have it"


def test_an_optimizer_that_never_steps_has_its_parameters_all_the_same(collecting):
    with collecting() as report:
        model = Two()
        optimizer = torch.optim.SGD(model.first.parameters(), lr=0.1)
        model(torch.randn(2, 3)).sum().backward()
    assert optimizer and report.slugs("first.weight") == set()
    want = "received a gradient, but the optimizer does not have it; step() was never called"
    assert report.text("no-optimizer", "second.weight") == want


def test_no_optimizer_at_all(collect):
    report = collect(lambda: loop(Two(), iterations=1))
    assert report.text("no-optimizer", "first.bias") == "received a gradient, but no optimizer was made"


def test_two_optimizers_that_take_turns_are_no_finding(collect):
    def program():
        model = Two()
        halves = [torch.optim.SGD(m.parameters(), lr=0.1) for m in (model.first, model.second)]
        for n in range(4):
            halves[n % 2].zero_grad()
            model(torch.randn(4, 3)).square().mean().backward()
            halves[n % 2].step()

    report = collect(program, 4)
    assert not any("no-optimizer" in line.row.findings for line in report.lines)


def test_inputs_that_want_a_gradient_are_nobodys_to_train(collect):
    """A new one in each iteration, and those that a checkpoint makes."""

    def program():
        model = Two()
        optimizer = sgd(model)
        for _ in range(3):
            optimizer.zero_grad()
            x = torch.randn(4, 3, requires_grad=True)
            checkpoint(model, checkpoint(model, x, use_reentrant=True), use_reentrant=True).square().mean().backward()
            optimizer.step()

    report = collect(program)
    assert len(report.lines) == 5 * 3  # what the checkpoints made is gone
    assert report.line("x", 2).row.weight_moved is False and report.line("x", 3).row.grad_norm > 0
    assert not any("no-optimizer" in line.row.findings for line in report.lines)


def test_training_by_hand_needs_no_optimizer(collect):
    def program():
        model = Two()
        for _ in range(3):
            model(torch.randn(4, 3)).square().mean().backward()
            with torch.no_grad():
                for p in model.parameters():
                    p -= 0.1 * p.grad
                    p.grad = None

    assert {line.row.findings for line in collect(program).lines} == {()}


# -- no-gradient ---------------------------------------------------------------------------------


@pytest.mark.parametrize("use", ["unused", "detached"])
def test_no_gradient(collect, use):
    report = collect(lambda: loop(model := Two(use), sgd(model)))
    assert all(report.slugs("second.weight", n) == {f"no-gradient:{use}"} for n in (1, 2, 3))
    assert report.slugs("first.weight") == set()


def test_no_gradient_of_a_frozen_parameter(collect):
    def program():
        model = Two()
        model.second.weight.requires_grad_(False)
        loop(model, sgd(model))

    report = collect(program)
    assert report.slugs("second.weight") == {"no-gradient:frozen"}
    assert report.line("second.weight").row.shape == (3, 3)
    assert report.slugs("second.bias") == set()


def test_no_gradient_of_what_is_no_leaf(collect):
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.base = nn.Parameter(torch.randn(3))
            self.scaled = nn.Parameter(torch.randn(3)) * 2

        def forward(self, x):
            return x * self.base + x * self.scaled

    def program():
        model = Scaled()
        model(torch.randn(4, 3)).square().mean().backward()

    assert "no-gradient:non-leaf" in collect(program).slugs("scaled")


def test_a_parametrized_weight_is_computed_on_purpose(collect):
    def program():
        model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 3)))
        loop(model, sgd(model))

    report = collect(program)
    assert not any(slug.startswith("no-gradient") for line in report.lines for slug in line.row.findings)


def test_one_gradient_in_three_iterations_is_a_gradient(collect):
    def program():
        model = Two()

        def forward(n):
            model.use = "both" if n == 1 else "unused"
            return model(torch.randn(4, 3)).square().mean()

        loop(model, sgd(model), forward=forward)

    report = collect(program)
    assert not any(slug.startswith("no-gradient") for line in report.lines for slug in line.row.findings)


def test_a_gradient_that_autograd_grad_computes_is_one(collect):
    def program():
        layer = nn.Linear(3, 1)
        torch.autograd.grad(layer(torch.randn(2, 3)).sum(), list(layer.parameters()))

    assert not any(slug.startswith("no-gradient") for slug in collect(program).slugs("weight"))


def test_without_a_backward_nobody_can_say(collect):
    report = collect(lambda: Two()(torch.randn(2, 3)))
    assert {line.row.findings for line in report.lines} == {()}


# -- never-zeroed, carried-in --------------------------------------------------------------------


def test_never_zeroed_from_the_second_time_on(collect):
    report = collect(lambda: loop(model := Two(), sgd(model), zero=False))
    early = "carried-in:earlier-iteration"
    assert [report.slugs("first.weight", n) for n in (1, 2, 3)] == [set(), {early}, {early, "never-zeroed"}]


@pytest.mark.parametrize("clear", ["None", "zeros", "zero_"])
def test_zeroed_in_every_other_iteration_is_not_never(collect, clear):
    def program():
        model = Two()
        optimizer = sgd(model)

        def forward(n):
            if n % 2 == 0:
                if clear == "zero_":
                    for p in model.parameters():
                        if p.grad is not None:
                            p.grad.zero_()
                else:
                    optimizer.zero_grad(set_to_none=clear == "None")
            return model(torch.randn(4, 3)).square().mean()

        loop(model, optimizer, iterations=5, zero=False, forward=forward)

    report = collect(program, 5)
    early = {"carried-in:earlier-iteration"}
    assert [report.slugs("first.weight", n) for n in (1, 2, 3, 4, 5)] == [set(), early, set(), early, set()]


def test_a_gradient_that_the_program_keeps_a_part_of_was_not_forgotten(collect):
    def program():
        model = Two()

        def decay(n):
            for p in model.parameters():
                p.grad.mul_(0.5)

        optimizer = sgd(model)
        for _ in range(4):
            model(torch.randn(4, 3)).square().mean().backward()
            optimizer.step()
            decay(0)

    report = collect(program, 4)
    assert not any("never-zeroed" in line.row.findings for line in report.lines)
    assert "carried-in:earlier-iteration" in report.slugs("first.weight", 4)


def test_accumulation_within_an_iteration_is_carried_in_and_named_so(collect):
    def program():
        model = Two()
        optimizer = sgd(model)
        for _ in range(3):
            optimizer.zero_grad()
            for _ in range(3):
                model(torch.randn(4, 3)).square().mean().backward()
            optimizer.step()

    report = collect(program)
    assert {line.row.findings for line in report.lines} == {("carried-in:same-iteration",)}
    assert "accumulation" in report.text("carried-in:same-iteration", "first.weight")


def test_a_step_with_an_old_gradient_alone_is_carried_in(collect):
    def program():
        model = Two()

        def forward(n):
            model.use = "both" if n == 0 else "unused"
            return model(torch.randn(4, 3)).square().mean()

        loop(model, sgd(model), zero=False, forward=forward, iterations=2)

    report = collect(program)
    assert report.slugs("second.weight", 2) == {"carried-in:earlier-iteration"}
    assert report.line("second.weight", 2).row.runs == 0


# -- moved-without-gradient ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings,cause",
    [
        ({"momentum": 0.9}, "momentum"),
        ({"weight_decay": 0.1}, "weight decay"),
        ({"momentum": 0.9, "weight_decay": 0.1}, "momentum and weight decay"),
    ],
)
def test_moved_without_gradient_names_the_cause(collect, settings, cause):
    def program():
        model = Two()
        optimizer = sgd(model, **settings)
        for n in range(2):
            model.use = "both" if n == 0 else "unused"
            optimizer.zero_grad(set_to_none=False)
            model(torch.randn(4, 3)).square().mean().backward()
            optimizer.step()

    report = collect(program)
    assert report.slugs("second.weight", 2) == {"moved-without-gradient"}
    assert report.text("moved-without-gradient", "second.weight", 2).startswith(f"moved by {cause} (SGD")
    assert report.slugs("second.weight", 1) == report.slugs("first.weight", 2) == set()


def test_without_momentum_zeros_move_nothing_and_none_is_skipped(collect):
    def program():
        model = Two()
        plain, heavy = sgd(model), sgd(model, momentum=0.9, weight_decay=0.1)
        for n, (optimizer, none) in enumerate([(plain, False), (plain, False), (heavy, True)]):
            model.use = "both" if n == 0 else "unused"
            optimizer.zero_grad(set_to_none=none)
            model(torch.randn(4, 3)).square().mean().backward()
            optimizer.step()

    report = collect(program)
    assert [report.line("second.weight", n).row.weight_moved for n in (1, 2, 3)] == [True, False, False]
    assert all("moved-without-gradient" not in line.row.findings for line in report.lines)


def test_moved_by_hand_without_a_gradient(collect):
    def program():
        model, average = Two(), Two()
        model.average = average
        optimizer = sgd(model)
        for _ in range(3):
            optimizer.zero_grad()
            (model(x := torch.randn(4, 3)) - average(x).detach()).square().mean().backward()
            optimizer.step()
            with torch.no_grad():
                average.first.weight.lerp_(model.first.weight, 0.5)

    report = collect(program)
    text = report.text("moved-without-gradient", "average.first.weight", 2)
    assert text == "moved by hand, outside of any optimizer"
    assert "moved-without-gradient" not in report.slugs("first.weight", 2) | report.slugs("average.first.bias", 2)


def test_a_weight_that_is_clamped_after_its_step_had_a_gradient(collect):
    def program():
        model = Two()
        optimizer = sgd(model)
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.randn(4, 3)).square().mean().backward()
            optimizer.step()
            with torch.no_grad():
                for p in model.parameters():
                    p.clamp_(-0.1, 0.1)

    assert {line.row.findings for line in collect(program).lines} == {()}


def test_moved_by_a_gradient_that_autograd_grad_gave(collect):
    layer = nn.Linear(3, 1)

    def program():
        for _ in range(3):
            grads = torch.autograd.grad(layer(torch.randn(4, 3)).square().mean(), list(layer.parameters()))
            with torch.no_grad():
                for p, g in zip(layer.parameters(), grads, strict=True):
                    p -= 0.1 * g

    report = collect(program)
    assert report.line("weight", 3).row.weight_moved
    assert {line.row.findings for line in report.lines} == {()}


# -- the rest ------------------------------------------------------------------------------------


def test_every_slug_is_listed_once():
    assert len(set(SLUGS)) == len(SLUGS) == len(REASONS) + sum(map(len, REASONS.values()))


def test_fails_takes_a_slug_with_or_without_its_reason(collect):
    report = collect(lambda: loop(model := Two("unused"), sgd(model)))
    for wanted, hits in (("no-gradient", 6), ("no-gradient:unused", 6), ("no-gradient:frozen", 0), ("cancels", 0)):
        assert len(fails(report.lines, [wanted])) == hits == len(report.fails([wanted])), wanted
    assert len(fails(report.lines, ["cancels", "no-gradient"])) == 6 and fails(report.lines, []) == []
