"""The story of an element, a row and a parameter, against plain torch: live, in the past and in a recording."""

import pytest
import torch
from driving import debugged, make_net, partials, probed, seed
from playing import play, said

from backpropdbg.child.opened import OpenedProgram, open_file
from backpropdbg.debugger.core import Debugger
from backpropdbg.debugger.story import chosen
from backpropdbg.questions import Story, StoryOf, Turn
from backpropdbg.tui.story import bars

WEIGHT, AT, STEPS = "middle_linear.weight", (3, 1), 5


def train(grads: list[torch.Tensor], weights: list[torch.Tensor], steps: int = STEPS) -> None:
    """Plain training that keeps `.grad`, and the weight before the first and after every step."""
    seed(3)
    net, x, y = make_net("module", 3)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    weights.append(net.middle_linear.weight.detach().clone())
    for _ in range(steps):
        loss = torch.nn.functional.mse_loss(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        grads.append(net.middle_linear.weight.grad.clone())
        optimizer.step()
        weights.append(net.middle_linear.weight.detach().clone())


def plain() -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    grads, weights = [], []
    train(grads, weights)
    return grads, weights


def measure(t: torch.Tensor, scope: str) -> float:
    return {"element": t[AT], "row": t[AT[0]].double().norm(), "parameter": t.double().norm()}[scope].item()


def expected(scope: str, grads, weights, n: int) -> Turn:
    """Iteration n, from 0, once it is over."""
    before, after = weights[n], weights[n + 1]
    change = after.double() - before.double()
    values = [pytest.approx(measure(t, scope), rel=1e-6) for t in (grads[n], before, after, change)]
    return Turn(n + 1, values[0], "value", values[1], "value", values[2], "value", values[3])


def told(debugger: Debugger, scope: str, count: int = 20) -> Story:
    return debugger.answer(StoryOf(scope, count))


@pytest.mark.parametrize("scope", ["element", "row", "parameter"])
def test_every_iteration_is_plain_torchs_live_in_the_past_and_in_a_recording(tmp_path, scope):
    path = str(tmp_path / "run.bptrace")
    grads, weights = plain()
    stories: dict[str, Story] = {}

    def at_stop(situation, debugger) -> str:
        if situation.phase == "finished":
            assert debugger.execute("goto iteration 3 StepFinished").ok
        elif debugger.in_past:
            stories["past"] = told(debugger, scope)
        elif situation.event == "StepFinished":
            assert debugger.execute("element 3,1").ok
            stories[f"live {situation.iteration}"] = told(debugger, scope)
        elif situation.event == "BackwardUse" and situation.iteration == STEPS:
            stories["pending"] = told(debugger, scope)
        return "next"

    with debugged(at_stop, focus=WEIGHT, path=path) as seen:
        train([], [])
        seen.probe.remove()
        seen.debugger.execute("focus middle_linear.weight")
    for n in range(1, STEPS + 1):
        assert stories[f"live {n}"].turns == tuple(expected(scope, grads, weights, k) for k in range(n))
    pending = stories["pending"].turns[-1]
    assert (pending.iteration, pending.grad_state, pending.after_state) == (STEPS, "pending", "pending")
    assert pending.before == pytest.approx(measure(weights[-2], scope), rel=1e-6) and pending.change is None

    trace, found = open_file(path), []

    def wait(situation) -> None:
        if situation.event == "StepFinished" and not found:
            assert debugger.execute("element 3,1").ok
            found.append(told(debugger, scope))
        elif not found:
            debugger.execute("goto iteration 3 StepFinished")

    debugger = Debugger(OpenedProgram(trace), trace, wait, "test", None, WEIGHT, recorded=True)
    debugger.open()
    assert found[0].turns == tuple(expected(scope, grads, weights, k) for k in range(3)) == stories["live 3"].turns


def test_terms_of_a_row_and_of_the_parameter_go_the_way_of_their_sum():
    with probed() as seen:
        train([], [], 1)
    arrived = [(n, p.double()) for n, p in partials(seen.events, 1, WEIGHT)]
    grads, weights = plain()
    stories: list[Story] = []

    def look(debugger) -> None:
        if debugger.element == AT:
            stories.extend(told(debugger, scope) for scope in ("row", "parameter"))

    play(
        lambda: train([], [], 1),
        f"focus {WEIGHT}",
        "element 3,1",
        f"until accumulate {WEIGHT}",
        "until update",
        look=look,
    )
    for story, part in zip(stories[-2:], (lambda t: t[3], lambda t: t), strict=True):
        split = len(story.terms) - story.updates
        rows = {row.term: row for row in story.terms[:split]}
        whole = part(grads[0].double())
        way = whole / whole.norm()
        for n, p in arrived:
            along = (part(p) * way).sum().item()
            assert rows[f"A{n}"].norm == pytest.approx(part(p).norm().item(), rel=1e-5)
            assert rows[f"A{n}"].element == pytest.approx(along, rel=1e-4, abs=1e-7)
            assert ("against" in rows[f"A{n}"].note) == (along < 0)
        size = pytest.approx(whole.norm().item(), rel=1e-6)
        assert (rows[".grad"].element, rows[".grad"].norm) == (size, size)
        ends = [
            bar for row, bar in zip(story.terms[:split], bars(story.terms[:split]), strict=True) if row.term == "A1"
        ]
        assert ends[0].end == pytest.approx(whole.norm().item(), rel=1e-4)
        lost = 1 - whole.norm() / sum(part(p).norm() for _, p in arrived)
        assert f"{100 * lost:.0f} % of all norms cancelled" in rows["running sum"].note
        update = {row.term: row for row in story.terms[split:]}
        moved = part(weights[1].double() - weights[0].double())
        assert update["difference"].element == pytest.approx(moved.norm().item(), rel=1e-5)
        for term, weight in (("before", weights[0]), ("after", weights[1])):
            along = (part(weight.double()) * moved).sum().item() / moved.norm().item()
            assert update[term].element == pytest.approx(along, rel=1e-4)
            assert update[term].norm == pytest.approx(part(weight.double()).norm().item(), rel=1e-6)
    assert [s.name for s in stories[-2:]] == ["W[3,:]", "W"]


def test_weights_that_are_moved_by_hand():
    weights = []

    def by_hand() -> None:
        net = torch.nn.Linear(3, 1, bias=False)
        for n in range(3):
            weights.append(net.weight.detach().clone())
            (net(torch.ones(1, 3)).sum() * (n + 1)).backward()
            with torch.no_grad():
                net.weight -= 0.1 * net.weight.grad
                net.weight.grad = None
        net(torch.ones(1, 3))

    turns = []
    seen = play(by_hand, "until iteration 3", look=lambda d: turns.append(told(d, "element").turns))
    assert seen.situations[-1].iteration == 3
    for n, turn in enumerate(turns[-1][:2]):
        assert (turn.before, turn.after) == (weights[-3 + n][0, 0].item(), weights[-2 + n][0, 0].item())
        assert turn.change == pytest.approx(-0.1 * (n + 1)) and (turn.grad, turn.grad_state) == (None, "none")


def test_what_fell_out_of_memory_is_not_kept():
    turns: list[tuple[Turn, ...]] = []

    def at_stop(situation, debugger) -> str:
        if situation.event == "StepFinished":
            turns.append((*told(debugger, "parameter").turns, *told(debugger, "row").turns))
            debugger.stories._over.clear()
        return "next"

    with debugged(at_stop, focus=WEIGHT, budget=1):
        train([], [])
    grads, _ = plain()
    whole, row = turns[-1][0], turns[-1][STEPS]
    assert whole.grad_state == row.grad_state == "not kept" and row.grad is None
    assert whole.grad == pytest.approx(grads[0].norm().item(), rel=1e-5)


@pytest.mark.parametrize(("shape", "names"), [((), ("e", "e", "e")), ((4,), ("b[0]", "b[0]", "b"))])
def test_small_parameters_have_stories_too(shape, names):
    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            name = "bias" if shape else "e"
            self.register_parameter(name, torch.nn.Parameter(torch.ones(shape)))

        def forward(self) -> torch.Tensor:
            return (3 * next(self.parameters())).sum()

    found: list[Story] = []

    def look(debugger) -> None:
        found[:] = [told(debugger, scope) for scope in ("element", "row", "parameter")]

    play(lambda: Net()().backward(), "until accumulate", look=look)
    assert tuple(story.name for story in found) == names
    size = 3.0 if not shape else 6.0
    assert [story.turns[-1].grad for story in found] == [3.0, 3.0, size]


def test_the_newest_are_shown_and_some_of_the_rest():
    assert chosen([1, 2, 3], 5) == [1, 2, 3] and chosen([], 3) == []
    found = chosen(list(range(1, 1001)), 9)
    assert found == [1, 332, 663, *range(995, 1001)]
    assert chosen(list(range(1, 1001)), 1) == [1000]


@pytest.mark.parametrize("scope", ["element", "row", "parameter"])
def test_what_is_left_out_is_counted_and_the_largest_gradient_is_there(scope):
    grads = []

    def program() -> None:
        net = torch.nn.Linear(1, 1, bias=False)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for n in range(12):
            optimizer.zero_grad()
            net(torch.tensor([[-9.0 if n == 4 else 1.0 + n / 8]])).sum().backward()
            grads.append(net.weight.grad.item())
            optimizer.step()

    found = []
    lines = ("until iteration 12", "until update", "story")
    seen = play(program, *lines, look=lambda d: found.append(told(d, scope, 6).turns))
    turns, values = found[-1], grads if scope == "element" else [abs(g) for g in grads]
    assert max(range(12), key=lambda n: abs(grads[n])) == 4
    assert [(turn.iteration, turn.skipped) for turn in turns] == [(1, 0), (5, 3), (9, 3), (10, 0), (11, 0), (12, 0)]
    assert [turn.grad for turn in turns] == [values[turn.iteration - 1] for turn in turns]
    assert "more" not in seen.said[-1].text


def test_the_command_tells_it_in_words():
    lines = ("until update", "story", "story row", "story parameter")
    seen = play(lambda: train([], [], 1), f"focus {WEIGHT}", "element 3,1", *lines)
    grads, weights = plain()
    _, _, _, element, row, whole = said(seen)
    assert element.splitlines()[0] == "W[3,1]" and row.splitlines()[0] == "W[3,:]" and whole.splitlines()[0] == "W"
    last = element.splitlines()[-1].split()
    assert last[0] == "1" and last[1:4] == [f"{t[AT].item():+.4g}" for t in (grads[0], weights[0], weights[1])]
    assert f"{grads[0].norm().item():.4g}" in whole.splitlines()[-1]
    assert not play(lambda: train([], [], 1), "story columns").said[0].ok
