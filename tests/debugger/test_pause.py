"""Stopping between two events, and letting the program run on for good."""

import threading
from typing import Any

import pytest
import torch
from driving import debugged
from playing import play, said

from backpropdbg.debugger.core import Quit
from backpropdbg.events import Location, Paused


def step(layer: torch.nn.Module) -> None:
    layer(torch.ones(2, 3)).sum().backward()


def paused(why: str, where: Location | None, act: Any = lambda debugger: None) -> tuple[list[Any], Any]:
    """The stops of a program that pauses between two backwards."""
    stops: list[Any] = []

    def at_stop(situation: Any, debugger: Any) -> str:
        stops.append(situation)
        if situation.event == "Paused":
            act(debugger)
        return "continue"

    layer = torch.nn.Linear(3, 3)
    with debugged(at_stop, focus="weight") as watched:
        step(layer)
        watched.debugger.paused_here(why, where)
        step(layer)
    return stops, watched


def test_set_trace_stops_where_it_is_called():
    stops, watched = paused("set_trace()", Location(__file__, 3))
    now = stops[1]
    assert (now.event, now.where, now.reason) == ("Paused", "set_trace()", "set_trace()")
    assert (now.iteration, now.phase, now.source.line) == (1, "backward", 3)
    assert now.explanation[0].startswith("The program called backpropdbg.set_trace().")
    assert [r.state for r in now.ledger if r.term == ".grad"] == ["value"]
    assert len(stops) == 2
    event = watched.trace[now.position]
    assert event == Paused(1, "set_trace()", Location(__file__, 3))


def test_an_interrupt_without_a_place_is_at_the_line_that_runs():
    stops, _ = paused("interrupted", None)
    assert stops[1].where == "interrupted" and stops[1].source.path == __file__
    assert stops[1].explanation[0].startswith("Interrupted here.")


def test_before_any_event():
    stops: list[Any] = []
    with debugged(lambda situation, debugger: stops.append(situation)) as watched:
        watched.debugger.paused_here("set_trace()", None)
    assert [(s.event, s.iteration, s.phase) for s in stops] == [("Paused", 1, "forward")]


def test_commands_work_there():
    found: list[Any] = []
    paused("set_trace()", None, lambda debugger: found.append(debugger.execute("p grad.norm() > 0")))
    assert [r.text for r in found] == ["tensor(True)"]


def test_pausing_ends_with_the_stop():
    seen: list[bool] = []
    _, watched = paused("interrupted", None, lambda debugger: seen.append(debugger.pausing))
    watched.debugger.pause()
    assert seen == [False] and watched.debugger.pausing


def test_inside_an_event_it_waits_for_the_next_one():
    """A signal may arrive while this thread stands at a stop."""
    stops: list[str] = []

    def at_stop(situation: Any, debugger: Any) -> str:
        stops.append(situation.event)
        if len(stops) == 1:
            debugger.paused_here("interrupted", None)
        return "continue"

    with debugged(at_stop):
        layer = torch.nn.Linear(3, 3)
        step(layer)
    assert stops == ["ForwardUse", "BackwardStarted"]


def test_quitting_there_ends_the_program():
    with pytest.raises(Quit):
        paused("set_trace()", None, lambda debugger: debugger.quit())


# -- detach --------------------------------------------------------------------------------------


def program() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 3)
    for _ in range(3):
        step(layer)


def test_detach_lets_it_run_on_without_us():
    seen = play(program, "b backward", "c", "detach")
    assert said(seen)[2] == "" and seen.said[2].moves
    assert seen.stops == [] and len(seen.situations) == 0
    assert seen.debugger.detached and len(seen.trace) < 10


@pytest.mark.parametrize("from_another_thread", [False, True])
def test_nothing_acts_after_it(from_another_thread):
    stops: list[str] = []

    def at_stop(situation: Any, debugger: Any) -> str:
        stops.append(situation.event)
        if from_another_thread:
            other = threading.Thread(target=debugger.detach)
            other.start()
            other.join()
        else:
            debugger.detach()
        return "step"

    before = torch.nn.modules.module._global_forward_hooks.copy()
    with debugged(at_stop) as watched:
        program()
        assert torch.nn.modules.module._global_forward_hooks == before
        watched.debugger.paused_here("set_trace()", None)
        watched.debugger.quit()
        program()
        watched.debugger.finish()
    assert stops == ["ForwardUse"]
    assert type(watched.trace[len(watched.trace) - 1]).__name__ == "ForwardUse"


def test_after_the_end_there_is_nothing_to_detach_from():
    seen = play(program, "c", "detach")
    assert [r.text for r in seen.said if not r.ok] == ["the program has ended"]
