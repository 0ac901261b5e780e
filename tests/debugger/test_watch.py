"""`watch` stops where the value of an expression changes, and nowhere else."""

import torch
from playing import play, said

VALUES = [1.0, 1.0, 2.0, 2.0, 5.0]


def losses() -> None:
    """Five iterations; the loss is one of VALUES."""
    weight = torch.nn.Parameter(torch.ones(2))
    stepper = torch.optim.SGD([weight], lr=0.0)
    for value in VALUES:
        scale = value / 2
        stepper.zero_grad()
        loss = (weight * scale).sum()
        loss.backward()
        stepper.step()


def stopped_at(seen) -> list[tuple[int, str]]:
    return [(s.iteration, s.event) for s in seen.situations]


def test_a_number_stops_where_it_changes_and_says_from_what_to_what():
    seen = play(losses, "until backward", "watch loss.item()", *["c"] * 3)
    assert seen.said[1].text == "watchpoint 1: loss.item(), now 1.0"
    assert stopped_at(seen)[1:] == [(3, "BackwardStarted"), (5, "BackwardStarted")]
    assert [s.reason for s in seen.situations[1:]] == ["watchpoint 1"] * 2
    assert [s.explanation[0] for s in seen.situations[1:]] == [
        "watchpoint 1: loss.item() was 1.0, is 2.0",
        "watchpoint 1: loss.item() was 2.0, is 5.0",
    ]


def test_a_variable_of_the_program_is_watched_in_its_own_frame():
    """Also where another frame has a variable of that name."""

    def inner(scale: torch.Tensor) -> torch.Tensor:
        return scale * 3

    def program() -> None:
        layer = torch.nn.Linear(1, 1)
        for scale in (1, 1, 7):
            layer(inner(torch.ones(1, 1) * scale)).sum().backward()

    seen = play(program, "up", "down", "watch scale", *["c"] * 2)
    assert seen.said[2].text == "watchpoint 1: scale, now 1"
    assert [s.explanation[0] for s in seen.situations] == ["watchpoint 1: scale was 1, is 7"]
    assert seen.stops[0].startswith("ForwardUse")


def test_a_tensor_that_changes_in_place_stops_bit_for_bit():
    def program() -> None:
        layer = torch.nn.Linear(1, 1, bias=False)
        stepper = torch.optim.SGD(layer.parameters(), lr=0.1)
        for _ in range(2):
            stepper.zero_grad()
            layer(torch.ones(1, 1)).sum().backward()
            stepper.step()

    seen = play(program, "watch weight", *["c"] * 3, focus="weight")
    assert stopped_at(seen) == [(1, "StepFinished"), (2, "StepFinished")]


def test_that_there_is_a_value_at_last_is_no_change():
    seen = play(losses, "watch partial.norm().item()", *["c"] * 9)
    first = seen.said[0].text
    assert (
        first.startswith("watchpoint 1: partial.norm().item(), not known yet: ")
        and "partial is None at this stop" in first
    )
    assert stopped_at(seen) == [(3, "BackwardUse"), (5, "BackwardUse")]
    assert seen.situations[0].explanation[0].startswith("watchpoint 1: partial.norm().item() was 0.70")


def test_nan_is_no_change_of_nan():
    def program() -> None:
        weight = torch.nn.Parameter(torch.full((1,), float("nan")))
        for _ in range(3):
            weight.sum().backward()

    assert play(program, "until backward", "watch loss.item()", "watch loss", "c", "c").stops[1:] == []


def test_a_watch_keeps_its_parameter_when_the_focus_moves():
    def program() -> None:
        torch.manual_seed(0)
        layer = torch.nn.Linear(3, 2)
        layer(torch.randn(4, 3)).sum().backward()

    seen = play(program, "watch grad", "focus bias", "c", "c", focus="weight")
    assert seen.stops == ["Accumulated weight accumulated"]


def test_a_watchpoint_is_listed_and_numbered_like_a_breakpoint():
    lines = ["until backward", "b update", "watch loss.item()", "info breaks", "disable 2", "info breaks", "clear 2"]
    seen = play(losses, *lines, "info breaks")
    told = said(seen)
    assert told[3] == "breakpoint 1: update\nwatchpoint 2: loss.item()"
    assert told[5] == "breakpoint 1: update\nwatchpoint 2: loss.item() (disabled)"
    assert told[6:] == ["watchpoint 2 deleted", "breakpoint 1: update"]


def test_ignore_passes_changes():
    seen = play(losses, "until backward", "watch loss.item()", "ignore 1 1", "c", "info breaks", "c")
    assert stopped_at(seen)[1:] == [(5, "BackwardStarted")]
    assert said(seen)[2:5:2] == ["watchpoint 1 will be passed 1 time", "watchpoint 1: loss.item() hit 2 times"]


def test_a_condition_holds_for_a_watchpoint_too():
    seen = play(losses, "until backward", "watch loss.item()", "condition 1 loss > 3", "c", "c")
    assert stopped_at(seen)[1:] == [(5, "BackwardStarted")]


def test_what_changed_while_it_was_disabled_is_no_change():
    lines = ["until backward", "watch loss.item()", "disable 1", "until iteration 4", "until backward", "enable 1"]
    seen = play(losses, *lines, *["c"] * 2)
    assert stopped_at(seen)[3:] == [(5, "BackwardStarted")]
