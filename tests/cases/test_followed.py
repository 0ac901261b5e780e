"""A tensor that is computed from parameters is followed where somebody asks: its uses, its sum, where that flows on."""

import oracle
import pytest
import torch
from cases.followed import KINDS, Masked, names, train
from driving import debugged, probed
from torch import nn

import backpropdbg
from backpropdbg.events import BackwardStarted, GroupSummed
from backpropdbg.probe.hooks import Policy


def plain(kind):
    """By iteration, what autograd.grad says of each tensor that was computed."""
    found = []
    torch.manual_seed(0)
    net = train(kind(), lambda net, loss: found.append(torch.autograd.grad(loss, net.seen, retain_graph=True)))
    return found, oracle.state_of(net)


@pytest.mark.parametrize("kind,name,uses,leaves", KINDS)
def test_its_sum_is_what_autograd_says(kind, name, uses, leaves):
    truth, final = plain(kind)
    torch.manual_seed(0)
    net = kind()
    with backpropdbg.record(net, track=(name, "*")) as recording:
        train(net)
    assert oracle.same_states(final, oracle.state_of(net))
    for number, grads in enumerate(truth, 1):
        for one, grad, used in zip(names(name, len(uses)), grads, uses, strict=True):
            ledger = recording.iteration(number).ledger(one)
            assert len(ledger.uses) == used and oracle.bits(ledger.running, grad)
            assert ledger.exact is True and ledger.grad is None and ledger.labels == ()
            assert set(ledger.flows_to) == set(leaves)
            assert recording.iteration(number).update(one).skipped == "computed from other parameters"


@pytest.mark.parametrize("kind,name,uses,leaves", KINDS)
def test_each_is_told_with_its_value_and_its_sum(kind, name, uses, leaves):
    torch.manual_seed(0)
    net, values = kind(), []
    with probed(policy=Policy(track=(name, "*"))) as seen:
        train(net, lambda net, loss: values.extend(t.detach().clone() for t in net.seen), iterations=1)
    begun = next(e for e in seen.events if isinstance(e, BackwardStarted))
    totals = [e for e in seen.events if isinstance(e, GroupSummed) and not e.group]
    assert sorted(e.parameter for e in totals) == sorted(begun.computed)
    for one, computed in zip(values, names(name, len(uses)), strict=True):
        assert oracle.bits(begun.weights[computed].value, one)
        assert begun.computed[computed].many == len(uses)


def test_a_cast_of_autocast_is_followed():
    def loss_of(net, x):
        with torch.autocast("cpu", torch.bfloat16):
            return torch.tanh(net(torch.tanh(net(x)))).float().square().sum()

    torch.manual_seed(0)
    net, x = nn.Linear(3, 3), torch.randn(4, 3)
    cast = [net.weight.detach().bfloat16().requires_grad_() for _ in range(2)]
    bias = net.bias.detach().bfloat16()
    h = torch.tanh(nn.functional.linear(x.bfloat16(), cast[0], bias))
    torch.tanh(nn.functional.linear(h, cast[1], bias)).float().square().sum().backward()
    with backpropdbg.record(net, track=("weight.bfloat16", "*")) as recording:
        loss_of(net, x).backward()
    ledger = recording.iteration(1).ledger("weight.bfloat16")
    assert [use.number for use in ledger.uses] == [1, 2] and ledger.flows_to == ("weight",)
    assert all(oracle.bits(a, b.grad) for a, b in zip(ledger.partials, reversed(cast), strict=True))
    assert oracle.bits(ledger.running, cast[1].grad + cast[0].grad) and ledger.exact is True
    assert oracle.bits(ledger.running.float(), net.weight.grad)


def test_focus_at_a_stop_follows_it_from_the_next_iteration_on():
    said, notes = [], []

    def at_stop(situation, debugger):
        if situation.event == "BackwardStarted" and situation.iteration == 1 and not said:
            said.append(debugger.execute("focus masked").text)
        if situation.focus == "masked" and situation.iteration == 2 and situation.event == "GroupSummed":
            notes.append(([(row.term, row.state, row.note) for row in situation.ledger], situation.explanation))
            said.append(debugger.execute("why").text)
        return "next" if said else "step"

    torch.manual_seed(0)
    with debugged(at_stop):
        train(Masked(), iterations=3)
    assert said[0].startswith("focus: masked\nmasked is followed from the next iteration on")
    assert "no .grad: it is no leaf. Its sum flows on to weight." in said[1] and "No optimizer moves it" in said[1]
    (rows, explanation) = notes[0]
    assert [term for term, _, _ in rows] == ["A3", "A2", "A1", "running sum", ".grad"]
    assert rows[3][2] == "= what flows on, bit for bit"
    assert rows[4] == (".grad", "none", "no .grad: not a leaf; its sum flows on to weight")
    assert explanation[0] == "The gradient of masked is complete: A3 + A2 + A1, bit for bit."


def test_what_is_no_such_tensor_is_no_parameter():
    said = []

    def at_stop(situation, debugger):
        said.append(debugger.execute("focus nonsense").text)

    with debugged(at_stop):
        train(Masked(), iterations=1)
    assert all("no parameter 'nonsense'" in text for text in said)


def test_retain_grad_and_hooks_are_told():
    torch.manual_seed(0)
    w = nn.Parameter(torch.randn(3))
    with backpropdbg.record(track=("turned", "w")) as recording:
        turned = w * 2
        turned.retain_grad()
        turned.register_hook(lambda grad: grad * 10)
        (turned.sum() + (turned * turned).sum()).backward()
    ledger = recording.iteration(1).ledger("turned")
    assert len(ledger.uses) == 3 and ledger.exact is None
    assert torch.equal(ledger.running * 10, turned.grad)


def test_a_tensor_that_is_written_in_place_is_the_newest_one():
    w = nn.Parameter(torch.randn(3))
    with backpropdbg.record(track=("y", "w")) as recording:
        y = w * 2
        y.add_(1.0)
        y.mul_(3.0)
        loss = (y * y).sum()
        (truth,) = torch.autograd.grad(loss, [y], retain_graph=True)
        loss.backward()
    ledger = recording.iteration(1).ledger("y")
    assert len(ledger.runs) == 2 and oracle.bits(ledger.runs[1].running, truth)


def test_nothing_is_looked_at_unless_asked():
    with probed() as seen:
        train(Masked())
    assert not seen.probe.computed.active and seen.probe.computed.names() == ()
