"""`timeline`: each iteration's loss, uses and gradient, beside what plain torch gives; and what was printed by then."""

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from driving import debugged, seed
from playing import play, said

from backpropdbg.debugger.timeline import _spread
from backpropdbg.questions import TimelineOf
from backpropdbg.trace.printed import Printed


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shared = torch.nn.Linear(3, 3)

    def forward(self, x: torch.Tensor, uses: int) -> torch.Tensor:
        for _ in range(uses):
            x = self.shared(x)
        return (x * 1.0).square().mean()


def train(counts: list[int], spoil: int = -1, seen: list[Any] | None = None) -> None:
    seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for t, uses in enumerate(counts):
        optimizer.zero_grad()
        x = torch.randn(4, 3, requires_grad=False) * (math.nan if t == spoil else 1)
        loss = model(x, uses)
        if uses:
            loss.backward()
        if seen is not None:
            grad = model.shared.weight.grad
            seen.append((loss.item(), uses, None if grad is None else grad.double().norm().item()))
        optimizer.step()


def at_the_end(program: Any, ask: Any, focus: str = "shared.weight", **how: Any) -> Any:
    found = []

    def at_stop(situation: Any, debugger: Any) -> str:
        if situation.event == "ProgramFinished":
            found.append(ask(debugger))
        return "continue"

    with debugged(at_stop, focus=focus, **how) as watched:
        program()
        watched.probe.remove()
        watched.debugger.finish()
    return found[0]


def test_numbers_are_those_of_plain_torch():
    expected: list[Any] = []
    train([3, 1, 2, 3], seen=expected)
    made = at_the_end(lambda: train([3, 1, 2, 3]), lambda d: d.answer(TimelineOf(1, 99, 99)))
    assert (made.first, made.last, made.here, made.now) == (1, 4, 4, 4)
    assert [(m.iteration, m.uses) for m in made.moments] == [(n + 1, uses) for n, (_, uses, _) in enumerate(expected)]
    for moment, (loss, _, norm) in zip(made.moments, expected, strict=True):
        assert moment.loss == loss
        assert moment.norm == pytest.approx(norm, rel=1e-12) and moment.state == "value"
        assert moment.anomaly == "" and moment.breaks == ()


def test_an_iteration_without_backward_has_no_gradient_that_reads_as_zero():
    made = at_the_end(lambda: train([2, 0, 2]), lambda d: d.answer(TimelineOf(1, 99, 99)))
    middle = made.moments[1]
    assert middle.norm is None and middle.state in ("none", "pending") and middle.uses == 0


def test_what_is_not_finite_is_said():
    made = at_the_end(lambda: train([2, 2, 2], spoil=1), lambda d: d.answer(TimelineOf(1, 99, 99)))
    assert [m.anomaly for m in made.moments] == ["", "the loss is not finite", "the loss is not finite"]
    assert [m.loss for m in made.moments][1:] == ["NaN", "NaN"]


def timelines(command: str) -> list[Any]:
    """At each stop of a training with this breakpoint, what the timeline shows."""
    made = []

    def at_stop(situation: Any, debugger: Any) -> str:
        if situation.position < 3:
            debugger.execute(command)
        made.append(debugger.answer(TimelineOf(1, 9, 9)))
        return "continue"

    with debugged(at_stop, focus="shared.weight") as watched:
        train([1, 2, 3])
        watched.probe.remove()
        watched.debugger.finish()
    return made


def test_breakpoints_stand_at_the_iterations_that_they_stopped_in():
    seen = play(lambda: train([1, 2, 3]), "b backward shared#2", "c", "c", "clear", focus="shared.weight")
    assert [s.iteration for s in seen.situations] == [2, 3]
    made = timelines("b backward shared#2")
    assert [m.breaks for m in made[-1].moments] == [(), (1,), (1,)]
    assert [m.breaks for m in made[1].moments] == [(), (1,)]


def test_a_stop_stands_there_once_its_breakpoint_is_gone():
    made = timelines("tbreak backward shared#2")
    assert [m.breaks for m in made[-1].moments] == [(), (1,), ()]


def test_where_there_is_no_room_for_all_each_stands_for_its_neighbours():
    made = at_the_end(lambda: train([1] * 20), lambda d: d.answer(TimelineOf(1, 20, 6)))
    assert len(made.moments) == 6
    spans = [(m.iteration, m.until) for m in made.moments]
    assert spans[0][0] == 1 and spans[-1][1] == 20
    assert all(one[1] + 1 == two[0] for one, two in pairwise(spans))


@pytest.mark.parametrize("count", [1, 2, 7, 100])
@pytest.mark.parametrize("columns", [1, 3, 50])
def test_the_iteration_that_is_looked_at_is_among_them(count, columns):
    known = list(range(5, 5 + count))
    for here in known:
        chosen = _spread(known, columns, here)
        assert here in chosen and len(chosen) == min(count, columns) and sorted(set(chosen)) == chosen


def test_iterations_that_are_forgotten_are_not_listed():
    made = at_the_end(lambda: train([2] * 12), lambda d: d.answer(TimelineOf(1, 99, 99)), max_events=60)
    assert made.first > 1 and [m.iteration for m in made.moments] == list(range(made.first, 13))


def test_the_loss_of_what_is_not_kept_is_not_claimed():
    made = at_the_end(lambda: train([2] * 6), lambda d: d.answer(TimelineOf(1, 99, 99)), budget=1)
    assert [m.loss is None for m in made.moments][:3] == [True] * 3
    assert all(m.state == "not kept" and isinstance(m.norm, float) for m in made.moments[:3])


def test_as_text():
    seen = play(lambda: train([1, 2]), "b backward shared#2", "c", "timeline", "clear", focus="shared.weight")
    lines = said(seen)[2].splitlines()
    assert lines[0].split() == ["iteration", "event", "loss", "uses", "|shared.weight.grad|"]
    assert lines[2].startswith(">") and lines[2].endswith("breakpoint 1") and "pending" in lines[2]


def test_a_span_that_is_none():
    done = play(lambda: train([1]), "timeline 5 2", "s").said[0]
    assert not done.ok and done.text.endswith("'5 2': the first iteration is after the last; e.g. timeline 2 5")
    done = play(lambda: train([1]), "s", "timeline 900", "s").said[1]
    assert not done.ok and done.text == "timeline 900: no such iteration is known; 1 to 1 are"
    done = play(lambda: train([1]), "source /nope", "s").said[0]
    assert not done.ok and done.text.startswith("source /nope: a script can do that")
    done = play(lambda: train([1]), "timeline 3 x", "s").said[0]
    assert not done.ok and done.text == "timeline: '3 x' is no span of iterations; e.g. timeline 10 20"


# -- what was printed --------------------------------------------------------------------------------


def test_text_stands_there_from_the_event_after_it_on():
    printed = Printed()
    for position, text in [(0, "a"), (0, "b"), (3, "c\n"), (3, "d")]:
        printed.note(position, "stdout", text)
    printed.note(3, "stderr", "e")
    assert [printed.count(n) for n in (0, 2, 3, 9)] == [2, 2, 6, 6]
    assert printed.tail(2, 99) == (("stdout", "ab"),)
    assert printed.tail(9, 99) == (("stdout", "ab"), ("stdout", "c\nd"), ("stderr", "e"))
    assert printed.tail(9, 3) == (("stdout", "\nd"), ("stderr", "e"))
    assert printed.tail(9, 0) == ()


def test_the_oldest_is_forgotten_but_counted():
    printed = Printed(most=100)
    for n in range(200):
        printed.note(n, "stdout", f"{n:09}\n")
    assert printed.count(199) == 2000
    text = "".join(piece for _, piece in printed.tail(199, 100))
    assert text.splitlines()[-1] == "000000199" and len(text) == 100
    assert sum(len(piece) for _, piece in printed.tail(199, 10_000)) <= 200


def test_a_stop_says_how_much_was_printed():
    def program() -> None:
        for t in range(2):
            watched.debugger.trace.note_output("stdout", f"epoch {t}\n")
            train([1])

    seen = []
    with debugged(lambda s, d: seen.append((s.printed, d.printed(s.position, 99))), focus="shared.weight") as watched:
        program()
    assert seen[0] == (8, (("stdout", "epoch 0\n"),))
    assert seen[-1] == (16, (("stdout", "epoch 0\n"), ("stdout", "epoch 1\n")))
