"""`break nan` stops at the first number that is not finite, and names the line of its forward."""

import inspect
import math

import pytest
import torch
from playing import play

BAD = 2  # the iteration in which it is born


class Net(torch.nn.Module):
    def __init__(self, spoil: str) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
        self.spoil, self.t = spoil, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.t += 1
        now = self.t == BAD
        h = self.first(x)
        if now and self.spoil == "activation":
            with torch.no_grad():
                self.second.bias.fill_(math.inf)
        h = self.second(h)
        if now and self.spoil == "partial":
            h.register_hook(lambda g: g * math.nan)
        return h


def program(spoil: str) -> None:
    torch.manual_seed(0)
    model, criterion = Net(spoil), torch.nn.MSELoss()
    stepper = torch.optim.SGD(model.parameters(), lr=0.0)
    for t in (1, 2, 3):
        target = math.nan if (spoil, t) == ("loss", BAD) else 0.5
        criterion(model(torch.ones(3, 2)), torch.full((3, 2), target)).backward()
        stepper.step()


def line_of(text: str) -> str:
    lines = inspect.getsource(inspect.getmodule(program)).splitlines()
    return f"test_nan.py:{1 + next(n for n, line in enumerate(lines) if text in line)}"


SECOND = line_of("h = self.second(h)")
FIRST = {
    "activation": (
        "ForwardUse second#1",
        f"Not finite: what second#1 returned at {SECOND} has infinity.",
    ),
    "loss": ("LossComputed MSELoss", f"Not finite: the loss at {line_of('criterion(model(')} is NaN."),
    "partial": (
        "BackwardUse second#1 of 1",
        f"Not finite: the partial of second.bias#1 has NaN. The forward of this use is {SECOND}.",
    ),
}


@pytest.mark.parametrize("spoil", FIRST)
def test_the_first_one_is_found_and_its_line_named(spoil):
    stop, words = FIRST[spoil]
    seen = play(lambda: program(spoil), "tbreak nan", "c", "c")
    assert seen.stops == [stop]
    assert seen.situations[0].iteration == BAD and seen.situations[0].explanation[0] == words


def test_where_all_is_finite_it_never_stops():
    assert play(lambda: program(""), "b nan", "c").stops == []


@pytest.mark.parametrize("spoil", FIRST)
def test_recheck_finds_it_as_far_as_it_is_kept(spoil):
    seen = play(lambda: program(spoil), "until iteration 2", "until accumulate first.bias", "b nan", "recheck", "clear")
    lines = seen.said[3].text.splitlines()
    assert lines[-1].startswith("breakpoint 1: what the calls returned is not kept")
    first = {"activation": "MSELoss (FORWARD", "loss": "MSELoss (FORWARD", "partial": "second#1 (BACKWARD"}[spoil]
    assert lines[0].startswith(f"breakpoint 1: {first}, event ")
