"""What a TARGET may be: a module that has parts, one of several optimizers' parameters; and what a condition leaves."""

import gc
import weakref

import pytest
import torch
from playing import play
from torch import nn


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
        self.head = nn.Linear(3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(x)).sum()


def two_optimizers() -> None:
    net = Net()
    steppers = [torch.optim.SGD(part.parameters(), lr=0.1) for part in (net.encoder, net.head)]
    for _ in range(2):
        for stepper in steppers:
            stepper.zero_grad()
            net(torch.ones(2, 3)).backward()
            stepper.step()


@pytest.mark.parametrize(
    ("place", "wanted"),
    [
        ("forward encoder", {"encoder.0#1", "encoder.1#1"}),
        ("backward encoder", {"encoder.0#1 of 1", "encoder.1#1 of 1"}),
        ("accumulate encoder", {f"encoder.{n}.{kind} accumulated" for n in (0, 1) for kind in ("bias", "weight")}),
    ],
)
def test_a_module_with_parts_means_what_is_in_it(place: str, wanted: set[str]) -> None:
    seen = play(two_optimizers, f"b {place}", *["c"] * 4, "clear", "c")
    assert {s.where for s in seen.situations if s.reason == "breakpoint 1"} == wanted


def test_an_update_is_of_the_optimizer_that_has_it() -> None:
    seen = play(two_optimizers, "b update head", "c", "c", "c", focus="encoder.0.weight")
    stops = [s for s in seen.situations if s.event == "StepFinished"]
    assert len(stops) == 2
    assert all("is in no group of the optimizer that stepped" in s.explanation[0] for s in stops)


@pytest.mark.parametrize("line", ["b backward weight if limit > 0", "watch limit", "display limit"])
def test_a_condition_keeps_nothing_of_the_program_alive(line: str) -> None:
    freed = []

    def program() -> None:
        limit = 1
        layer = nn.Linear(2, 2)
        loss = layer(torch.ones(1, 2)).sum()
        loss.backward()
        graph = weakref.ref(loss.grad_fn.__class__ and loss)
        del loss
        gc.collect()
        freed.append(graph() is None and limit == 1)

    play(program, line, *["c"] * 4)
    assert freed == [True]
