"""The history walked both ways: a stop is the same, however one comes to it."""

import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import torch
from driving import debugged, seed
from playing import play, said


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.shared = torch.nn.Linear(3, 4), torch.nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x).tanh()
        for _ in range(3):
            x = self.shared(x).tanh()
        return x.square().sum()


def training(iterations: int = 2, momentum: float = 0.9) -> Callable[[], None]:
    def program() -> None:
        seed(0)
        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=momentum)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
        for t in range(iterations):
            optimizer.zero_grad(set_to_none=t % 2 == 0)
            model(torch.randn(5, 3)).backward()
            optimizer.step()
            scheduler.step()

    return program


FOCUS = "shared.weight"


def plain(situation: Any) -> bytes:
    """All of a stop but how one came to it."""
    return msgspec.json.encode(msgspec.structs.replace(situation, reason="", newest=0))


def walk(program: Callable[[], object], moves: Callable[[list[Any], Any], str], focus: str = FOCUS) -> list[Any]:
    """All stops of a program; at each `moves` says how to go on, after the end until it says nothing."""
    seen: list[Any] = []

    def at_stop(situation: Any, debugger: Any) -> str:
        seen.append(situation)
        move = moves(seen, debugger)
        if debugger.ended and move:
            done = debugger.execute(move)
            assert done.ok and done.moves, done.text
        return move

    with debugged(at_stop, focus=focus) as watched:
        program()
        watched.probe.remove()
        watched.debugger.finish()
    return seen


def until_the_end_then(*after: str) -> Callable[[list[Any], Any], str]:
    waiting = list(after)
    return lambda seen, debugger: "step" if not debugger.ended else waiting.pop(0) if waiting else ""


def live(program: Callable[[], object]) -> dict[int, bytes]:
    return {s.position: plain(s) for s in walk(program, until_the_end_then())}


def test_every_stop_is_the_same_live_backwards_and_forwards_again():
    then = live(training())
    count = len(then)
    assert count > 40
    seen = walk(training(), until_the_end_then(*["rs"] * (count - 1), *["step"] * (count - 1)))
    forth, back, again = seen[:count], seen[count : 2 * count - 1], seen[2 * count - 1 :]
    assert [s.position for s in back] == [s.position for s in reversed(forth[:-1])]
    assert [s.position for s in again] == [s.position for s in forth[1:]]
    for situation in seen:
        assert plain(situation) == then[situation.position]
    assert all(s.past for s in back) and not any(s.past for s in forth)


@pytest.mark.parametrize("focus", ["first.bias", "shared.bias"])
def test_another_focus_sees_the_same_past(focus):
    there = {s.position: plain(s) for s in walk(training(), until_the_end_then(), focus)}
    seen: dict[int, bytes] = {}

    def at_stop(situation: Any, debugger: Any) -> str:
        if debugger.ended:
            debugger.execute(f"focus {focus}")
            for position in sorted(there, reverse=True):
                debugger.execute(f"goto {position}")
                debugger._at(debugger._walk)
                seen[position] = plain(debugger.situation())
            debugger._walk = None
            return ""
        return "step"

    with debugged(at_stop, focus=FOCUS) as watched:
        training()()
        watched.probe.remove()
        watched.debugger.finish()
    assert seen == there


def stops(program: Callable[[], object], *lines: str, focus: str = FOCUS) -> list[Any]:
    """One for each line that moves."""
    seen = play(program, *lines, focus=focus)
    return seen.situations[: sum(result.moves for result in seen.said)]


def positions(program: Callable[[], object], *lines: str, focus: str = FOCUS) -> list[int]:
    return [s.position for s in stops(program, *lines, focus=focus)]


def hits(program: Callable[[], object], place: str) -> list[int]:
    """Where a breakpoint stops in a whole live run."""
    return [s.position for s in play(program, f"b {place}", focus=FOCUS).situations]


def test_next_goes_backwards_over_the_same_turning_points():
    there = positions(training(), "until forward", *["next"] * 14)
    back = positions(training(), "until forward", *["next"] * 14, *["rn"] * 14)
    assert back[len(there) :] == there[-2::-1]


@pytest.mark.parametrize(
    "place",
    [
        "backward shared#2",
        "accumulate shared.weight",
        "backward shared.weight if partial.norm() > 1",
        "backward if use == 2 and phase == 'backward'",
        "update",
        "forward shared.weight#3 if iteration > 0 and grad is not None or use == 3",
    ],
)
def test_breakpoints_stop_at_the_same_events_backwards(place):
    there = hits(training(3), place)
    assert len(there) >= 3
    lines = ["until iteration 3", "until update", f"b {place}", *["rc"] * (len(there) + 1)]
    _, start, *back = stops(training(3), *lines)
    expected = [n for n in reversed(there) if n < start.position]
    assert [s.position for s in back][: len(expected)] == expected
    assert {s.reason for s in back[: len(expected)]} == {"breakpoint 1"}
    assert {s.reason for s in back[len(expected) :]} <= {"the oldest event that is known"}


def test_watchpoints_stop_backwards_where_the_value_changed():
    there = hits_of_watch(training(3), "weight")
    assert len(there) == 3
    lines = ["until iteration 3", "until update", "rs", "watch weight", "rc", "rc", "c", "goto now", "c"]
    *_, one, two, forth, now, later = stops(training(4), *lines)
    assert [one.position, two.position, forth.position] == [there[1], there[0], there[1]]
    assert [s.past for s in (one, two, forth, now, later)] == [True, True, True, False, False]
    assert one.explanation[0].startswith("watchpoint 1: weight was tensor(")


def hits_of_watch(program: Callable[[], object], text: str) -> list[int]:
    return [s.position for s in play(program, f"watch {text}", focus=FOCUS).situations]


def test_the_program_does_not_move_while_one_walks():
    trained = []

    def program() -> None:
        seed(0)
        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        for _ in range(2):
            optimizer.zero_grad()
            model(torch.randn(5, 3)).backward()
            optimizer.step()
        trained.append([p.detach().clone() for p in model.parameters()] + [torch.randn(3)])

    program()
    play(program, "until update", "rs", "rn", "rc", "goto 3", "goto iteration 1", "n", "goto now", "c", focus=FOCUS)
    for mine, theirs in zip(*trained, strict=True):
        assert torch.equal(mine, theirs)


def test_past_the_end_the_program_runs_on():
    seen = play(training(), "until backward shared#2", "rs", "rs", "until accumulate shared.weight", focus=FOCUS)
    now, one, two, later = seen.situations
    assert [one.past, two.past, later.past] == [True, True, False]
    assert (now.position, one.position, two.position) == (later.position - 5, now.position - 1, now.position - 2) or (
        two.position < one.position < now.position < later.position
    )
    assert later.event == "Accumulated"


def test_step_into_the_present_and_on():
    seen = play(training(), "until backward", "rs", "rs", "s", "s", "s", focus=FOCUS)
    spots = [s.position for s in seen.situations]
    assert spots == [spots[0], spots[0] - 1, spots[0] - 2, spots[0] - 1, spots[0], spots[0] + 1]


def test_a_breakpoint_stops_on_the_way_forward_through_the_past_and_counts_no_hit():
    lines = ["b backward shared#2", "c", "until update", "goto 2", "c", "info breaks"]
    seen = play(training(), *lines, focus=FOCUS)
    assert seen.situations[0].position == seen.situations[3].position and seen.situations[3].past
    assert seen.situations[3].reason == "breakpoint 1"
    assert "hit 1 time" in said(seen)[-1]


def test_goto_runs_to_what_is_ahead_and_no_breakpoint_stops_it():
    reached = play(training(), "until iteration 2", "s", focus=FOCUS).situations[1]
    one, first, back = stops(training(), "b backward", f"goto {reached.position}", "goto iteration 1", "goto now")
    assert plain(one) == plain(reached) and not one.past
    assert first.position == 1 or first.iteration == 1
    assert plain(back) == plain(one)


def test_goto_an_iteration_ahead():
    seen = play(training(3), "goto iteration 3", "goto iteration 2", focus=FOCUS)
    assert [(s.iteration, s.past) for s in seen.situations] == [(3, False), (2, True)]
    assert seen.situations[1].position == play(training(3), "until iteration 2", focus=FOCUS).situations[0].position


def test_goto_an_event_of_a_kind():
    uses = [s for s in walk(training(2), until_the_end_then()) if s.event == "BackwardUse" and s.iteration == 2]
    assert [s.nth for s in uses] == [*range(1, len(uses) + 1)] and len(uses) > 4
    there = [
        "goto iteration 2 BackwardUse 3",
        "goto now",
        "goto iteration 2 BackwardUse 5",
        "goto iteration 2 BackwardUse",
    ]
    one, _, five, first = stops(training(2), *there)
    assert [plain(s) for s in (one, five, first)] == [plain(uses[n]) for n in (2, 4, 0)]
    assert [s.past for s in (one, five, first)] == [False, False, True]


def test_goto_an_event_that_never_comes_stops_after_its_iteration():
    (reached,) = stops(training(3), "goto iteration 2 BackwardUse 99")
    assert (reached.iteration, reached.event) == (3, "GradCleared")


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("goto iteration 2 BackwardUsed", "no event 'BackwardUsed'; did you mean 'BackwardUse'?"),
        ("goto iteration 2 BackwardUse 0", "is no place to go to"),
        ("rs", "the oldest that is known: there is nothing before it"),
        ("goto 1e3", "'1e3' is no place to go to; e.g. goto 120"),
        ("goto iteration", "is no place to go to"),
        ("goto -1", "is no place to go to"),
        ("goto iteration 99999999999999999999", "is no place to go to"),
        ("goto 9999999999999", "is no place to go to"),
    ],
)
def test_what_cannot_be(line, text):
    done = play(training(1), line, "s", focus=FOCUS).said[0]
    assert not done.ok and text in done.text and "\n" not in done.text


def test_a_name_of_the_program_is_of_the_present():
    seen = play(training(), "until backward", "rs", "p t", "p partial is None and uses >= 0", "set partial = 0", "s")
    told = [result for result in seen.said if not result.moves]
    assert told[0].text == "t: t of the program is not recorded" and not told[0].ok
    assert told[1].ok and told[1].text == "True"
    assert not told[2].ok and "is past; goto now" in told[2].text


def test_frames_of_the_past_are_not_claimed():
    seen = play(training(), "until backward", "rs", "where", "up", "goto now", "where")
    where, up, now = [result for result in seen.said if not result.moves]
    assert re.match(r"test_time_travel\.py:\d+, event \d+ of \d+: the frames of the past are not kept", where.text)
    assert not up.ok and "program" in now.text


def test_what_is_forgotten_is_said():
    def at_stop(situation: Any, debugger: Any) -> str:
        if situation.iteration == 9 and not told:
            told.extend(debugger.execute(line) for line in ("goto 2", "goto iteration 1"))
        return "step"

    told: list[Any] = []
    with debugged(at_stop, focus=FOCUS, max_events=60):
        training(9)()
    assert [done.ok for done in told] == [False, False]
    assert "event 2 is not known any more: the oldest that is known is" in told[0].text
    assert "iteration 1 is not known any more: the oldest that is known is" in told[1].text


def test_displays_and_the_ledger_are_those_of_then():
    seen = play(training(), "until backward shared#3", "display running.norm()", "until update", "goto 0", "n", "n")
    shown = {s.position: s.displays for s in seen.situations}
    assert shown[max(shown)] != shown[min(shown)]


def test_at_the_end_the_past_can_be_walked():
    seen = walk(training(1), until_the_end_then("rc", "continue"))
    assert [s.event for s in seen[-3:]] == ["ProgramFinished", seen[0].event, "ProgramFinished"]


def test_a_breakpoint_may_look_back():
    lines = ["b update", "commands 1", "goto iteration 1 StepStarted", "end", "c"]
    (then,) = stops(training(2), *lines)
    assert then.past and (then.event, then.iteration) == ("StepStarted", 1)


@pytest.mark.parametrize("move", ["until iteration 9", "goto iteration 9", "goto 9999", "until nan"])
def test_the_end_says_that_a_move_did_not_come_to_its_aim(move):
    seen = walk(training(), lambda seen, debugger: move if not debugger.ended else "")
    assert [stop.phase for stop in seen] == ["forward", "finished"]
    assert f"{move}: it was not reached." in seen[-1].explanation


def test_nothing_is_said_of_a_move_that_has_no_aim():
    for move in ("continue", "step"):
        seen = walk(training(), lambda seen, debugger, move=move: move if not debugger.ended else "")
        assert "not reached" not in " ".join(seen[-1].explanation)


def test_a_command_says_whether_it_walks_or_lets_the_program_run():
    lines = ["s", "s", "rs", "s", "goto 1", "n", "goto now", "p 1", "s"]
    seen = play(training(), *lines, focus=FOCUS)
    assert [(done.moves, done.walks) for done in seen.said] == [
        (True, False),
        (True, False),
        (True, True),
        (True, True),  # forward again, among what is recorded
        (True, True),
        (True, True),
        (True, True),
        (False, False),
        (True, False),
    ]
