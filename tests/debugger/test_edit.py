"""`set partial`: what flows on is another, the ledger says so, and its sum follows."""

from typing import Any

import oracle
import pytest
import torch
from driving import debugged, partials, probed
from playing import play, said

from backpropdbg.debugger.stop import Stop
from backpropdbg.events import BackwardUse, PartialEdited
from backpropdbg.ledger import fold
from backpropdbg.probe.tensors import HeldTensor

WEIGHT = "layer.weight"


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(self.layer(x).tanh()).square().sum()


def step() -> torch.nn.Module:
    torch.manual_seed(0)
    model = Net()
    stepper = torch.optim.SGD(model.parameters(), lr=0.1)
    model(torch.ones(2, 3)).backward()
    stepper.step()
    return model


def plain() -> list[torch.Tensor]:
    """The two partials, without a debugger, in forward order."""
    with probed() as seen:
        step()
    found = dict(partials(seen.events, 1, WEIGHT))
    return [found[1].clone(), found[2].clone()]


EDIT = ["until backward layer.weight#2", "set partial = partial * 0.5"]


def test_a_ledger_with_an_edit_sums_up_what_flowed_on():
    with probed() as seen:
        step()
    edited = HeldTensor(torch.full((3, 3), 0.25))
    events: list[Any] = []
    for e in seen.events:
        events.append(e)
        if isinstance(e, BackwardUse) and (e.use.parameter, e.use.number) == (WEIGHT, 2):
            events.append(PartialEdited(e.iteration, e.run, e.use, edited))
    run = fold(WEIGHT, events).latest
    assert run is not None
    (two, one) = run.partials
    assert two is edited and run.originals[2].same_bits(HeldTensor(plain()[1]))
    total = run.running()
    assert total is not None and oracle.bits(total.value, edited.value + one.value)
    assert run.exact() is False  # nothing was really edited: `.grad` has the original in it


def test_everything_after_it_follows():
    one, two = plain()
    seen = play(step, *EDIT, "until accumulate layer.weight", "p torch.equal(grad, running)", "c", focus=WEIGHT)
    assert said(seen)[3] == "True"
    stop = Stop(seen.trace, seen.situations[-1].position, WEIGHT, (0, 0))
    assert stop.grad is not None and oracle.bits(stop.grad.value, two * 0.5 + one)
    assert stop.run is not None and stop.run.exact() is True


def test_the_row_is_marked_and_the_original_stays_visible():
    _, two = plain()
    seen = play(step, *EDIT, "s", "c", focus=WEIGHT)
    now = seen.situations[1]
    assert (now.event, now.where, now.phase) == ("PartialEdited", f"{WEIGHT}#2 of 2 edited", "backward")
    rows = {row.term: row for row in now.ledger}
    size = float(two.double().norm())
    assert rows["A2"].norm == pytest.approx(size / 2) and rows["A2"].here
    assert rows["A2"].note.startswith(f"edited, was {size:.4g}")
    assert (rows["A2 was"].norm, rows["A2 was"].element) == (pytest.approx(size), float(two[0, 0]))
    assert now.explanation[0].startswith(f"You set the partial of use #2 of {WEIGHT}: norm {size / 2:.4g} flows on")


def test_the_stop_shows_at_once_what_will_flow_on():
    drawn: list[Any] = []

    def look(debugger: Any) -> None:
        debugger._redraw = drawn.append

    seen = play(step, *EDIT, "c", focus=WEIGHT, look=look)
    words = f"use #2 of {WEIGHT}: the edited partial flows on as the program runs on"
    assert seen.said[1].text == words
    _, two = plain()
    row = next(row for row in drawn[0].ledger if row.term == "A2")
    assert row.note.startswith("edited, was ") and row.norm == pytest.approx(float(two.double().norm()) / 2)
    matrix = next(m for m in drawn[0].matrices if m.name == "partial")
    assert matrix.state == "value" and drawn[0].event == "BackwardUse"


def test_partial_is_that_of_the_use_that_is_here_whatever_the_focus():
    one, two = plain()
    with debugged(at_use := Commands("set partial = partial + 1"), focus="layer.bias"):
        model = step()
    assert at_use.said == [True]
    assert oracle.bits(model.layer.weight.grad, (two + 1) + one)


class Commands:
    """Run a command at use #2 of the weight."""

    def __init__(self, line: str) -> None:
        self.line, self.said = line, []

    def __call__(self, situation: Any, debugger: Any) -> None:
        event = debugger.stop.event
        if isinstance(event, BackwardUse) and (event.use.parameter, event.use.number) == (WEIGHT, 2):
            self.said.append(debugger.execute(self.line).ok)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["until update", "set partial = 1"], ["set partial: no partial arrives here"]),
        (["set partial"], ["set: 'partial': only the partial can be set, e.g. set partial = partial * 0.5"]),
        (["set grad = 1"], ["only the partial can be set"]),
        (["set partial == 1"], ["only the partial can be set"]),
        (["set partial = 1 +"], ["'1 +' is no expression"]),
        ([EDIT[0], "set partial = nonsense"], ["nonsense: NameError"]),
        ([EDIT[0], "set partial = torch.ones(2)"], ["[2]", "[3, 3]"]),
        ([EDIT[0], "set partial = partial.double()"], ["float64", "float32"]),
        ([EDIT[0], "set partial = 'text'"], ["str"]),
    ],
)
def test_what_does_not_fit_is_one_line(lines, words):
    seen = play(step, *lines, "c", focus=WEIGHT)
    (error,) = [r.text for r in seen.said if not r.ok]
    assert all(word in error for word in words) and "\n" not in error, error
