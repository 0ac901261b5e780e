"""What watching costs: the time of one DynamicNet training step under the probe over that of a plain step.

Each row is a median of ratios; plain and watched steps alternate in one process, so that both see the same machine.
The row "A/A" compares plain with plain: it shows the noise. The row "bare hooks" is the least that any tool pays that
learns every partial from hooks: a Python hook on each edge that keeps its tensor, and nothing else.

Run: `python tests/bench/overhead.py [--steps N] [--uses N]`.
"""

import argparse
import random
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import torch

from backpropdbg.demo.dynamic_net import DynamicNet
from backpropdbg.events import BackwardUse, Event
from backpropdbg.probe.hooks import Policy, Probe
from backpropdbg.probe.uses import find_edges
from backpropdbg.trace.history import Trace

GOALS = {("idle", 100): 1.03, ("idle", 1024): 1.03, ("partials", 100): 1.15, ("partials", 1024): 1.03}
IDLE = Policy(partials=False, snapshots=False, bare=False, graph=False)
REFERENCES = Policy(snapshots=False, bare=False, graph=False)
WEIGHTS = Policy(snapshots=True, bare=False, graph=False)
STEPPING = Policy()
IDLE_BUT_ATTACHED = Policy(snapshots=False, bare=False, graph=False, track=("no such parameter",))


class Trainable(Protocol):
    """Anything with training steps."""

    def step(self) -> None:
        """One iteration."""


class Loop:
    """The tutorial's training step at one width, always from the same state."""

    def __init__(self, hidden: int, uses: int) -> None:
        torch.manual_seed(0)
        self.x, self.y = torch.randn(64, 1000), torch.randn(64, 10)
        self.model = DynamicNet(1000, hidden, 10, uses)
        self.criterion = torch.nn.MSELoss(reduction="sum")
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-6, momentum=0.9)

    def step(self) -> None:
        """One iteration."""
        loss = self.criterion(self.model(self.x), self.y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def watched(loop: Trainable, policy: Policy, sink: Callable[[Event], object]) -> Callable[[], float]:
    """Return a function that times one step under a probe, which is out of the way between the calls."""
    probe = Probe(sink, policy)  # type: ignore[arg-type]

    def timed() -> float:
        probe.install()
        try:
            start = time.perf_counter()
            loop.step()
            return time.perf_counter() - start
        finally:
            probe.remove()

    return timed


def plain(loop: Trainable) -> float:
    """Time one step without us."""
    start = time.perf_counter()
    loop.step()
    return time.perf_counter() - start


def bare_hooks(loop: Trainable) -> Callable[[], float]:
    """Return a function that times one step with a hook on each edge that keeps the partial of this step."""
    original = torch.autograd._engine_run_backward
    kept: list[object] = []

    def run(outputs: Sequence[torch.Tensor], *args: object, **kwargs: object) -> object:
        kept.clear()
        handles = [e.node.register_hook(lambda ins, _, n=e.slot: kept.append(ins[n])) for e in find_edges(outputs)]
        try:
            return original(outputs, *args, **kwargs)
        finally:
            for handle in handles:
                handle.remove()

    def timed() -> float:
        torch.autograd._engine_run_backward = run
        try:
            return plain(loop)
        finally:
            torch.autograd._engine_run_backward = original

    return timed


def statistics_sink(trace: Trace) -> Callable[[Event], object]:
    """Record, and take the norm of each partial at once."""

    def sink(event: Event) -> None:
        trace.append(event)
        if isinstance(event, BackwardUse) and event.partial is not None:
            event.partial.norm()

    return sink


def rows(loop: Loop) -> dict[str, Callable[[], float]]:
    """The configurations by name."""
    keep = 64 * 2**20
    return {
        "A/A": lambda: plain(loop),
        "bare hooks": bare_hooks(loop),
        "idle": watched(loop, IDLE, Trace(keep).append),
        "attached, tracks nothing": watched(loop, IDLE_BUT_ATTACHED, Trace(keep).append),
        "partials": watched(loop, REFERENCES, Trace(keep, statistics=False).append),
        "and statistics": watched(loop, REFERENCES, statistics_sink(Trace(keep))),
        "and weights": watched(loop, WEIGHTS, Trace(keep, statistics=False).append),
        "all, as when stepping": watched(loop, STEPPING, Trace(keep).append),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--uses", type=int, default=3)
    given = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {given.uses} uses, {given.steps} steps a row")
    for hidden in (100, 1024):
        loop = Loop(hidden, given.uses)
        configurations = rows(loop)
        ratios: dict[str, list[float]] = {name: [] for name in configurations}
        base: list[float] = []
        for n in range(given.steps + 20):
            names = list(configurations)
            random.Random(n).shuffle(names)
            for name in names:
                before = plain(loop)
                time_watched = configurations[name]()
                after = plain(loop)
                if n >= 20:
                    ratios[name].append(2 * time_watched / (before + after))
                    base.append(before)
        print(f"hidden {hidden}: plain step {1e3 * statistics.median(base):.3f} ms")
        for name, found in ratios.items():
            goal = GOALS.get((name, hidden))
            low, middle, high = statistics.quantiles(found, n=4)
            verdict = "" if goal is None else f"  goal {goal}x {'met' if middle <= goal else 'MISSED'}"
            print(f"  {name:<24} {middle:6.3f}x  ({low:.3f} to {high:.3f}){verdict}")


if __name__ == "__main__":
    main()
