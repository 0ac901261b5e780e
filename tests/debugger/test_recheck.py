"""`recheck`: what the breakpoints, as they are now, would have stopped at; the same that a second run stops at."""

import re

import pytest
import torch
from playing import play, said


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(self.layer(self.layer(x))).square().sum()


def program() -> None:
    torch.manual_seed(0)
    model = Net()
    stepper = torch.optim.SGD(model.parameters(), lr=0.1)
    for t in range(2):
        stepper.zero_grad()
        model(torch.ones(2, 3) * (t + 1)).backward()
        stepper.step()


BREAKS = [
    "backward layer.weight",
    "backward layer#2",
    "backward layer.weight if partial.norm() > 0.6",
    "backward if use == 2",
    "forward layer.weight#2",
    "accumulate",
    "iteration 2",
    "update",
    "backward layer.bias if A3 is not None and uses == 3",
]
FOCUS = "layer.weight"


@pytest.mark.parametrize("place", BREAKS)
def test_it_finds_the_stops_of_a_run_with_that_breakpoint(place):
    at_end = ["until iteration 2", "until update", f"b {place}", "recheck", "clear", "c"]
    found = said(play(program, *at_end, focus=FOCUS))[3].splitlines()
    seen = play(program, f"b {place}", *["c"] * 9, focus=FOCUS)
    live = [s for s in seen.situations if s.iteration == 2]
    wheres = [re.sub("(, use .)? of .$", "", s.where) for s in live]
    assert found == [
        f"breakpoint 1: {where} ({s.phase.upper()}, event {s.position})" for where, s in zip(wheres, live, strict=True)
    ]
    assert found


def test_the_condition_above_tells_the_arrivals_apart():
    seen = play(program, "b backward layer.weight if partial.norm() > 0.6", *["c"] * 9, focus=FOCUS)
    assert 0 < sum(s.iteration == 2 for s in seen.situations) < 3


def test_it_looks_up_to_here_and_no_further():
    lines = ["until backward layer.weight#2", "b backward layer.weight", "recheck", "clear", "c"]
    told = said(play(program, *lines, focus=FOCUS))[2]
    assert [line.partition(" (")[0] for line in told.splitlines()] == ["breakpoint 1: layer#3", "breakpoint 1: layer#2"]


def test_lines_come_in_the_order_of_the_events():
    lines = ["until update", "b accumulate layer.weight", "b backward layer.weight#1", "recheck", "clear", "c"]
    told = said(play(program, *lines, focus=FOCUS))[3].splitlines()
    assert [line.partition(":")[0] for line in told] == ["breakpoint 2", "breakpoint 1"]


def test_a_watchpoint_is_rechecked_too():
    lines = ["until update", "watch phase", "recheck", "clear", "c"]
    told = said(play(program, *lines))[2].splitlines()
    assert [re.search(r"\((\w+), event", line)[1] for line in told] == ["BACKWARD", "UPDATE"]


def test_a_watchpoint_compares_with_the_iteration_before():
    lines = ["until update", "watch iteration", "c", "recheck", "clear", "c"]
    seen = play(program, *lines)
    now = seen.situations[1]
    assert said(seen)[3].endswith(f" ({now.phase.upper()}, event {now.position})") and now.iteration == 2


def test_a_temporary_one_would_have_stopped_once():
    told = said(play(program, "until update", "tbreak backward layer.weight", "recheck", "clear", "c", focus=FOCUS))
    assert len(told[2].splitlines()) == 1


def test_what_only_the_program_knew_is_not_claimed():
    lines = ["until update", "b backward layer.weight if t == 0 and model is not None", "recheck", "clear", "c"]
    assert said(play(program, *lines, focus=FOCUS))[2] == (
        "breakpoint 1: can't be rechecked: model, t of the program may have changed since"
    )


def test_a_condition_that_fails_says_so():
    lines = ["until update", "b backward layer.weight#1 if grad.norm() > 1", "recheck", "clear", "c"]
    text = said(play(program, *lines, focus=FOCUS))[2]
    assert (
        text.startswith("breakpoint 1: layer#1 (BACKWARD, event ")
        and "can't tell: " in text
        and "grad is None at this stop" in text
    )


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (["recheck"], "no breakpoint is enabled"),
        (["b update", "disable 1", "recheck"], "no breakpoint is enabled"),
        (["b update", "recheck", "clear"], "no breakpoint would have stopped in iteration 1 up to here"),
    ],
)
def test_it_says_that_there_is_none(lines, text):
    assert text in said(play(program, "until backward", *lines, "c"))
