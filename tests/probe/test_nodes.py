"""The nodes of a backward, against the engine: what it ran, in which order, and what its nodes say of each other."""

import random
import zlib
from typing import Any

import msgspec
import pytest
import torch
from driving import probed
from graphs import HOWS, Engine, Net, loss_of

from backpropdbg.events import Anomaly, BackwardStarted, BackwardUse
from backpropdbg.nodes import Nodes, UseEdge, pack, unpack
from backpropdbg.probe import nodes as reading
from backpropdbg.probe.hooks import Policy

WEIGHT = "lin.weight"


def graphs(events: list[Any]) -> list[Nodes]:
    """The graph of each backward."""
    found = [unpack(e.nodes) for e in events if isinstance(e, BackwardStarted)]
    assert None not in found
    return found


def agree(nodes: Nodes, engine: Engine, names: dict[int, str], needed: int | None = None) -> None:
    """Each node is one of the engine's, which ran in this order, with the same ones behind it."""
    assert len(nodes) == len(engine.nodes)
    runs = [n for n in range(len(nodes)) if n not in nodes.unneeded]
    assert len(runs) == len(engine.ran)
    assert needed is None or len(runs) == needed
    place = dict(zip(engine.ran, runs, strict=True))
    for node, n in place.items():
        leaf = getattr(node, "variable", None)
        name = type(node).name(node).rpartition("::")[2]
        assert nodes.name(n) == (name if leaf is None else f"{name} {names[id(leaf)]}")
        mine = [target if target in runs else -1 for target in nodes.targets[n]]
        assert mine == [place.get(target, -1) for target, _ in node.next_functions]
        none = [target is None for target, _ in node.next_functions]
        assert [target < 0 for target in nodes.targets[n]] == none


def named(net: Net) -> dict[int, str]:
    return {id(p): name for name, p in net.named_parameters()}


@pytest.mark.parametrize("how", HOWS)
def test_every_node_with_its_name_and_all_that_it_hands_gradients_on_to(how):
    net = Net()
    with probed(policy=Policy(nodes=True)) as seen:
        loss = loss_of(net, how)
        engine = Engine(loss)
        loss.backward()
    (nodes,) = graphs(seen.events)
    agree(nodes, engine, named(net))


@pytest.mark.parametrize("how", sorted(HOWS.keys() - {"turned", "bfloat16"}))
def test_the_edges_of_the_uses_are_those_that_end_in_the_parameter(how):
    net = Net()
    with probed(policy=Policy(nodes=True)) as seen:
        loss = loss_of(net, how)
        engine = Engine(loss)
        loss.backward()
    (nodes,) = graphs(seen.events)
    for name, p in net.named_parameters():
        expected = [UseEdge(engine.ran.index(node), slot) for node, slot in engine.edges_to(p)]
        assert list(nodes.uses.get(name, ())) == expected


@pytest.mark.parametrize(("how", "view"), [("turned", "TBackward0"), ("bfloat16", "ToCopyBackward0")])
def test_uses_behind_one_view_or_cast_are_those_of_its_consumers(how, view):
    net = Net()
    with probed(policy=Policy(nodes=True)) as seen:
        loss = loss_of(net, how)
        engine = Engine(loss)
        loss.backward()
    (nodes,) = graphs(seen.events)
    ((shared, _),) = engine.edges_to(net.lin.weight)
    above = engine.ran.index(shared)
    assert nodes.name(above) == view
    users = [
        (engine.ran.index(node), slot)
        for node in sorted(engine.nodes, key=lambda node: node._sequence_nr())
        for slot, (target, _) in enumerate(node.next_functions)
        if target is shared
    ]
    assert len(users) > 1
    assert nodes.uses[WEIGHT] == tuple(UseEdge(node, slot, above) for node, slot in users)


@pytest.mark.parametrize("which", ["lin.bias", "hidden", "both", "unreachable"])
@pytest.mark.parametrize("way", ["grad", "backward"])
def test_what_a_backward_for_some_inputs_does_not_compute(way, which):
    net = Net()
    with probed(policy=Policy(nodes=True)) as seen:
        hidden = torch.relu(net.lin(torch.ones(3, 4)))
        loss = net.lin(torch.relu(net.lin(hidden))).sum()
        engine = Engine(loss)
        inputs = {"lin.bias": [net.lin.bias], "hidden": [hidden], "unreachable": [net.table.weight]}
        wanted = inputs.get(which, [net.lin.bias, hidden])
        if way == "grad":
            torch.autograd.grad(loss, wanted, allow_unused=True)
        else:
            torch.autograd.backward(loss, inputs=wanted)
    (nodes,) = graphs(seen.events)
    agree(nodes, engine, named(net))
    assert nodes.unneeded


def test_several_roots_and_several_backwards_in_one_iteration():
    net = Net()
    with probed(policy=Policy(nodes=True)) as seen:
        first, second = (loss_of(net, how) for how in ("once", "tied"))
        engine = Engine(first, second)
        torch.autograd.backward([first, second], retain_graph=True)
        ran = list(engine.ran)
        engine.ran.clear()
        second.backward()
        alone = list(engine.ran)
    both, one = graphs(seen.events)
    assert [both.name(n).split()[0] for n in range(len(both))] == [type(node).__name__ for node in ran]
    assert [one.name(n).split()[0] for n in range(len(one))] == [type(node).__name__ for node in alone]


def test_a_function_of_the_programs_may_have_attributes_that_a_node_has_too():
    class Odd(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.name, ctx._sequence_nr = "mine", 3
            return x * 1

        @staticmethod
        def backward(ctx, grad):
            return grad

    found = unpack(reading.read([Odd.apply(Net().lin.weight).sum()], [], lambda leaf: WEIGHT))
    assert [found.name(n) for n in range(3)] == ["SumBackward0", "OddBackward", f"AccumulateGrad {WEIGHT}"]


def test_nothing_is_read_where_nobody_asks(monkeypatch):
    monkeypatch.setattr(reading, "read", lambda *args: pytest.fail("read"))
    net = Net()
    with probed() as seen:
        loss_of(net, "three times").backward()
        assert not seen.probe.backward.reading._runs
    assert [e.nodes for e in seen.events if isinstance(e, BackwardStarted)] == [b""]


def test_a_graph_that_cannot_be_read_costs_no_partial(monkeypatch):
    monkeypatch.setattr(reading, "read", lambda *args: 1 / 0)
    with probed(policy=Policy(nodes=True), fails=True) as seen:
        loss_of(Net(), "three times").backward()
    (why,) = [e.error for e in seen.events if isinstance(e, Anomaly)]
    assert why.startswith("ZeroDivisionError")
    assert sum(isinstance(e, BackwardUse) and e.use.parameter == WEIGHT for e in seen.events) == 3


def test_from_the_next_backward_on_and_no_longer():
    net, many = Net(), []
    with probed() as seen:
        for wanted in (False, True, True, False):
            seen.probe.want_nodes(wanted)
            loss_of(net, "once").backward()
        many = [e.nodes for e in seen.events if isinstance(e, BackwardStarted)]
    assert [bool(packed) for packed in many] == [False, True, True, False]
    assert many[1] is many[2]  # the same graph again takes no more room


def test_twenty_thousand_nodes_and_no_recursion():
    net = Net()
    with probed(policy=Policy(nodes=True, snapshots=False, bare=False, graph=False)) as seen:
        h = torch.ones(1, 4)
        for _ in range(6_700):
            h = torch.relu(net.lin(h))
        loss = h.sum()
        loss.backward()
    (nodes,) = graphs(seen.events)
    assert len(nodes) == 1 + 6_700 * 3 + 2
    packed = next(e.nodes for e in seen.events if isinstance(e, BackwardStarted))
    assert len(packed) < 10 * len(nodes)
    assert [edge.node for edge in nodes.uses[WEIGHT]] == sorted((e.node for e in nodes.uses[WEIGHT]), reverse=True)
    assert {nodes.names[nodes.kinds[edge.node]] for edge in nodes.uses[WEIGHT]} == {"TBackward0"}


def test_whatever_bytes_a_file_has_they_make_a_graph_or_none():
    good = Nodes(("A", "B"), (0, 1, 1), ((1, -1, 2), (2,), ()), {"w": (UseEdge(0, 1, -1),)}, {2: "w"}, (1,))
    assert unpack(pack(good)) == good
    dice = random.Random(4)
    body = bytearray(zlib.decompress(pack(good)))
    for _ in range(3_000):
        broken = bytearray(body)
        for _ in range(dice.randint(1, 3)):
            broken[dice.randrange(len(broken))] = dice.randrange(256)
        found = unpack(zlib.compress(bytes(broken)))
        if found is not None:
            for n in range(len(found)):
                assert found.name(n) and all(t == -1 or n < t < len(found) for t in found.targets[n])
    assert unpack(b"") is None and unpack(b"nonsense") is None
    odd = [
        {"kinds": (0, 1, 2)}, {"kinds": (0, -1, 1)}, {"kinds": (0, 1)}, {"targets": ((0,), (1,), (1,))},
        {"targets": ((1, -1), (-1,), ())}, {"uses": {"w": ((0, 9, -1),)}}, {"uses": {"w": ((3, 0, -1),)}},
        {"uses": {"w": ((0, 0, 3),)}}, {"leaves": {7: "w"}}, {"leaves": {3: "w"}}, {"unneeded": (3,)},
    ]  # fmt: skip
    whole = msgspec.msgpack.decode(body)
    assert unpack(zlib.compress(msgspec.msgpack.encode(whole))) == good
    for change in odd:
        assert unpack(zlib.compress(msgspec.msgpack.encode({**whole, **change}))) is None, change
