"""A debugged program lets go of each iteration: no node, hook or loss of an earlier one is alive."""

import contextlib
import gc
import weakref
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from driving import OPTIMIZERS, debugged, make_net, probed, seed
from leftovers import closures, hooks, left_on
from torch import Tensor

from backpropdbg.debugger.core import Quit
from backpropdbg.probe.hooks import Policy

WEIGHT = "middle_linear.weight"
LOOKS = [
    "print partial",
    "print loss",
    "print locals.get('loss')",
    "ledger",
    "graph",
    "why",
    "info grad",
    "where",
    "graph nodes",
]


@pytest.fixture(autouse=True)
def what_was_there_before() -> Iterator[None]:
    """Is left out of the garbage collector's rounds, which makes them quick, and of what it lists."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


class Mark:
    """Lies in an autograd node's own dictionary, so it lives exactly as long as the node."""


class Remains:
    """What there was in each iteration, by weak references."""

    def __init__(self) -> None:
        self._found: list[tuple[int, str, weakref.ref[Any]]] = []

    def note(self, iteration: int, loss: Tensor, *others: Tensor) -> None:
        """Take note of a loss, of every node of its graph, and of other tensors."""
        self._found += [(iteration, "tensor", weakref.ref(t)) for t in (loss, *others)]
        stack, seen = [loss.grad_fn], set()
        while stack:
            node = stack.pop()
            if node is None or node in seen or hasattr(node, "variable"):
                continue
            seen.add(node)
            mark = Mark()
            node.metadata["mark"] = mark
            self._found.append((iteration, node.name(), weakref.ref(mark)))
            stack += [target for target, _ in node.next_functions]

    def alive(self, before: int) -> list[tuple[int, str]]:
        gc.collect()
        return [(t, name) for t, name, reference in self._found if t < before and reference() is not None]

    def __len__(self) -> int:
        return len(self._found)


def train(iterations: int, remains: Remains, net: str = "module", each: Callable[[int], None] = lambda t: None) -> Any:
    seed(6)
    model, x, y = make_net(net, None)
    stepper = OPTIMIZERS["sgd momentum decay"](model.parameters())
    criterion = torch.nn.MSELoss(reduction="sum")
    for t in range(1, iterations + 1):
        out = model(x)
        loss = criterion(out, y)
        remains.note(t, loss, out)
        stepper.zero_grad()
        loss.backward()
        stepper.step()
        assert left_on(model) == []
        del out
        each(t)
    return SimpleNamespace(model=model, loss=loss)


@pytest.mark.parametrize(("net", "iterations"), [("module", 1000), ("parameter", 300)])
def test_many_iterations_under_a_debugger_leave_nothing_behind(net, iterations):
    """It looks at every partial for a condition, and every hundredth iteration step by step, from all sides."""
    remains, before, hooked = Remains(), hooks(), closures()
    counts: dict[int, int] = {}
    focus = WEIGHT if net == "module" else "e"

    def at_stop(situation, debugger):
        if seen.stops == 1:
            for line in (f"break backward {focus} if partial.norm() < 0", "break update if iteration % 100 == 99"):
                assert debugger.execute(line).ok
        if situation.iteration % 100 == 0:
            failed = [r.text for r in map(debugger.execute, LOOKS) if not r.ok]
            assert failed == []
        return "step" if situation.iteration % 100 in (99, 0) else "continue"

    def each(t):
        if t in (2, iterations):
            counts[t] = closures()

    with debugged(at_stop, focus=focus, budget=100_000) as seen:
        done = train(iterations, remains, net, each)
        assert remains.alive(before=iterations) == []
        assert left_on(done.model) == []
    assert seen.stops > iterations / 10 and len(remains) > iterations * 10
    assert counts[2] == counts[iterations]
    assert hooks() == before
    assert closures() == hooked


def test_the_marks_see_a_graph_that_is_kept():
    """So the test above can fail: here one loss in ten is kept."""
    remains, kept = Remains(), []
    w = torch.ones(3, requires_grad=True)
    for t in range(1, 31):
        loss = (w * w).sum()
        remains.note(t, loss)
        kept += [loss] * (t % 10 == 0)
        loss.backward()
    assert {t for t, _ in remains.alive(before=30)} == {10, 20}


def test_hooks_are_seen_while_a_run_has_them():
    """So the tests of what is left of them can fail."""
    model, x, y = make_net("module", 2)
    counts = [closures()]
    with probed():
        loss = torch.nn.functional.mse_loss(model(x), y)
        counts.append(closures())
        model.middle_linear.weight.register_hook(lambda grad: counts.append(closures()))
        model.middle_linear.weight.register_hook(lambda grad: counts.append(len(left_on(model))))
        loss.backward()
        counts.append(closures())
    assert counts[0] < counts[1] < counts[2] - 10 and counts[3] > 5
    assert counts[4] == counts[1] and len(left_on(model)) == 2


@pytest.mark.parametrize(
    "policy", [Policy(), Policy(partials=False), Policy(snapshots=False), Policy(bare=False)], ids=str
)
def test_install_and_remove_leave_torch_as_it_was(policy):
    before, hooked = hooks(), closures()
    for _ in range(3):
        with probed(policy=policy) as seen:
            assert hooks() != before
            train(3, Remains())
            seen.probe.install()
        seen.probe.remove()
        assert hooks() == before
    assert closures() == hooked


def test_stops_at_every_event_keep_nothing():
    remains = Remains()
    with debugged(commands=LOOKS, focus=WEIGHT, budget=0) as seen:
        train(8, remains)
        assert remains.alive(before=8) == []
    assert seen.stops > 100


def once(how: str, model: Any, x: Tensor, y: Tensor) -> list[Tensor]:
    """One iteration of an unusual kind; returns the tensors to look out for."""
    loss = torch.nn.functional.mse_loss(model(x), y)
    if how == "retain_graph":
        loss.backward(retain_graph=True)
        loss.backward()
    elif how == "create_graph":
        gradients = torch.autograd.grad(loss, list(model.parameters()), create_graph=True, allow_unused=True)
        sum(g.square().sum() for g in gradients if g is not None).backward()
    elif how == "inputs":
        loss.backward(inputs=[model.output_linear.bias])
    elif how == "autograd.grad":
        torch.autograd.grad(loss, [model.input_linear.weight])
    elif how == "an input that requires grad":
        x = x.clone().requires_grad_()
        loss = torch.nn.functional.mse_loss(model(x), y)
        loss.backward()
        return [loss, x]
    elif how == "raises in backward":
        out = model(x)
        out.register_hook(lambda grad: 1 / 0)
        with contextlib.suppress(ZeroDivisionError):
            out.sum().backward()
    elif how == "raises in forward":
        with contextlib.suppress(RuntimeError):
            model(x[:, :1])
    elif how == "no backward":
        pass
    return [loss]


HOW = [
    "retain_graph",
    "create_graph",
    "inputs",
    "autograd.grad",
    "an input that requires grad",
    "raises in backward",
    "raises in forward",
    "no backward",
]


@pytest.mark.parametrize("how", HOW)
def test_unusual_iterations_keep_nothing(how):
    seed(1)
    model, x, y = make_net("module", 2)
    remains, found = Remains(), []
    with debugged(lambda situation, debugger: "continue", focus=WEIGHT, budget=1000):
        stepper = OPTIMIZERS["adam"](model.parameters())
        for t in range(1, 41):
            stepper.zero_grad()
            kept = once(how, model, x, y)
            remains.note(t, *kept)
            stepper.step()
            if t in (2, 40):
                found.append(closures())
        del kept
        assert remains.alive(before=40) == []
        assert left_on(model) == []
    assert found[0] == found[1]


@pytest.mark.parametrize("location", ["forward middle_linear#1", f"backward {WEIGHT}", "update"])
def test_a_program_that_was_ended_in_a_hook_leaves_nothing_behind(location):
    """Quit crosses torch, and everything that a run had hooked is taken out."""
    before, hooked, remains = hooks(), closures(), Remains()

    def at_stop(situation, debugger):
        if seen.stops == 2:
            debugger.quit()
        return f"until {location}"

    model, x, y = make_net("module", 1)

    def program() -> None:
        stepper = OPTIMIZERS["adam"](model.parameters())
        while True:
            loss = torch.nn.functional.mse_loss(model(x), y)
            remains.note(1, loss)
            loss.backward()
            stepper.step()

    with debugged(at_stop, focus=WEIGHT) as seen, contextlib.suppress(Quit):
        program()
    assert seen.stops == 2
    assert hooks() == before and left_on(model) == []
    model(x).sum().backward()  # until then torch itself keeps the nodes that its engine did not come to
    assert remains.alive(before=2) == []
    assert closures() == hooked
