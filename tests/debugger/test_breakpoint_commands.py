"""`commands N … end`: run when the breakpoint stops; what they print is spoken, a moving one goes on unseen."""

import pytest
import torch
from playing import play, said

from backpropdbg.debugger.commands import LineError, check_all


def program() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 3)
    stepper = torch.optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(2):
        stepper.zero_grad()
        layer(layer(torch.ones(2, 3))).square().sum().backward()
        stepper.step()


def events(seen) -> list[str]:
    return [s.event for s in seen.situations]


def test_they_run_at_each_stop_and_are_spoken():
    seen = play(program, "b backward weight#2", "commands 1", "p use", "p iteration * 10", "end", *["c"] * 3)
    told = said(seen)
    assert told[:2] == [
        "breakpoint 1: backward weight#2",
        "breakpoint 1: the lines that follow are its commands, up to `end`",
    ]
    assert told[2:5] == ["", "", "breakpoint 1: 2 commands"]
    assert seen.spoken == ["2", "10", "2", "20"]
    assert events(seen) == ["BackwardUse"] * 2


def test_continue_runs_on_without_showing_the_stop():
    body = ["commands 1", "p iteration", "c", "p 'never'", "end"]
    seen = play(program, "b backward weight#2", *body, "c")
    assert (seen.stops, seen.spoken) == ([], ["1", "2"])


def test_continue_goes_on_with_what_was_asked_for():
    body = ["commands 1", "c", "end"]
    seen = play(program, "b backward", *body, "until accumulate weight", "c")
    assert seen.stops == ["Accumulated weight accumulated"]
    assert seen.situations[0].reason == "until accumulate weight"


def test_a_step_that_ends_there_is_shown():
    seen = play(program, "until backward", "b accumulate bias", "commands 1", "c", "end", *["s"] * 3, "c")
    assert [s for s in seen.stops if "bias accumulated" in s] == ["Accumulated bias accumulated"]


def test_another_move_runs_there():
    seen = play(program, "tbreak backward weight#2", "commands 1", "until update", "end", "c", "c")
    assert events(seen) == ["StepFinished"]


def test_what_fails_is_spoken_and_shows_the_stop():
    seen = play(program, "b backward weight#2 if iteration == 1", "commands 1", "p nonsense", "c", "end", "c", "c")
    assert events(seen) == ["BackwardUse"]
    assert len(seen.spoken) == 1 and seen.spoken[0].startswith("breakpoint 1, p nonsense: nonsense: NameError")
    assert seen.situations[0].explanation[0] == seen.spoken[0]


def test_say_and_expect_in_them():
    body = ["commands 1", 'say "the second use"', "expect use == 2", "c", "end"]
    seen = play(program, "b backward weight#2", *body, "c")
    assert (seen.stops, seen.spoken) == ([], ["the second use"] * 2)


def test_they_are_listed_and_an_empty_list_removes_them():
    lines = ["b update", "commands 1", "# nothing", "p 1  # one", "", "end", "info breaks", "commands 1", "end"]
    told = said(play(program, *lines, "info breaks", "c"))
    assert told[6] == "breakpoint 1: update\n    p 1"
    assert told[8:10] == ["breakpoint 1: no commands", "breakpoint 1: update"]


def test_a_watchpoint_has_them_too():
    seen = play(program, "watch iteration", "commands 1", "p iteration", "c", "end", "c")
    assert (seen.stops, seen.spoken) == ([], ["2"])


def test_those_of_a_temporary_breakpoint_run_once():
    seen = play(program, "tbreak backward weight#2", "commands 1", "p use", "c", "end", "c")
    assert (seen.stops, seen.spoken) == ([], ["2"])


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        (["commands 7"], "no breakpoint 7; there are: none"),
        (["commands"], "commands: '' is no breakpoint number; info breaks lists them"),
        (["end"], "end: there is no `commands N` before it"),
        (["b update", "commands 1", "commands 1"], "commands: can't be one of the commands of a breakpoint"),
        (["b update", "commands 1", "restart"], "restart: can't be one of the commands of a breakpoint"),
        (["b update", "commands 1", "nxt"], "unknown command 'nxt'; did you mean 'next'?"),
    ],
)
def test_an_error_is_one_line(lines, error):
    seen = play(program, *lines, *(["end"] if "commands 1" in lines else []), "c")
    assert [r.text for r in seen.said if not r.ok] == [error]


@pytest.mark.parametrize(
    ("lines", "index", "error"),
    [
        (["n", "commands 1", "p 1"], 1, "commands: there is no `end` to it"),
        (["n", "end"], 1, "end: there is no `commands N` before it"),
        (["commands 1", "end", "end"], 2, "end: there is no `commands N` before it"),
        (["commands 1", "p 1", "commands 2", "end"], 2, "commands: can't be one of the commands of a breakpoint"),
        (["commands 1", "source x.bpdb", "end"], 1, "source: can't be one of the commands of a breakpoint"),
        (["n", "p 1 +"], 1, "print: '1 +' is no expression: invalid syntax"),
    ],
)
def test_check_all_finds_the_line_that_is_wrong(lines, index, error):
    with pytest.raises(LineError) as caught:
        check_all(lines)
    assert (caught.value.index, str(caught.value)) == (index, error)


def test_check_all_lets_pairs_pass():
    check_all(["b update", "commands 1", "", "p 1  # one", "# end", "c", "end", "commands 1", "end", "q"])
