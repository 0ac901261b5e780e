"""`graph nodes`: what it says of each node at each stop, against the engine, which a hook on every node tells of."""

import random
import re
from typing import Any

import msgspec
import pytest
import torch
from driving import debugged, make_net, seed
from graphs import HOWS, Engine, Net, loss_of
from playing import play, said
from programs import Model, random_program

from backpropdbg.child.opened import OpenedProgram, open_file
from backpropdbg.debugger.core import Debugger
from backpropdbg.debugger.nodes import DAMAGED, FROM_NOW_ON, NO_BACKWARD, NONE, NOT_RECORDED
from backpropdbg.debugger.repeats import Repeat, Stretch, cut, line_of, repeats, stretches
from backpropdbg.events import BackwardFinished, BackwardStarted
from backpropdbg.probe.hooks import Policy
from backpropdbg.questions import NodeLine, Nodes, NodesOf

WEIGHT, MIDDLE = "lin.weight", "middle_linear.weight"
WANTED = Policy(nodes=True)


def lines(debugger: Any) -> list[NodeLine]:
    """All of them."""
    told = debugger.answer(NodesOf(0, 1_000))
    assert not told.why and told.lines == len(told.page)
    return list(told.page)


class Truth:
    """Compares each stop with what has run by then."""

    def __init__(self) -> None:
        self.engine: Engine | None = None
        self.order: list[Any] = []
        self.certain = self.unsure = 0

    def look(self, situation: Any, debugger: Any) -> None:
        told = debugger.answer(NodesOf(0, 1_000))
        if told.why or self.engine is None or not self.order:
            return
        ran = {self.order.index(node) for node in self.engine.ran}
        for line in told.page:
            nodes = range(line.number - 1, line.last)
            if line.state == "not known":
                self.unsure += len(nodes)
                continue
            self.certain += len(nodes)
            if line.state == "here":  # AccumulateGrad tells of itself before the hooks of its node run
                leaf = situation.event == "Accumulated" and f"AccumulateGrad {debugger.stop.event.parameter}"
                assert line.number - 1 in ran or line.label == leaf
            else:
                assert all((line.state == "done") == (node in ran) for node in nodes), (situation.where, line)
        assert [line.state for line in told.page].count("here") <= 1


def order_of(how: str) -> list[int]:
    """The places of the nodes in a walk from the loss, in the order in which the engine runs them."""
    engine = Engine(loss := loss_of(Net(), how))
    loss.backward()
    return [engine.nodes.index(node) for node in engine.ran]


@pytest.mark.parametrize("how", HOWS)
def test_what_is_said_to_have_run_has_and_what_is_pending_has_not(how):
    order, truth = order_of(how), Truth()
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with debugged(truth.look, focus=WEIGHT, policy=WANTED):
        for _ in range(2):
            optimizer.zero_grad()
            loss = loss_of(net, how)
            truth.engine = Engine(loss)
            truth.order = [truth.engine.nodes[n] for n in order]
            loss.backward()
            optimizer.step()
            truth.engine = None
    assert truth.certain > 4 * len(order)  # at the beginning and at the end all is certain
    assert truth.unsure or how not in ("three times", "residual")


@pytest.mark.parametrize("number", range(12))
def test_the_same_of_random_programs(number):
    program, truth = random_program(random.Random(number)), Truth()
    torch.manual_seed(number)
    model, x = Model(), torch.randn(4, 3)
    engine = Engine(loss := model(x, program))
    if loss.requires_grad:
        loss.backward()
        order = [engine.nodes.index(node) for node in engine.ran]
        with debugged(truth.look, focus="w", policy=WANTED):
            loss = model(x, program)
            truth.engine = Engine(loss)
            truth.order = [truth.engine.nodes[n] for n in order]
            loss.backward()
        assert truth.certain >= 2 * len(order)


def test_forwards_backwards_and_across_it_is_the_same():
    """What is known of the stop before is made use of, where that was earlier in the same backward."""
    lived: dict[int, bytes] = {}

    def told(debugger: Any) -> bytes:
        return msgspec.json.encode(debugger.answer(NodesOf(0, 1_000)))

    def at_stop(situation, debugger):
        lived[situation.position] = told(debugger)
        return None

    with debugged(at_stop, focus=MIDDLE, policy=WANTED) as seen:
        train(7, 3)
        dice, positions = random.Random(2), list(lived)
        assert len({*lived.values()}) > 40
        for position in [*dice.sample(positions, len(positions)), *positions[::3], *positions[::-4]]:
            seen.debugger._at(position)
            assert told(seen.debugger) == lived[position], position


def test_what_is_no_longer_tracked_says_nothing_more():
    """In the middle of a backward the hooks of all others are taken out: that they are silent means nothing."""
    order, truth = order_of("tied"), Truth()
    at: list[str] = []

    def at_stop(situation, debugger):
        truth.look(situation, debugger)
        at.append(f"{situation.event} {debugger.focus}")
        if situation.event == "BackwardUse":
            assert debugger.execute("track table.weight").ok
            truth.look(situation, debugger)
        return None

    net = Net()
    with debugged(at_stop, focus="table.weight", policy=WANTED):
        loss = loss_of(net, "tied")
        truth.engine = Engine(loss)
        truth.order = [truth.engine.nodes[n] for n in order]
        loss.backward()
    assert at.count("BackwardUse table.weight") == 2


def test_while_a_use_is_edited_nothing_after_it_has_run():
    here = "until backward middle_linear.bias#2"
    looks = (here, "graph nodes", "set partial = 2 * partial", "step", "graph nodes")
    seen = play(lambda: train(3), *looks, focus="middle_linear.bias")
    use, edited = (re.sub(r"A2 \S+", "A2", r.text) for r in seen.said if r.command == "graph nodes")
    assert use == edited and seen.stops[1].startswith("PartialEdited")


def train(uses: int, steps: int = 2) -> None:
    seed(3)
    net, x, y = make_net("module", uses)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    for _ in range(steps):
        loss = torch.nn.functional.mse_loss(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@pytest.mark.parametrize("uses", [0, 1, 2, 3])
def test_every_use_of_the_shared_weight_is_marked_where_it_is(uses):
    seen: dict[str, list[NodeLine]] = {}

    def at_stop(situation, debugger):
        if situation.event == "BackwardFinished" and not seen:
            seen["lines"] = lines(debugger)
            seen["ledger"] = situation.ledger
        return None

    with debugged(at_stop, focus=MIDDLE, policy=WANTED):
        train(uses, 1)
    seed(3)
    net, x, y = make_net("module", uses)
    loss = torch.nn.functional.mse_loss(net(x), y)
    engine = Engine(loss)
    loss.backward()
    edges = engine.edges_to(net.middle_linear.weight)
    marked = {use.label: line for line in seen["lines"] for use in line.uses}
    assert list(marked) == [f"A{n}" for n in range(uses, 0, -1)]  # the last use comes first
    rows = {row.term: row for row in seen["ledger"]}
    for number, (node, slot) in enumerate(edges, 1):
        line = marked[f"A{number}"]
        assert line.number - 1 == engine.ran.index(node) and line.label == node.name()
        assert [target.use for target in line.targets] == [
            f"A{number}" if n == slot else "" for n in range(len(line.targets))
        ]
        assert line.uses[0].norm == rows[f"A{number}"].norm and line.uses[0].state == "value"
    leaf = next(line for line in seen["lines"] if line.label == f"AccumulateGrad {MIDDLE}") if uses else None
    assert leaf is None or leaf.sums == max(1, uses)


def test_one_node_with_two_uses_and_a_node_that_several_feed():
    page: list[NodeLine] = []

    def at_stop(situation, debugger):
        if situation.event == "BackwardFinished":
            page.extend(lines(debugger))
        return None

    with debugged(at_stop, focus=WEIGHT, policy=WANTED):
        loss_of(Net(), "split").backward()
    (square,) = [line for line in page if len(line.uses) == 2]
    assert square.label == "MulBackward0" and [use.label for use in square.uses] in (["A2", "A3"], ["A1", "A2"])
    assert [target.use for target in square.targets] == [use.label for use in square.uses]
    (split,) = [line for line in page if line.label == "SplitBackward0"]
    assert split.sums == 3 and split.name == "SplitBackward0 (sum of 3)"


def test_at_the_prompt_around_the_stop_or_from_a_node_on():
    here = f"until backward {MIDDLE}#2"
    seen = play(lambda: train(3), "graph nodes", here, "graph nodes", "graph nodes 20", focus=MIDDLE)
    early, _, around, later = said(seen)
    assert early == NO_BACKWARD
    rows = around.splitlines()
    assert rows[0] == "backward 1 of iteration 1: 21 nodes" and len(rows) == 22
    assert rows[1] == "   1   done       MseLossBackward0" + " " * 44 + "-> 2 AddmmBackward0"
    assert re.fullmatch(rf"   8   done       TBackward0 +A3 [\d.]+ +-> 16 AccumulateGrad {MIDDLE}", rows[8])
    assert re.fullmatch(rf">  11  here       TBackward0 +A2 [\d.]+ +-> 16 AccumulateGrad {MIDDLE}", rows[11])
    assert rows[12].split()[:4] == ["12", "not", "known", "ClampBackward1"]
    assert rows[16] == f"   16  pending    AccumulateGrad {MIDDLE} (sum of 3)"
    assert later == around  # all of it has room


def test_a_long_unrolling_is_one_line_but_for_its_ends_and_what_is_around_the_stop():
    page: dict[str, list[NodeLine]] = {}

    def at_stop(situation, debugger):
        if situation.where == "middle_linear.weight#20" or "#20 of 57" in situation.where:
            page["at"] = lines(debugger)
        if situation.event == "BackwardFinished":
            page["end"] = lines(debugger)
        return None

    with debugged(at_stop, focus=MIDDLE, policy=WANTED):
        train(57, 1)
    done, later = [line for line in page["at"] if line.times > 1]
    assert done.label == later.label == "ClampBackward1, AddmmBackward0, TBackward0"
    assert (done.state, later.state) == ("done", "pending")
    assert [use.label for use in done.uses] == ["A56", "A22"] and [use.label for use in later.uses] == ["A18", "A3"]
    (whole,) = [line for line in page["end"] if line.times > 1]
    assert (whole.times, [use.label for use in whole.uses]) == (54, ["A56", "A3"])
    for told in page.values():  # no node is missing, none is there twice
        assert [n for line in told for n in range(line.number, line.last + 1)] == [*range(1, 184)]
        assert all(line.last - line.number + 1 == 3 * line.times for line in told if line.times > 1)


def test_twenty_thousand_nodes_are_a_page_and_a_few_lines():
    answers: list[Nodes] = []

    def at_stop(situation, debugger):
        answers.append(debugger.answer(NodesOf(0, 10, around=True)))
        return "until backward lin.weight#3000" if len(answers) == 1 else "continue"

    with debugged(at_stop, focus=WEIGHT, policy=Policy(nodes=True, snapshots=False, bare=False, graph=False)):
        net = Net()
        h = torch.ones(1, 4)
        for _ in range(6_700):
            h = torch.relu(net.lin(h))
        h.sum().backward()
    at = answers[1]
    assert at.known == 20_103 and at.lines < 40 and len(at.page) == 10
    (here,) = [line for line in at.page if line.state == "here"]
    assert [use.label for use in here.uses] == ["A3000"]


def test_asked_for_in_the_middle_of_a_backward_it_is_read_there():
    here = f"until backward {MIDDLE}#2"
    seen = play(lambda: train(3), here, "graph nodes", "rs", "graph nodes", "goto now", "until update", "graph nodes",
                "until iteration 2", "until update", "graph nodes", focus=MIDDLE)  # fmt: skip
    texts = [r.text for r in seen.said if r.command == "graph nodes"]
    assert all(text.startswith("backward 1 of iteration ") for text in texts)
    assert [text.count("not known") for text in texts] == [1, 0, 0, 0]
    begun = [e for e in (seen.trace[n] for n in range(len(seen.trace))) if isinstance(e, BackwardStarted)]
    assert [bool(e.nodes) for e in begun] == [False, True]


def test_what_was_not_asked_for_is_said_and_graph_modules_ends_it():
    seen = play(lambda: train(2, 4), "until update", "graph nodes", "until iteration 2", "until update", "graph nodes",
                "graph modules", "until iteration 3", "until update", "graph nodes", "graph", focus=MIDDLE)  # fmt: skip
    first, second, third = (r.text for r in seen.said if r.command == "graph nodes")
    assert first == third == FROM_NOW_ON and second.startswith("backward 1 of iteration 2: 18 nodes")
    assert [r.text.startswith("x -> ") for r in seen.said if r.command in ("graph", "graph modules")] == [True, True]


@pytest.mark.parametrize(
    "text", ["nodes x", "nodes 0", "nodes -1", "nodes 1 2", "modules 3", "node", "3", "nodes " + "9" * 40]
)
def test_no_view_of_the_graph(text):
    (result,) = play(lambda: train(1), f"graph {text}").said
    assert not result.ok and result.text.startswith("graph: ") and "graph nodes 120" in result.text


def test_no_node_has_that_number():
    seen = play(lambda: train(1), "until backward", "graph nodes 15", "graph nodes 16")
    assert seen.said[1].ok
    assert seen.said[2].text == "graph nodes 16: backward 1 of iteration 1 has 15 nodes"


def test_a_backward_from_a_leaf_has_no_nodes():
    def program() -> None:
        p = torch.nn.Parameter(torch.tensor(2.0))
        (p * 1).backward()
        p.grad = None
        p.backward()

    seen = play(program, "graph nodes", "until backward", "finish", "finish", "graph nodes")
    assert seen.said[-1].text == NONE


def test_several_backwards_and_one_within_another():
    """The one that has not ended is shown; where all have, the newest."""
    titles: list[str] = []

    def at_stop(situation, debugger):
        told = debugger.answer(NodesOf())
        titles.append(f"{situation.event} in {told.title.split()[1] if told.title else '-'}")
        return None

    with debugged(at_stop, focus=WEIGHT, policy=WANTED):
        net = Net()
        h = torch.utils.checkpoint.checkpoint(net.lin, torch.ones(2, 4, requires_grad=True), use_reentrant=True)
        h.sum().backward()
        loss_of(net, "once").backward()
    first = titles.index("BackwardStarted in 1")
    assert titles[first + 1] == "BackwardStarted in 2" and "BackwardUse in 2" in titles
    last = titles.index("BackwardFinished in 1")  # the inner one ended: the outer one is at work again
    assert titles[last + 1 : last + 4] == ["BackwardUse in 1", "Accumulated in 1", "BackwardFinished in 1"]
    assert titles[-1] == "BackwardFinished in 3"


def test_where_a_backward_raised_nothing_is_said_to_have_run_that_has_not():
    def refuse(grad: torch.Tensor) -> None:
        raise ValueError("no")

    page: list[NodeLine] = []

    def at_stop(situation, debugger):
        if isinstance(debugger.stop.event, BackwardFinished):
            page.extend(lines(debugger))
        return None

    with debugged(at_stop, focus=WEIGHT, policy=WANTED):
        net = Net()
        h = net.lin(torch.ones(2, 4))
        h.register_hook(refuse)
        loss = net.lin(torch.relu(h)).sum()
        engine = Engine(loss)
        with pytest.raises(ValueError, match="no"):
            loss.backward()
    states = {line.state for line in page}
    assert states == {"done", "not known", "not computed"}
    done = [line.label.split()[0] for line in page if line.state == "done"]
    assert len(done) <= len(engine.ran) and set(done) <= {type(node).__name__ for node in engine.ran}


def test_with_some_parameters_tracked_only_they_tell_what_has_run():
    order, truth = order_of("three times"), Truth()
    net = Net()
    with debugged(truth.look, focus="lin.bias", policy=Policy(nodes=True, track=("lin.bias",))):
        loss = loss_of(net, "three times")
        truth.engine = Engine(loss)
        truth.order = [truth.engine.nodes[n] for n in order]
        loss.backward()
    assert truth.unsure > 4


def reopened(path: str, at: type) -> list[Nodes]:
    """The answers at each event of a kind."""
    trace = open_file(path)
    found = []

    def wait(situation) -> None:
        for position in range(trace.first, len(trace)):
            if isinstance(trace[position], at):
                debugger._at(position)
                found.append(debugger.answer(NodesOf(0, 200)))

    debugger = Debugger(OpenedProgram(trace), trace, wait, "test", None, MIDDLE, recorded=True)
    debugger.open()
    return found


def test_a_recording_has_them_where_they_were_asked_for(tmp_path):
    path, lived = str(tmp_path / "run.bptrace"), []

    def at_stop(situation, debugger):
        if situation.event == "BackwardUse":
            lived.append(debugger.answer(NodesOf(0, 200)))
        if situation.event == "BackwardFinished":
            assert debugger.execute("graph modules").ok
        return None

    with debugged(at_stop, focus=MIDDLE, path=path, policy=WANTED):
        train(3, 2)
    from backpropdbg.events import BackwardUse

    again = reopened(path, BackwardUse)
    live = [msgspec.json.encode(told) for told in lived if told.title.endswith("1")]
    assert [msgspec.json.encode(told) for told in again[: len(live)]] == live
    assert {told.why for told in again[len(live) :]} == {NOT_RECORDED}


def test_repeats_and_the_lines_that_they_make():
    assert repeats("x" + "ab" * 5 + "y") == [Repeat(1, 2, 5)] and repeats("aaaa") == [] and repeats("") == []
    assert repeats("abcabdabcabd" * 5) == [Repeat(0, 6, 10)]
    states = ["done"] * 12
    found = repeats("ab" * 6)
    assert stretches(states, found, -1) == [Stretch(0, 2, 1), Stretch(2, 2, 4), Stretch(10, 2, 1)]
    mixed = [*["done"] * 6, "not known", *["pending"] * 5]
    assert stretches(mixed, found, -1) == [Stretch(0, 12, 1)] and stretches([], [], -1) == []
    for here in range(12):
        parts = stretches(states, found, here)
        count = sum(part.lines for part in parts)
        lines = list(cut(parts, 0, count))
        assert [n for part in lines for n in range(part.first, part.end)] == [*range(12)]
        assert lines[line_of(parts, here)] == Stretch(here, 1, 1) and line_of(parts, 12) == -1
        for first in range(count):
            for many in range(count + 2):
                assert list(cut(parts, first, many)) == lines[first : first + many]


def test_a_damaged_graph_says_so(monkeypatch):
    monkeypatch.setattr("backpropdbg.debugger.nodes.unpack", lambda packed: None)
    with debugged(lambda s, d: answers.append(d.answer(NodesOf()).why), policy=WANTED) as _:
        answers: list[str] = []
        train(1, 1)
    assert set(answers) == {NO_BACKWARD, DAMAGED}
