"""The tree of parameters: uses, norms and updates of plain torch, badges, and that only a page is looked at."""

import pytest
import torch
from driving import debugged, make_net, seed
from playing import play, said

from backpropdbg.debugger import params
from backpropdbg.debugger.params import Leaf, leaves
from backpropdbg.questions import BADGES, Line, Parameters, ParametersOf, StoryOf, Turn

EVERYTHING = ParametersOf("", 0, 1000)


def page(debugger, asked: ParametersOf = EVERYTHING) -> dict[str, Line]:
    return {line.name: line for line in debugger.answer(asked).page if line.name}


def train(steps: int = 2, seen: list | None = None) -> None:
    seed(1)
    net, x, y = make_net("module", 3)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(net(x), y).backward()
        before = {name: p.detach().double() for name, p in net.named_parameters()}
        grads = {name: p.grad.double().norm().item() for name, p in net.named_parameters()}
        optimizer.step()
        moved = {name: (p.detach().double() - before[name]).norm().item() for name, p in net.named_parameters()}
        if seen is not None:
            seen.append((grads, {name: moved[name] / before[name].norm().item() for name in moved}))


def test_norms_and_updates_are_plain_torchs() -> None:
    plain: list = []
    train(2, plain)
    found: dict[str, dict[str, Line]] = {}

    def look(debugger) -> None:
        found[type(debugger.stop.event).__name__] = page(debugger)

    play(lambda: train(2), "until iteration 2", "until backward middle_linear#2", "until update", look=look)
    grads, ratios = plain[-1]
    assert found["StepFinished"].keys() == grads.keys()
    for name, line in found["StepFinished"].items():
        assert line.norm == pytest.approx(grads[name], rel=1e-6) and line.ratio == pytest.approx(ratios[name], rel=1e-5)
        assert line.uses == (3 if name.startswith("middle") else 1) and ("S" in line.badges) == (line.uses == 3)
        assert (line.state, line.ratio_state) == ("value", "value")
    middle = found["BackwardUse"]["middle_linear.weight"]
    assert (middle.norm, middle.state, middle.ratio, middle.ratio_state) == (None, "pending", None, "pending")
    output = found["BackwardUse"]["output_linear.weight"]
    assert output.norm == pytest.approx(grads["output_linear.weight"], rel=1e-6) and output.ratio is None


class Odd(torch.nn.Module):
    """Tied, frozen, unused, cancelling and ordinary parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.a = torch.nn.Linear(3, 3, bias=False)
        self.tied = torch.nn.Linear(3, 3, bias=False)
        self.tied.weight = self.a.weight
        self.cold = torch.nn.Linear(3, 3, bias=False).requires_grad_(False)
        self.unused = torch.nn.Linear(3, 3, bias=False)
        self.pair = torch.nn.Linear(3, 1, bias=False)
        self.huge = torch.nn.Parameter(torch.ones(3))

    def forward(self, x):
        h = self.cold(self.tied(self.a(x)))
        return (h * self.huge.exp()).sum() + (self.pair(x) - self.pair(x + 1e-4)).sum()


def test_badges_say_what_is_special() -> None:
    found: list[dict[str, Line]] = []

    def program() -> None:
        seed(0)
        net, x = Odd(), torch.randn(4, 3)
        net.unused(x)
        optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
        for step in range(2):
            if step:
                net.huge.data.fill_(1e4)
            net(x).backward()
            optimizer.step()

    look = lambda d: found.append(page(d))  # noqa: E731
    play(program, "until update", "until update", look=look)
    _, first, second, *_ = found
    assert "T" in first["a.weight"].badges and "S" in first["a.weight"].badges and "C" not in first["a.weight"].badges
    assert first["cold.weight"].badges == "F" and first["cold.weight"].state == "none"
    assert first["unused.weight"].badges == "-" and first["unused.weight"].ratio == 0
    assert "X" in first["pair.weight"].badges and "X" not in first["a.weight"].badges
    assert first["huge"].badges == "" and first["huge"].uses == 1
    assert "C" in second["pair.weight"].badges and "!" in second["huge"].badges and "!" in second["a.weight"].badges
    assert all(set(line.badges) <= set(BADGES) for lines in found for line in lines.values())
    assert all(list(line.badges) == [b for b in BADGES if b in line.badges] for line in second.values())


def test_a_gradient_that_an_earlier_backward_left_is_marked_until_this_one_writes_it() -> None:
    found: list[tuple[str, int, Line, Turn, float | None]] = []
    net = torch.nn.Linear(2, 1, bias=False)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)

    def program() -> None:
        for n in range(2):
            net(torch.full((1, 2), 1.0 + n)).sum().backward()
            optimizer.step()

    def look(debugger) -> None:
        turn = debugger.answer(StoryOf("element", 5)).turns[-1]
        size = None if net.weight.grad is None else net.weight.grad.norm().item()
        event = debugger.stop.event
        found.append((type(event).__name__, event.iteration, page(debugger)["weight"], turn, size))

    play(program, *["step"] * 16, look=look)
    seen = {(event, iteration): what for event, iteration, *what in found}
    for event in ("ForwardUse", "BackwardStarted", "BackwardUse"):
        line, turn, size = seen[event, 2]
        assert "L" in line.badges and line.norm == pytest.approx(size) == pytest.approx(2**0.5)
        assert (turn.grad, turn.grad_state) == (None, "pending")
        assert "L" not in seen[event, 1][0].badges
    line, turn, size = seen["Accumulated", 2]
    assert "L" not in line.badges and "C" in line.badges and line.norm == pytest.approx(size)
    assert turn.grad == pytest.approx(net.weight.grad[0, 0].item()) == pytest.approx(3.0)


def test_a_sum_that_is_not_grad_and_a_use_that_may_be_several() -> None:
    found: list[dict[str, Line]] = []

    def program() -> None:
        net = torch.nn.LSTM(2, 2)
        net(torch.randn(5, 1, 2))[0].sum().backward()

    play(program, "until accumulate weight_hh_l0", look=lambda d: found.append(page(d)))
    assert "?" in next(line for name, line in found[-1].items() if "weight_hh_l0" in name).badges


def test_a_tree_with_lonely_modules_on_one_line() -> None:
    names = ("net.a.0.weight", "net.a.0.bias", "net.a.1.weight", "net.b.deep.down.weight", "net.a.0.scale", "e")
    assert leaves(names) == [
        Leaf(0, "net"),
        Leaf(1, "a"),
        Leaf(2, "0"), Leaf(3, "weight", "net.a.0.weight"), Leaf(3, "bias", "net.a.0.bias"),
        Leaf(3, "scale", "net.a.0.scale"),
        Leaf(2, "1"), Leaf(3, "weight", "net.a.1.weight"),
        Leaf(1, "b.deep.down"), Leaf(2, "weight", "net.b.deep.down.weight"),
        Leaf(0, "e", "e"),
    ]  # fmt: skip


def test_a_page_of_ten_thousand_is_looked_at_and_no_more(monkeypatch) -> None:
    many, looked, found = 2_000, [], []
    facts = params.facts
    monkeypatch.setattr(params, "facts", lambda stop: looked.append(stop.focus) or facts(stop))

    def program() -> None:
        net = torch.nn.ParameterList([torch.nn.Parameter(torch.full((), 1.0 + n)) for n in range(many)])
        torch.stack([p * p for p in net]).sum().backward()

    def at_stop(situation, debugger) -> str:
        if situation.event == "BackwardFinished":
            looked.clear()
            assert debugger.execute("focus 1234").ok or debugger.execute("focus net.1234").ok
            for asked in (ParametersOf("", 700, 30), ParametersOf("", 0, 30, True), ParametersOf("123", 0, 30)):
                found.append(debugger.answer(asked))
            found.append(debugger.answer(ParametersOf("", 10**6, 30)))
        return "finish"

    with debugged(at_stop):
        program()
    plain, around, narrowed, end = found
    assert isinstance(plain, Parameters) and (plain.known, plain.found) == (many, many) and plain.first == 700
    shown = [line for line in plain.page if line.name]
    assert [line.norm for line in shown] == [2.0 * (1 + int(line.label)) for line in shown]
    assert len(plain.page) == 30 and around.page[around.here - around.first].label == "1234"
    shown = [line.label for line in narrowed.page if line.name]
    assert narrowed.found == len(shown) and shown == [str(n) for n in range(many) if "123" in str(n)]
    assert end.first == end.lines - 30 and end.page[-1].label == str(many - 1)
    assert len(looked) <= 30 + 30 + 13 + 30


def test_info_params_tells_the_same() -> None:
    plain: list = []
    train(1, plain)
    found: list[dict[str, Line]] = []
    lines = ("until update", "info params", "info params MIDDLE bias", "info params none such")
    seen = play(lambda: train(1), "focus middle_linear.bias", *lines, look=lambda d: found.append(page(d)))
    _, _, everything, some, nothing = said(seen)
    grads, ratios = plain[0]
    for name in grads:
        row = next(line for line in everything.splitlines() if line.strip("* ").startswith(f"{name} ")).split()
        assert f"{grads[name]:.4g}" in row and f"{ratios[name]:.4g}" in row
    marked = [[line.split() for line in text.splitlines() if line.startswith("*")] for text in (everything, some)]
    assert marked[0] == marked[1] and len(marked[0]) == 1
    assert everything.splitlines()[0].split() == ["parameter", "uses", "|.grad|", "update/weight"]
    assert "S shared: several uses" in everything and "output_linear" not in some
    assert nothing == "no parameter has 'none such' in its name"
