"""What a condition sees at each of many uses, none of which it stops at."""

import oracle
import torch
from chained import chain, inputs, weight
from playing import play, said
from torch import nn

USES = 12


def sums() -> list[torch.Tensor]:
    """Carried in plus the partials so far, from a copy of the weight for each use; the weight does not move."""
    found = []
    for batches in inputs():
        carried = None
        for x in batches:
            copies = [weight().requires_grad_() for _ in range(USES)]
            partials = torch.autograd.grad(chain(x, copies), copies)
            running = [oracle.arrival_sum(partials[n:], carried) for n in reversed(range(USES))]
            found += running
            carried = running[-1]
    return found


def test_the_running_sum_is_known_at_each_use():
    seen: list[torch.Tensor] = []

    def program() -> None:
        def no(running: torch.Tensor) -> bool:
            seen.append(running)
            return False

        w = nn.Parameter(weight())
        stepper = torch.optim.SGD([w], lr=0.0)
        for batches in inputs():
            stepper.zero_grad()
            for x in batches:
                chain(x, [w] * USES).backward()
            stepper.step()
        assert not no(w.detach()) and seen.pop() is not None

    told = said(play(program, "until forward", "break backward w if no(running)", "continue"))
    assert len(told) == 3
    assert len(seen) == len(sums()) and all(oracle.bits(a, b) for a, b in zip(seen, sums(), strict=True))


def test_a_look_into_the_past_does_not_disturb_it():
    truth = sums()[:USES]
    limit = float(truth[7].sum())

    def program() -> None:
        w = nn.Parameter(weight())
        stepper = torch.optim.SGD([w], lr=0.0)
        chain(inputs()[0, 0], [w] * USES).backward()
        stepper.step()

    condition = f"running.sum().item() == {limit!r}"
    seen = play(program, "until backward w#9", f"break backward w if {condition}", "rs", "recheck", "continue",
                "continue")  # fmt: skip
    assert limit not in [float(each.sum()) for each in [*truth[:7], *truth[8:]]]
    assert seen.stops[-1] == f"BackwardUse w#5 of {USES}"


def test_an_expression_in_an_expression_writes_to_copies():
    def program() -> None:
        w = nn.Parameter(weight())
        stepper = torch.optim.SGD([w], lr=0.0)
        chain(inputs()[0, 0], [w] * 2).backward()
        stepper.step()

    told = said(play(program, "until backward w#2", "print eval('partial.zero_()').sum()", "print bool(partial.any())"))
    assert told[1:] == ["tensor(0.)", "True"]
