"""What is known of things that live elsewhere goes with them."""

import gc
import weakref

import torch
from torch import nn

from backpropdbg import record
from backpropdbg.probe.labels import Labels


def test_a_thing_that_is_gone_is_forgotten_at_once():
    labels: Labels[str] = Labels()
    one, other = torch.ones(2), torch.ones(2)
    labels.set(one, "one")
    labels.set(other, "other")
    labels.set(other, "another")
    del one
    assert labels.pairs() == [("another", other)] and len(labels.found) == 1
    assert labels.get(other) == "another"
    del other
    assert labels.found == {} and labels.get(torch.ones(2)) is None


def test_a_thing_in_a_circle_is_forgotten_when_the_collector_finds_it():
    labels: Labels[str] = Labels()
    module = nn.Linear(2, 2)
    module.itself = [module]
    labels.set(module, "module")
    del module
    gc.collect()
    assert labels.found == {}


def test_a_model_that_holds_its_own_trace_is_let_go_with_it():
    """Python's collector does not look into events: no way back may lead through one."""
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with record(model, optimizer) as trace:
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()
    model.trace = trace
    gone = [weakref.ref(thing) for thing in (model, trace, model.weight)]
    del model, trace, optimizer
    gc.collect()
    assert [reference() for reference in gone] == [None] * 3
