"""No trace is left: memory stays flat however long a case runs, and no hook of ours outlives the probe.

BACKPROPDBG_ITERATIONS=1000 runs each case that long, instead of every third one for a little.
"""

import gc
import os

import pytest
import torch
from cases.case import CASES
from cases.loops import Long
from cases.test_table import by_name
from leftovers import hooks

from backpropdbg.probe.hooks import Policy, Probe
from backpropdbg.report.collect import Collector
from backpropdbg.trace.history import Trace

ITERATIONS = int(os.environ.get("BACKPROPDBG_ITERATIONS", "25"))
EARLY = 10
# Frameworks own their loops, a compiler has caches, without an update an iteration has no end; and where a program
# makes new leaves, this test holds each.
OTHERS = ("compile", "script", "a step that is skipped", "inputs=", "in the place of the old one", "an attack")
_LONG = [case for case in CASES if not case.needs and not any(words in case.name for words in OTHERS)]
LONG = _LONG if "BACKPROPDBG_ITERATIONS" in os.environ else _LONG[::3]


@pytest.fixture(autouse=True)
def what_was_there_before():
    """Is left out of the garbage collector's rounds, and of what it lists."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
    Long.count, Long.after = 0, staticmethod(lambda iteration: None)


def in_memory():
    """Objects of Python, and bytes of tensors."""
    gc.collect()
    found = gc.get_objects()
    tensors = [t for t in found if issubclass(type(t), torch.Tensor)]
    return len(found), sum(t.nbytes for t in tensors if t.layout == torch.strided)


@pytest.mark.parametrize("case", by_name(LONG))
def test_memory_is_flat_and_no_hook_stays(case):
    """After many iterations there is what there was after ten; a leak of one object each would show."""
    before, seen = hooks(), {}

    def after(iteration):
        if iteration in (EARLY, ITERATIONS):
            seen[iteration] = in_memory()

    def sink(event):
        trace.append(event)
        collector(event)

    Long.count, Long.after = ITERATIONS, staticmethod(after)
    trace, tensors = Trace(100_000, 60), []
    probe = Probe(sink, Policy())
    collector = Collector(probe.names, 10**9, lambda batch: None)
    torch.manual_seed(0)
    probe.install()
    try:
        case.program(
            lambda model=None, /, **named: tensors.extend([*(model.parameters() if model else ()), *named.values()])
        )
    finally:
        probe.remove()
    (objects, size), (more_objects, more_size) = seen[EARLY], seen[ITERATIONS]
    allowed = 300 if "reentrant" in case.name else (ITERATIONS - EARLY) // 2  # it makes leaves, whose names go later
    assert more_objects - objects < allowed, (objects, more_objects)
    assert more_size - size < 16 * (ITERATIONS - EARLY), (size, more_size)
    assert hooks() == before
