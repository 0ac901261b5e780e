"""Which line of the program an event tells of: the one that is running, whatever of torch's and ours is above it."""

import sys

import pytest
import torch
from driving import probed, seed
from torch import nn

from backpropdbg.events import BackwardFinished, BackwardStarted, ForwardUse, GradCleared, StepFinished, StepStarted
from backpropdbg.probe.hooks import Policy


def line() -> int:
    return sys._getframe(1).f_lineno


def told(events, kind):
    found = [e.where for e in events if type(e) is kind]
    assert {where.path for where in found} == {__file__}
    return [where.line for where in found]


@pytest.mark.parametrize("snapshots", [False, True])
def test_of_a_training_step(snapshots):
    seed(0)
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
    stepper = torch.optim.SGD(model.parameters(), lr=0.1)
    torch.optim.lr_scheduler.StepLR(stepper, 1)  # it puts a function of its own around `step`
    with probed(policy=Policy(snapshots=snapshots)) as seen:
        loss, called = model(torch.ones(2, 3)).sum(), line()
        cleared = stepper.zero_grad() or line()
        begun = [loss.backward(retain_graph=True) or line()]
        modules = model.zero_grad() or line()
        begun.append(loss.backward() or line())
        with pytest.raises(RuntimeError, match="second time"):
            begun.append(line() + 1)
            loss.backward()
        stepped = stepper.step() or line()
    assert told(seen.events, BackwardStarted) == told(seen.events, BackwardFinished) == begun
    assert [e.failed for e in seen.events if type(e) is BackwardFinished] == [False, False, True]
    assert told(seen.events, GradCleared) == [cleared, modules]
    assert told(seen.events, StepStarted) == told(seen.events, StepFinished) == [stepped]
    # A library's module calls its parts in its own file: the line is that of the program's, which called it.
    assert told(seen.events, ForwardUse) == [called, called]


def test_of_a_step_that_runs_forward_and_backward_itself():
    seed(0)
    model = nn.Linear(3, 1)
    stepper = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=2)
    inside: set[int] = set()

    def closure():
        stepper.zero_grad()
        loss = model(torch.ones(2, 3)).square().sum()
        inside.add(loss.backward() or line())
        return loss

    with probed() as seen:
        stepped = stepper.step(closure) and line()
    begun = told(seen.events, StepStarted)
    assert begun[0] == stepped and set(begun[1:]) == inside and len(inside) == 1
    assert told(seen.events, StepFinished) == [stepped]
    assert set(told(seen.events, BackwardFinished)) == inside
