"""How the tests drive a probe, or a whole debugger, inside their own process."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from backpropdbg.child.beside import Beside
from backpropdbg.debugger.core import Debugger
from backpropdbg.demo.dynamic_net import DynamicNet, DynamicPolynomial
from backpropdbg.events import Anomaly, BackwardUse, Event
from backpropdbg.keep import EVERYTHING, Keep
from backpropdbg.ledger import Ledger, fold
from backpropdbg.probe import frames
from backpropdbg.probe.hooks import Policy, Probe
from backpropdbg.probe.measuring import measure
from backpropdbg.probe.tensors import StoredTensor
from backpropdbg.trace.format import About, Known
from backpropdbg.trace.history import DEFAULT_BUDGET, Trace
from backpropdbg.trace.writer import Writer

# Commands run from here are no frames of the program under test, as in the real child process.
frames._files[__file__] = None

OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=1e-3),
    "sgd momentum decay": lambda p: torch.optim.SGD(p, lr=1e-3, momentum=0.9, weight_decay=0.1),
    "sgd nesterov": lambda p: torch.optim.SGD(p, lr=1e-3, momentum=0.8, weight_decay=0.01, nesterov=True),
    "sgd dampening": lambda p: torch.optim.SGD(p, lr=1e-3, momentum=0.9, dampening=0.3),
    "adam": lambda p: torch.optim.Adam(p, lr=1e-2, weight_decay=0.1),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.1),
}


@contextmanager
def probed(
    sink: Callable[[Event], None] | None = None, policy: Policy | None = None, fails: bool = False
) -> Iterator[Any]:
    """A probe at work: `.events` so far, `.probe`. fails: the sink does so on purpose; else nothing of ours may."""
    seen = SimpleNamespace(events=[])

    def both(event: Event) -> None:
        seen.events.append(event)
        if sink is not None:
            sink(event)

    seen.probe = Probe(both, policy or Policy())
    seen.probe.install()
    try:
        yield seen
    finally:
        seen.probe.remove()
        anomalies = [e.error for e in seen.events if isinstance(e, Anomaly)]
        assert fails or not anomalies, anomalies


@contextmanager
def debugged(
    at_stop: Callable[[Any, Debugger], str | None] = lambda situation, debugger: None,
    commands: Sequence[str] = (),
    focus: str = "",
    budget: int = DEFAULT_BUDGET,
    seed: int | None = None,
    max_events: int = 50_000,
    policy: Policy | None = None,
    path: str = "",
    keep: Keep = EVERYTHING,
) -> Iterator[Any]:
    """A whole debugger at work. path: of a recording to write, too; keep: which tensors.

    At each stop the commands run first (`.results` collects them), then `at_stop(situation, debugger)`; it returns the
    command that moves on, None for `step`.
    """
    seen = SimpleNamespace(results=[], stops=0, failed=[])

    def wait(situation: Any) -> None:
        try:
            stop(situation)
        except Exception as error:  # the probe keeps it from the program; the test shall see it
            seen.failed.append(error)
            raise

    def stop(situation: Any) -> None:
        seen.stops += 1
        seen.results += [(type(debugger.stop.event).__name__, debugger.execute(line)) for line in commands]
        move = at_stop(situation, debugger) or "step"
        if not debugger.ended:
            done = debugger.execute(move)
            assert done.ok, done.text

    seen.probe = Probe(lambda event: debugger.on_event(event), policy or Policy())
    beside = Beside(seen.probe)
    seen.file = writer(path, beside, keep, about=About("test", seed, focus)) if path else None
    seen.trace = Trace(budget, max_events, file=seen.file)
    seen.debugger = debugger = Debugger(beside, seen.trace, wait, "test", seed, focus)
    seen.probe.install()
    try:
        yield seen
    finally:
        seen.probe.remove()
        if seen.file is not None:
            seen.file.close("the test ended", 0)
        if seen.failed:
            raise seen.failed[0]
        events = [seen.trace[n] for n in range(seen.trace.first, len(seen.trace))]
        anomalies = [e.error for e in events if isinstance(e, Anomaly)]
        assert not anomalies, anomalies


def writer(path: str, beside: Any = None, keep: Keep = EVERYTHING, about: About | None = None, **more: Any) -> Writer:
    """A recording in the making, of nothing yet; that it ends early is a failure unless `say` expects it."""

    def known() -> Known:
        return Known({}, beside.modules(), beside.frozen(), beside.optimizer()) if beside is not None else Known()

    say = more.get("say", lambda text: pytest.fail(text))
    return Writer(path, about or About("test"), keep, say, known, StoredTensor, measure)


def make_net(net: str, uses: int | None, sizes: tuple[int, int, int, int] = (8, 4, 5, 3)) -> tuple[Any, Tensor, Tensor]:
    """A demo net with inputs and targets. sizes: batch, inputs, hidden, outputs."""
    batch, d_in, hidden, d_out = sizes
    if net == "module":
        return DynamicNet(d_in, hidden, d_out, uses), torch.randn(batch, d_in), torch.randn(batch, d_out)
    x = torch.linspace(-1.5, 1.5, 37)
    return DynamicPolynomial(uses), x, torch.sin(x)


def seed(number: int) -> None:
    """Seed both generators."""
    torch.manual_seed(number)
    random.seed(number)


def partials(events: Sequence[Event], iteration: int, parameter: str, run: int = 1) -> list[tuple[int, Any]]:
    """(use number, partial tensor or None) in order of arrival."""
    return [
        (e.use.number, None if e.partial is None else e.partial.value)
        for e in events
        if isinstance(e, BackwardUse) and (e.iteration, e.run, e.use.parameter) == (iteration, run, parameter)
    ]


def ledger(events: Sequence[Event], iteration: int, parameter: str) -> Ledger:
    """The ledger of one iteration, folded by the code under test."""
    return fold(parameter, [e for e in events if e.iteration == iteration])
