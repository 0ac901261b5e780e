"""A stop takes over what the one before has computed, where it is of the same tensors."""

import oracle
import torch
from driving import make_net, seed

from backpropdbg.child.beside import Beside
from backpropdbg.debugger.core import Debugger
from backpropdbg.probe.hooks import Probe
from backpropdbg.situation import Situation
from backpropdbg.trace.history import Trace

WEIGHT = "middle_linear.weight"


def stops(*edits: str) -> list[tuple[str, torch.Tensor, dict[int, float | None]]]:
    """Walk one iteration, with these commands at the last use. Returns event, sum and cosines of each stop."""
    seen: list[tuple[str, torch.Tensor, dict[int, float | None]]] = []

    def wait(situation: Situation) -> None:
        if situation.focus != WEIGHT:
            assert d.execute(f"focus {WEIGHT}").ok
        elif d.stop.running is not None and situation.iteration == 1:
            for line in edits if d.stop.running is not None and situation.where.endswith("#1 of 3") else ():
                assert d.execute(line).ok
            cosines = {key: value for key, (_, value) in d.stop._cosines.items()}
            seen.append((situation.event, d.stop.running.value, cosines))
        assert d.execute("next" if situation.iteration == 1 else "continue").ok

    probe = Probe(lambda event: d.on_event(event))
    d = Debugger(Beside(probe), Trace(), wait, "test", None)
    seed(3)
    model, x, y = make_net("module", 3)
    stepper = torch.optim.SGD(model.parameters(), lr=0.1)
    probe.install()
    try:
        for _ in range(2):
            stepper.zero_grad()
            oracle.squares(model(x), y).backward()
            stepper.step()
    finally:
        probe.remove()
    return seen


def test_the_sum_is_added_up_once_and_compared_once() -> None:
    seen = {event: (running, cosines) for event, running, cosines in stops()}
    accumulated, before = seen["Accumulated"], seen["StepStarted"]
    assert accumulated[0] is before[0] and accumulated[1]
    assert accumulated[1].items() <= before[1].items()


def test_an_edited_partial_is_added_up_anew() -> None:
    plain, edited = (
        {event: running for event, running, _ in found} for found in (stops(), stops("set partial = 2 * partial"))
    )
    assert not torch.equal(plain["Accumulated"], edited["Accumulated"])
