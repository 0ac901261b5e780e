"""backpropdbg's own `record()`: every partial, the sums, the weights before and after.

It sees all of the process, so for the sake of the plain steps it is taken out between the steps.
"""

from typing import Any

from answers import WEIGHT, Answers, case
from driving import debugged
from ours import KEEP, watched
from torch import Tensor
from workloads import Loop

import backpropdbg
from backpropdbg.events import BackwardUse
from backpropdbg.probe.hooks import Policy
from backpropdbg.trace.history import Trace


class Session:
    """One recording of all steps."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.trace: Any = None
        policy = Policy(graph=False)  # as record() has it
        self.timed = watched(loop, policy, Trace(KEEP, statistics=False).append)

    def step(self) -> None:
        """One iteration, all of it recorded."""
        with backpropdbg.record(self.loop.model, self.loop.optimizer) as self.trace:
            self.loop.step()

    def answers(self) -> Answers:
        """From the newest iteration."""
        iteration = self.trace.iterations[-1]
        ledger, update = iteration.ledger(WEIGHT), iteration.update(WEIGHT)
        (run,) = ledger.runs
        partials = dict(zip(run.arrivals, run.partials, strict=True))
        return Answers(partials, running=sums(), grad=ledger.grad, before=update.before, after=update.after)

    def close(self) -> None:
        """Nothing stays in the loop."""


def sums() -> list[Tensor]:
    """The running sum at each stop of the debugger, in a step of its own."""
    found: list[Tensor] = []

    def look(situation: Any, debugger: Any) -> None:
        event = debugger.stop.event
        if isinstance(event, BackwardUse) and event.use.parameter.endswith(WEIGHT):
            found.append(debugger.evaluate("running", event.use.parameter).clone())

    with debugged(look, focus=WEIGHT):
        case().step()
    return found
