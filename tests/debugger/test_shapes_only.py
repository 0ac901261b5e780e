"""On the device "meta" tensors have shapes and no numbers: a program there is stepped through like any other."""

from pathlib import Path
from typing import Any

import pytest
import torch
from driving import debugged

from backpropdbg.probe.hooks import Policy
from backpropdbg.situation import Situation


def train() -> None:
    with torch.device("meta"):
        model, x = torch.nn.Linear(4, 4), torch.randn(8, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(2):
        optimizer.zero_grad()
        model(model(x)).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize("room", [None, 0])
def test_each_stop_is_told_without_numbers_and_nothing_is_claimed_of_them(room: int | None, tmp_path: Path) -> None:
    seen: list[Situation] = []

    def at_stop(situation: Situation, debugger: Any) -> str:
        seen.append(situation)
        return "step"

    path = str(tmp_path / "meta.bptrace")  # whose writer fails the test where it can't go on
    with debugged(at_stop, focus="weight", policy=Policy(room=room), path=path):
        train()
    assert [s.event for s in seen].count("BackwardUse") == 8
    for stop in seen:
        assert stop.event != "Anomaly" and stop.where != "this stop can't be drawn", stop.explanation
        assert stop.proof == "" and stop.loss is None
        rows = [row for row in stop.ledger if row.kind == "partial"]
        assert {row.state for row in rows} <= {"pending", "not kept"} and not any(row.norm for row in rows)
    arrived = [s for s in seen if s.event == "BackwardUse" and "only the shape is known" in s.explanation[-1]]
    assert len(arrived) == 8 and all(s.shape == (4, 4) for s in arrived)


def test_a_muted_use_of_them_is_told_as_any() -> None:
    told: list[str] = []

    def at_stop(situation: Situation, debugger: Any) -> str:
        told.extend(situation.explanation)
        return "step"

    with debugged(at_stop, commands=["mute weight#1"], focus="weight"):
        train()
    assert not [line for line in told if "internal error" in line]
    said = "You set the partial of use #1 of weight: another flows on, not what was computed."
    assert told.count(said) == 2
