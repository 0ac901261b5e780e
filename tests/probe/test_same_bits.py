"""The debugged program computes the same bits as without the debugger."""

import random

import oracle
import pytest
import torch
from driving import OPTIMIZERS, debugged, make_net, probed, seed

from backpropdbg.probe.hooks import Policy

EXPRESSIONS = [
    "print partial",
    "print torch.rand(3)",
    "print weight.sigmoid().bernoulli()",
    "print eval('weight.zero_()')",
    "print weight.sum()",
    "print model(x)",
    "print __import__('random').random()",
    "print torch.nn.functional.dropout(x)",
    "print torch.randperm(9)",
    "info ledger",
    "graph",
    "why",
]


def train(net, uses, optimizer, iterations=4, clear=True):
    """Return everything that a training leaves behind, as comparable values."""
    seed(21)
    model, x, y = make_net(net, uses)
    stepper = OPTIMIZERS[optimizer](model.parameters())
    losses, grads = [], []
    for _ in range(iterations):
        loss = oracle.squares(model(x), y)
        stepper.zero_grad(set_to_none=clear)
        loss.backward()
        grads += [None if p.grad is None else p.grad.clone() for p in model.parameters()]
        stepper.step()
        x = x + 0.01 * torch.rand_like(x)
        losses.append(loss.detach().clone())
    state = [v.clone() for p in model.parameters() for v in stepper.state.get(p, {}).values() if v is not None]
    left = [*oracle.state_of(model).values(), *state, *losses, *grads]
    return left, random.getstate(), torch.get_rng_state()


def check_same(plain, watched):
    assert len(plain[0]) == len(watched[0])
    for a, b in zip(plain[0], watched[0], strict=True):
        assert (a is None) == (b is None)
        assert a is None or oracle.bits(a, b)
    assert plain[1] == watched[1], "the state of random"
    assert torch.equal(plain[2], watched[2]), "the state of torch's generator"


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("uses", [0, 2, None])
@pytest.mark.parametrize("net", ["module", "parameter"])
def test_training_under_the_probe(net, uses, optimizer):
    plain = train(net, uses, optimizer)
    with probed() as seen:
        watched = train(net, uses, optimizer)
    assert len(seen.events) > 20
    check_same(plain, watched)


@pytest.mark.parametrize(
    "policy", [Policy(False), Policy(snapshots=False), Policy(bare=False), Policy(graph=False), Policy(nodes=True)]
)
def test_training_under_every_policy(policy):
    plain = train("module", None, "adam")
    with probed(policy=policy):
        watched = train("module", None, "adam")
    check_same(plain, watched)


@pytest.mark.parametrize("clear", [True, False])
@pytest.mark.parametrize("optimizer", ["sgd momentum decay", "adamw"])
@pytest.mark.parametrize("net", ["module", "parameter"])
def test_training_under_a_debugger_that_stops_and_prints_everywhere(net, optimizer, clear):
    plain = train(net, None, optimizer, 3, clear)
    focus = "e" if net == "parameter" else "middle_linear.weight"
    with debugged(commands=EXPRESSIONS, focus=focus) as seen:
        watched = train(net, None, optimizer, 3, clear)
    assert seen.stops > 40
    failed = [(event, r.command, r.text) for event, r in seen.results if not r.ok]
    assert failed == []
    check_same(plain, watched)


def test_expressions_leave_no_event_behind():
    """`model(x)` at a stop is no forward use, and `.backward()` in one is no run of the program's."""
    counts = []
    for commands in ([], EXPRESSIONS, ["print weight.clone().requires_grad_().sum()"]):
        with debugged(commands=commands, focus="middle_linear.weight") as seen:
            train("module", 2, "sgd", 2)
        counts.append(len(seen.trace))
    assert counts[0] > 20 and len(set(counts)) == 1


def test_an_expression_has_the_values_of_plain_torch():
    """Names of the debugger and of the program's frame, and no gradient."""
    with debugged(
        commands=[
            "print torch.rand(3)",
            "print weight.sigmoid().bernoulli()",
            "print eval('weight.zero_()')",
            "print x.requires_grad or model(x).requires_grad",
            "print tuple(model(x).shape)",
        ]
    ) as seen:
        train("module", 1, "sgd", 1)
    by_command = {}
    for _, result in seen.results:
        by_command.setdefault(result.command, []).append(result.text)
    assert len(set(by_command["print torch.rand(3)"])) == 1, "the state is put back after each"
    assert set(by_command["print x.requires_grad or model(x).requires_grad"]) == {"False"}
    assert set(by_command["print tuple(model(x).shape)"]) == {"(8, 3)"}
