"""Our own configurations, and the two controls that any tool that works with hooks must be compared with."""

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import torch
from driving import writer
from timing import Timed, seconds
from workloads import Loop

from backpropdbg.child.beside import Beside
from backpropdbg.events import BackwardUse, Event
from backpropdbg.keep import Keep
from backpropdbg.probe.hooks import Policy, Probe
from backpropdbg.probe.uses import find_edges
from backpropdbg.trace.history import Trace
from backpropdbg.trace.straight import Straight

KEEP = 64 * 2**20
BLOCK = 8
FILE = "ours: recording to a file"
POLICIES = {
    "ours: idle": Policy(partials=False, snapshots=False, bare=False, graph=False),
    "ours: attached, tracks nothing": Policy(snapshots=False, bare=False, graph=False, track=("no such parameter",)),
    "ours: partials": Policy(snapshots=False, bare=False, graph=False),
    "ours: partials and statistics": Policy(snapshots=False, bare=False, graph=False),
    "ours: partials and weights": Policy(snapshots=True, bare=False, graph=False),
    "ours: all, as when stepping": Policy(),
}


def plain(loop: Loop) -> Timed:
    """Steps without us."""
    return lambda: seconds(loop.step, loop.device)


def watched(loop: Loop, policy: Policy, sink: Callable[[Event], object]) -> Timed:
    """Steps under a probe, which is out of the way between them.

    One step after it was put in does not count: a probe is put in once, and then finds out what there is to watch.
    """
    probe = Probe(sink, policy)  # type: ignore[arg-type]

    def timed() -> float:
        probe.install()
        try:
            loop.step()
            return seconds(loop.step, loop.device)
        finally:
            probe.remove()

    return timed


def bare_hooks(loop: Loop, clones: bool = False) -> tuple[Timed, list[torch.Tensor]]:
    """Steps with a Python hook on each edge that keeps the partial, or a clone of it, and the partials of the last one.

    Nothing else is done, so this is the least that a tool pays that learns every partial from hooks.
    """
    original = torch.autograd._engine_run_backward
    kept: list[torch.Tensor] = []

    def keep(partial: torch.Tensor | None) -> None:
        if partial is not None:
            kept.append(partial.clone() if clones else partial)

    def run(outputs: Sequence[torch.Tensor], *args: object, **kwargs: object) -> object:
        kept.clear()
        handles = [e.node.register_hook(lambda ins, _, n=e.slot: keep(ins[n])) for e in find_edges(outputs)]
        try:
            return original(outputs, *args, **kwargs)
        finally:
            for handle in handles:
                handle.remove()

    def timed() -> float:
        torch.autograd._engine_run_backward = run
        try:
            return seconds(loop.step, loop.device)
        finally:
            torch.autograd._engine_run_backward = original

    return timed, kept


def statistics_sink(trace: Trace) -> Callable[[Event], object]:
    """Record, and take the norm of each partial at once."""

    def sink(event: Event) -> None:
        trace.append(event)
        if isinstance(event, BackwardUse) and event.partial is not None:
            event.partial.measure()

    return sink


def configurations(loop: Loop) -> dict[str, Timed]:
    """All of them by name, the controls first."""
    found = {
        "A/A (noise)": plain(loop),
        "hooks that keep": bare_hooks(loop)[0],
        "hooks that clone": bare_hooks(loop, clones=True)[0],
    }
    for name, policy in POLICIES.items():
        stepping = name.endswith("stepping")
        trace = Trace(KEEP, statistics=stepping)
        sink = statistics_sink(trace) if name.endswith("statistics") else trace.append
        found[name] = watched(loop, policy, sink)
    return found


@contextmanager
def recorded(loop: Loop) -> Iterator[Timed]:
    """Steps that are recorded to a file with all that `record` keeps.

    A thread writes, so several steps are timed together, and what is left to write after them.
    """
    with tempfile.TemporaryDirectory() as folder:
        probe = Probe(lambda event: trace.append(event), Policy())  # type: ignore[arg-type]
        file = writer(f"{folder}/bench.bptrace", Beside(probe), Keep())
        trace = Straight(file)

        def steps() -> None:
            for _ in range(BLOCK):
                loop.step()
            file.flush()

        def timed() -> float:
            probe.install()
            try:
                loop.step()
                return seconds(steps, loop.device) / BLOCK
            finally:
                probe.remove()

        yield timed
        file.close("the bench ended")
