"""`why`: the numbers are those of plain torch, and each reason for standing still is told from the others."""

import re
from collections.abc import Callable
from typing import Any

import oracle
import pytest
import torch
from playing import play, said
from torch import Tensor

SHARED = "layer.weight"


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 3, bias=False)
        self.spare = torch.nn.Linear(3, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.layer(x).tanh()).square().sum()


def made() -> tuple[Net, Tensor]:
    torch.manual_seed(0)
    return Net(), torch.randn(4, 3)


def once(between: Callable[[Net], object] = lambda net: None, backwards: int = 1, **options: Any) -> Callable[[], None]:
    """A program of one step; between: what happens to the net before it."""

    def program() -> None:
        net, x = made()
        stepper = torch.optim.SGD(net.parameters(), **{"lr": 0.1} | options)
        for _ in range(backwards):
            net(x).backward()
        between(net)
        stepper.step()

    return program


def plain() -> tuple[list[Tensor], Tensor]:
    """The partials of the two uses, and the weight."""
    net, x = made()
    copies = [net.layer.weight.detach().clone().requires_grad_() for _ in range(2)]
    loss = (torch.nn.functional.linear(x, copies[0]).tanh() @ copies[1].T).square().sum()
    return list(torch.autograd.grad(loss, copies)), net.layer.weight.detach()


def why(program: Callable[[], None], *lines: str, focus: str = SHARED) -> str:
    return said(play(program, "until update", *lines, "why", "c", focus=focus))[-2]


def numbers(pattern: str, text: str) -> list[float]:
    found = re.search(pattern, text)
    assert found is not None, text
    return [float(group) for group in found.groups()]


def test_which_uses_pulled_which_way_on_the_element_and_over_the_whole_tensor():
    (one, two), _ = plain()
    text = why(once(), "element 2,1")
    a, b = float(one[2, 1]), float(two[2, 1])
    way = ["up" if value < 0 else "down" for value in (b, a)]
    shown = numbers(rf"W\[2,1\]: A2 (\S+) {way[0]}, A1 (\S+) {way[1]}", text)
    assert shown == [pytest.approx(b, rel=1e-3), pytest.approx(a, rel=1e-3)]
    sizes = [float(t.double().norm()) for t in (two, one, one + two)]
    shown = numbers(r"Whole tensor, by norm: A2 (\S+), A1 (\S+); their sum (\S+): (\d+) % cancelled\.", text)
    assert shown[:3] == [pytest.approx(size, rel=1e-3) for size in sizes]
    assert shown[3] == round(100 * (1 - sizes[2] / (sizes[0] + sizes[1])))


def test_what_the_uses_cancel_of_each_other_on_the_element():
    """Two uses of one weight in one sum, with opposite signs: 1 - |3 - 1| / (3 + 1) is a half."""

    def program() -> None:
        w = torch.nn.Parameter(torch.ones(2))
        stepper = torch.optim.SGD([w], lr=0.1)
        ((w * 3).sum() - w.sum()).backward()
        stepper.step()

    text = why(program, focus="w")
    assert "w[0]: A2 -1 up, A1 +3 down; 50 % cancelled.\n" in text
    assert re.search(r"Whole tensor, by norm: .*; their sum 2\.828: 50 % cancelled\.", text)


def test_what_was_carried_in():
    """What an earlier iteration left; the step of that one moved nothing."""
    (one, two), _ = plain()

    def program() -> None:
        net, x = made()
        stepper = torch.optim.SGD(net.parameters(), lr=0.0)
        for _ in range(2):
            net(x).backward()
            stepper.step()

    lines = ("until iteration 2", "until update", "element 0,1", "why", "c")
    text = said(play(program, *lines, focus=SHARED))[-2]
    size, element = numbers(r"Carried in from before this backward: norm (\S+), W\[0,1\] (\S+)\.", text)
    assert size == pytest.approx(float((one + two).double().norm()), rel=1e-3)
    assert element == pytest.approx(float((one + two)[0, 1]), rel=1e-3)


def test_several_backwards_of_one_iteration_are_no_carry():
    (one, two), _ = plain()
    text = why(once(backwards=2), "element 0,1")
    assert "The gradient it read: backward 1: A2 + A1; backward 2: A4 + A3." in text and "Carried in" not in text
    a, b = float(one[0, 1]), float(two[0, 1])
    found = numbers(r"A2 (\S+) \w+, A1 (\S+) \w+, A4 (\S+) \w+, A3 ", text)
    assert found == [pytest.approx(value, rel=1e-3) for value in (b, a, b)]
    (total,) = numbers(r"their sum (\S+):", text)
    assert total == pytest.approx(2 * float((one + two).double().norm()), rel=1e-3)


def test_clipping_is_one_factor():
    (one, two), _ = plain()
    text = why(once(lambda net: torch.nn.utils.clip_grad_norm_(net.parameters(), 0.5)))
    factor, before, after = numbers(
        r"clipped or scaled after the backward: every element times (\S+) \(norm (\S+) -> (\S+)\)", text
    )
    size = float((two + one).double().norm())
    assert (factor, before) == (pytest.approx(0.5 / size, rel=1e-3), pytest.approx(size, rel=1e-3))
    assert after == pytest.approx(0.5, rel=1e-3)


def change(how: str) -> Callable[[Net], object]:
    def between(net: Net) -> None:
        grad = net.layer.weight.grad
        assert grad is not None
        if how == "one element":
            grad[0, 0] += 1
        elif how == "by value":
            grad.clamp_(-0.1, 0.1)
        elif how == "doubled":
            grad.mul_(2)

    return between


@pytest.mark.parametrize("how", ["one element", "by value"])
def test_what_is_not_one_factor_is_called_averaged_or_scaled(how):
    assert "averaged or scaled, not by one factor (norm " in why(once(change(how)))


def test_scaling_up_is_no_clipping():
    assert ".grad was scaled after the backward: every element times 2 (" in why(once(change("doubled")))


def test_the_size_of_the_update_beside_the_weight():
    (one, two), weight = plain()
    share, moved, size = numbers(r"The update is (\S+) % of the weight, by norm \((\S+) / (\S+)\)\.", why(once()))
    grad = two + one
    assert moved == pytest.approx(0.1 * float(grad.norm()), rel=1e-2)
    assert size == pytest.approx(float(weight.norm()), rel=1e-2)
    assert share == pytest.approx(100 * 0.1 * float(grad.norm() / weight.norm()), rel=1e-2)


def test_what_momentum_and_decay_added():
    text = why(once(momentum=0.9, weight_decay=0.1))
    _, weight = plain()
    (decay,) = numbers(r"Terms by norm: gradient \S+, momentum 0, weight decay (\S+)\.", text)
    assert decay == pytest.approx(0.01 * float(weight.norm()), rel=1e-2)


def zero(net: Net) -> None:
    for p in net.parameters():
        if p.grad is not None:
            p.grad.zero_()


def not_finite(net: Net) -> None:
    with torch.no_grad():
        net.layer.weight.fill_(float("nan"))


STILL = {
    "lr": (once(lr=0.0), SHARED, "Its learning rate is 0."),
    "zero": (once(zero), SHARED, "Its gradient is zero everywhere: it was set so after the backward."),
    "cleared": (
        once(lambda net: net.zero_grad()),
        SHARED,
        "The backward reached it, but its gradient was cleared before the step.",
    ),
    "unused": (once(), "spare.weight", "Nothing used it in this iteration."),
    "nan": (once(not_finite), SHARED, "Its weights or its gradient are not finite, and stay so."),
    "tiny": (once(lr=1e-30), SHARED, "The step is too small to change the last digit of any element: gradient "),
}


@pytest.mark.parametrize(
    ("signs", "reason"), [((1, -1), "its partials cancel"), ((0, 0), "each of its partials is zero")]
)
def test_why_a_gradient_is_zero(signs, reason):
    def program() -> None:
        w = torch.nn.Parameter(torch.ones(2))
        stepper = torch.optim.SGD([w], lr=0.1)
        sum((w * sign).sum() for sign in signs).backward()
        stepper.step()

    assert f"Its gradient is zero everywhere: {reason}.\n" in why(program, focus="w")


def test_an_optimizer_that_takes_none_of_the_gradient():
    """Dampening 1, in a step that has a buffer already."""

    def program() -> None:
        net, x = made()
        stepper = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, dampening=1.0)
        for _ in range(2):
            stepper.zero_grad()
            net(x).backward()
            stepper.state[net.layer.weight]["momentum_buffer"] = torch.zeros(3, 3)
            stepper.step()

    assert "The optimizer multiplies this gradient by 0." in why(program, "until update")


@pytest.mark.parametrize("reason", STILL)
def test_why_it_did_not_move(reason):
    program, focus, words = STILL[reason]
    text = why(program, focus=focus)
    assert words in text and "not move, bit for bit" in text
    assert sum(line.startswith(tuple(w for *_, w in STILL.values())) for line in text.splitlines()) == 1


def test_used_but_not_on_the_path_to_the_loss():
    def program() -> None:
        net, x = made()
        stepper = torch.optim.SGD(net.parameters(), lr=0.1)
        (net(x) + net.spare(x).detach().sum()).backward()
        stepper.step()

    text = why(program, focus="spare.weight")
    assert "It was used once in forward, but that is not on the path to the loss: detached, or not used there." in text


def test_a_run_that_returns_gradients_writes_no_grad():
    def program() -> None:
        net, x = made()
        stepper = torch.optim.SGD(net.parameters(), lr=0.1)
        torch.autograd.grad(net(x), [net.layer.weight])
        stepper.step()

    assert "The run returned gradients (torch.autograd.grad); it wrote no .grad." in why(program)


def test_no_backward_at_all():
    def program() -> None:
        net, x = made()
        stepper = torch.optim.SGD(net.parameters(), lr=0.1)
        net(x)
        stepper.step()

    assert "No backward ran in this iteration." in why(program)


def test_in_no_optimizer():
    def program() -> None:
        net, x = made()
        stepper = torch.optim.SGD(net.spare.parameters(), lr=0.1)
        net(x).backward()
        stepper.step()

    assert why(program) == f"{SHARED} is in no group of this optimizer, so nothing moved it."


def test_without_any_optimizer_and_moved_by_hand():
    def program() -> None:
        net, x = made()
        for _ in range(2):
            net(x).backward()
            with torch.no_grad():
                net.layer.weight.sub_(net.layer.weight.grad)

    told = said(
        play(program, "until accumulate", "why", "until iteration 2", "until backward", "why", "c", focus=SHARED)
    )
    assert told[1] == f"{SHARED} was not updated in this iteration yet.\nNo optimizer has been made or used yet."
    size = float(sum(reversed(plain()[0])).norm())
    found = re.fullmatch(rf"iteration 1:\n{SHARED} was moved by (\S+) without an optimizer\.", told[4])
    assert found is not None and float(found[1]) == pytest.approx(size, rel=1e-3)


def test_frozen():
    def program() -> None:
        net, x = made()
        net.spare.weight.requires_grad_(False)
        net(x).backward()

    told = said(play(program, "until backward", "why spare.weight", "c"))
    assert told[1].startswith("spare.weight is frozen: it requires no gradient")


def test_of_two_optimizers_it_is_the_one_that_has_the_parameter():
    """Also where the other one stepped last, iterations later."""

    def program() -> None:
        net, x = made()
        mine, other = (torch.optim.SGD(part.parameters(), lr=0.1) for part in (net.layer, net.spare))
        net(x).backward()
        mine.step()
        for _ in range(2):
            net.spare(x).sum().backward()
            other.step()

    text = said(play(program, "until iteration 3", "until update", f"why {SHARED}", "c"))[2]
    assert text.startswith(f"iteration 1:\nstep() moved {SHARED} by ")


def test_many_uses_name_the_strongest():
    def program() -> None:
        w = torch.nn.Parameter(torch.ones(1))
        stepper = torch.optim.SGD([w], lr=0.1)
        sum((w * n).sum() for n in range(1, 10)).backward()
        stepper.step()

    text = why(program, focus="w")
    pulls = next(line for line in text.splitlines() if line.startswith("w[0]: "))
    assert sorted(re.findall(r"\+(\d)", pulls)) == list("456789") and "and 3 weaker; 0 % cancelled." in pulls


def test_a_tied_parameter_is_told_under_all_its_names():
    def program() -> None:
        net, x = made()
        net.spare.weight = net.layer.weight
        stepper = torch.optim.SGD(net.parameters(), lr=0.1)
        net.spare(net(x) * x).sum().backward()
        stepper.step()

    assert why(program).startswith(f"{SHARED} = spare.weight\n")


def test_the_oracle_agrees_that_the_partials_add_up():
    (one, two), _ = plain()
    net, x = made()
    net(x).backward()
    assert oracle.bits(two + one, net.layer.weight.grad)


def test_two_optimizers_that_have_one_parameter_are_both_told() -> None:
    sizes = []

    def program() -> None:
        net, x = made()
        steppers = [torch.optim.SGD(net.parameters(), lr=lr) for lr in (0.1, 0.0, 0.3)]
        net(x).backward()
        for stepper in steppers:
            before = net.layer.weight.detach().double()
            stepper.step()
            sizes.append(float((net.layer.weight.detach().double() - before).norm()))

    text = said(play(program, "until update", "until update", "until update", "why", "c", focus=SHARED))[-2]
    (newest,) = numbers(r"^step\(\) moved layer\.weight by (\S+)\. ", text)
    (first,) = numbers(r"Before that, SGD lr=0\.1 moved it by (\S+)\.\n", text)
    assert (first, newest) == (pytest.approx(sizes[0], rel=1e-2), pytest.approx(sizes[2], rel=1e-2))
    assert "Before that, SGD lr=0 stepped, too, and did not move it, bit for bit." in text and sizes[1] == 0
    assert "Before that" not in why(program)


def test_closures_of_one_step_are_no_steps_before() -> None:
    def program() -> None:
        net, x = made()
        stepper = torch.optim.LBFGS(net.parameters(), max_iter=3)

        def closure() -> Tensor:
            stepper.zero_grad()
            loss = net(x)
            loss.backward()
            return loss

        stepper.step(closure)

    assert "Before that" not in why(program)
