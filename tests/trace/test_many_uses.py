"""Beyond the budget a backward with very many uses keeps its last partials and, to the last bit, their sum."""

import oracle  # noqa: F401  (imports torch quietly)
import pytest
import torch
from driving import debugged, seed
from torch import nn

from backpropdbg.events import Accumulated, BackwardUse, handles
from backpropdbg.trace.history import LAST

USES = 100
SIZE = 4 * 6 * 6


def unrolled(dtype: torch.dtype = torch.float32, steps: int = 1) -> nn.Module:
    """Train a cell that is used USES times in each iteration."""
    seed(0)
    cell = nn.Linear(6, 6, bias=False).to(dtype)
    optimizer = torch.optim.SGD(cell.parameters(), lr=0.1)
    for _ in range(steps):
        h = torch.randn(3, 6).to(dtype)
        for _ in range(USES):
            h = torch.tanh(cell(h))
        optimizer.zero_grad()
        h.square().sum().backward()
        optimizer.step()
    return cell


def test_the_last_partials_and_the_sum_of_all_are_known() -> None:
    sums = []

    def at_stop(situation, debugger):
        event, stop = debugger.stop.event, debugger.stop
        if isinstance(event, BackwardUse):
            rows = [row for row in situation.ledger if row.kind == "partial" and row.state != "pending"]
            kept = [row.state for row in rows]
            assert kept[-LAST:] == ["value"] * min(LAST, event.order)
            assert set(kept[: -LAST - 2]) <= {"not kept"}
            assert all(row.norm is not None for row in rows)
            sums.append(stop.running.value.clone())
        if isinstance(event, Accumulated):
            assert stop.run.exact() is True and torch.equal(sums[-1], event.grad.value)
        return None

    with debugged(at_stop, focus="weight", budget=2 * LAST * SIZE // 2) as seen:
        unrolled()
    assert len(sums) == USES and seen.trace.nbytes <= (LAST + 10) * SIZE
    # The same sums where all of it was kept.
    every = []

    def look(situation, debugger):
        if isinstance(debugger.stop.event, BackwardUse):
            every.append(debugger.stop.running.value.clone())

    with debugged(look, focus="weight"):
        unrolled()
    assert all(torch.equal(a, b) for a, b in zip(sums, every, strict=True))


@pytest.mark.parametrize("steps", [1, 4])
def test_what_is_held_does_not_grow_with_the_uses(steps: int) -> None:
    with debugged(lambda situation, debugger: "continue", budget=0) as seen:
        unrolled(steps=steps)
    held = {id(h): h for event in seen.trace.between(0, len(seen.trace)) for h in handles(event) if h.shown}
    assert seen.trace.nbytes == sum(h.nbytes for h in held.values()) + sum(
        s.nbytes for _, s in seen.trace._sums.values()
    )
    assert seen.trace.nbytes <= (LAST + 10) * SIZE


def test_an_older_backward_forgets_its_sum() -> None:
    seen_rows = []

    def at_stop(situation, debugger):
        if situation.event == "StepFinished":
            seen_rows.append([row.state for row in situation.ledger if row.kind == "running"])
        return "until update"

    def twice() -> None:
        seed(0)
        cell = nn.Linear(6, 6, bias=False)
        optimizer = torch.optim.SGD(cell.parameters(), lr=0.1)
        for _ in range(2):
            h = torch.randn(3, 6)
            for _ in range(USES):
                h = torch.tanh(cell(h))
            h.square().sum().backward()
        optimizer.step()

    with debugged(at_stop, focus="weight", budget=0) as seen:
        twice()
    assert seen_rows == [["value"]]
    gone = [e.partial for e in seen.trace._events if isinstance(e, BackwardUse) and e.partial is not None]
    assert sum(held.sum_so_far is not None for held in gone) == 1
