"""Random programs: whatever they do, the ledger is what untied copies and `.grad` say.

BACKPROPDBG_PROGRAMS=5000 tries that many instead of a few; BACKPROPDBG_FIRST is the seed of the first one.
"""

import os
import random

import oracle
import pytest
import torch
from driving import fold, probed
from programs import Copies, Model, forward, random_program
from torch import nn

from backpropdbg.api.recorded import Ledger
from backpropdbg.events import BackwardFinished, BackwardStarted, StepFinished, StepStarted

PROGRAMS = int(os.environ.get("BACKPROPDBG_PROGRAMS", "50"))
FIRST = int(os.environ.get("BACKPROPDBG_FIRST", "0"))
OPTIMIZERS = [
    lambda p: torch.optim.SGD(p, lr=0.01),
    lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, weight_decay=0.1),
    lambda p: torch.optim.Adam(p, lr=0.01),
    lambda p: torch.optim.RMSprop(p, lr=0.01),
]


def grads_of(model):
    return {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}


def same(a, b):
    return a is b if a is None or b is None else oracle.bits(a, b)


class Told:
    """What the program itself says that it did, in plain torch.

    Attributes:
        runs: of each, the program, its input, the weights, `.grad` before and after, whether it accumulated, and for
            which parameters. steps: of each, `.grad` as it was read, the weights before and after, and the parameters
            whose `.grad` was changed after a run that wrote it.
    """

    def __init__(self):
        self.runs, self.steps = [], []


def train(seed, told):
    """A random training loop."""
    dice = random.Random(seed)
    torch.manual_seed(seed)
    model = Model()
    optimizer = dice.choice(OPTIMIZERS)(model.parameters())
    for _ in range(dice.randint(1, 4)):
        wrote, touched = set(), set()
        for _ in range(dice.randint(1, 3)):
            before = grads_of(model)
            run(dice, model, told)
            wrote |= {name for name, grad in grads_of(model).items() if not same(grad, before[name])}
            if dice.random() < 0.2:
                touched |= edit(dice, model) & wrote
        end(dice, model, optimizer, told, touched)
    return model


def run(dice, model, told):
    program, x = random_program(dice), torch.randn(4, 3)
    state = oracle.state_of(model)
    loss = model(x, program)
    if not loss.requires_grad:
        return
    kind = dice.choice(["backward"] * 4 + ["twice", "grad", "inputs"])
    for last in (False, True) if kind == "twice" else (True,):
        before, wanted = grads_of(model), dict(model.named_parameters())
        if kind == "inputs":
            wanted = {name: p for name, p in wanted.items() if dice.random() < 0.5} or {"w": model.w}
            loss.backward(inputs=list(wanted.values()))
        elif kind == "grad":
            torch.autograd.grad(loss, list(wanted.values()), allow_unused=True)
        else:
            loss.backward(retain_graph=not last)
        told.runs.append((program, x, state, before, grads_of(model), kind != "grad", set(wanted)))


def edit(dice, model):
    """Change some gradients; return the names of those that did change."""
    before = grads_of(model)
    kind = dice.choice(["clip", "halve", "assign", "nothing"])
    for p in model.parameters():
        if p.grad is not None and kind == "halve":
            p.grad.mul_(0.5)
        elif p.grad is not None and kind == "assign":
            p.grad = torch.randn_like(p)
    if kind == "clip":
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
    return {name for name, grad in grads_of(model).items() if not same(grad, before[name])}


def end(dice, model, optimizer, told, touched):
    """An update, by the optimizer or by hand, and whatever clears the gradients."""
    cleared = False
    if dice.random() < 0.1:
        optimizer.zero_grad()
        cleared = True
    if dice.random() < 0.2:
        with torch.no_grad():
            for p in model.parameters():
                if p.grad is not None:
                    p -= 0.01 * p.grad
    else:
        read, before = grads_of(model), oracle.state_of(model)
        optimizer.step()
        told.steps.append((read, before, oracle.state_of(model), set(touched), cleared))
    match dice.choice(["none", "zeros", "model", "by hand", "never"]):
        case "none":
            optimizer.zero_grad()
        case "zeros":
            optimizer.zero_grad(set_to_none=False)
        case "model":
            model.zero_grad()
        case "by hand":
            for p in model.parameters():
                p.grad = None


@pytest.mark.parametrize("seed", range(FIRST, FIRST + PROGRAMS))
def test_the_ledger_of_a_random_program(seed):
    plain, told, watched = Told(), Told(), None
    final = oracle.state_of(train(seed, plain))
    with probed() as seen:
        watched = train(seed, told)
    assert oracle.same_states(final, oracle.state_of(watched))
    check_runs(seen.events, plain)
    check_steps(seen.events, plain)


def check_runs(events, plain):
    started = [n for n, e in enumerate(events) if isinstance(e, BackwardStarted)]
    assert len(started) == len(plain.runs)
    for at, (program, x, state, before, after, accumulates, wanted) in zip(started, plain.runs, strict=True):
        copies = Copies(state)
        truth = copies.take.partials(forward(copies, x, program))
        number, iteration = events[at].run, events[at].iteration
        until = next(n for n, e in enumerate(events) if n > at and isinstance(e, BackwardFinished))
        mine = [e for e in events[: until + 1] if e.iteration == iteration]
        for name in state:
            expected = [partial for partial in truth.get(name, []) if partial is not None]
            run = next(r for r in fold(name, mine).runs if r.number == number)
            assert len(run.uses) == len(expected), (name, program)
            if name not in wanted:
                assert run.partials == []
                continue
            found = {use.place: partial.value for use, partial in run.arrived}
            for place, partial in enumerate(expected, 1):
                assert oracle.bits(found[place], partial), (name, place, program)
            assert run.accumulates == accumulates
            if accumulates and expected:
                assert same(run.carried and run.carried.value, before[name])
                assert same(run.grad.value, after[name])
                assert run.exact() is True, (name, program)


def check_steps(events, plain):
    started = [n for n, e in enumerate(events) if isinstance(e, StepStarted)]
    assert len(started) == len(plain.steps)
    for at, (read, before, after, touched, cleared) in zip(started, plain.steps, strict=True):
        until = next(n for n, e in enumerate(events) if n > at and isinstance(e, StepFinished))
        mine = [e for e in events[: until + 1] if e.iteration == events[at].iteration]
        for name, grad in read.items():
            held = events[at].grads[name]
            assert same(held and held.value, grad), name
            assert oracle.bits(events[at].before[name].value, before[name])
            assert oracle.bits(events[until].after[name].value, after[name])
            ledger = Ledger(name, (name,), mine)
            assert ledger.exact is not False
            written = [run for run in ledger.runs if run.grad_after is not None]
            if written and not cleared:
                assert (ledger.exact is True) == (name not in touched), (name, ledger.labels)
                assert bool(ledger.labels) == (name in touched), (name, ledger.labels)
