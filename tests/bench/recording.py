"""What a recording costs: events into memory and into a file, beside plain training; and how fast a long one opens.

A file's growth is compared with the raw bytes of the tensors that it keeps. A trace of a million events is made without
torch; it shall open in 1 s, and a jump in it take 50 ms.

Run: `python tests/bench/recording.py [--quick] [--json FILE]`.
"""

import argparse
import random
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import plain
import rows
from driving import writer
from ours import plain as plain_steps
from rows import Row
from timing import Timed, interleave, now, seconds
from workloads import Loop, dynamic_net

from backpropdbg.child.beside import Beside
from backpropdbg.child.opened import OpenedProgram, open_file
from backpropdbg.debugger.core import Debugger
from backpropdbg.keep import EVERYTHING, Keep
from backpropdbg.probe.hooks import Policy, Probe
from backpropdbg.trace.history import Trace
from backpropdbg.trace.writer import Writer

OPENED, JUMPED = 1.0, 50.0
SIZES = {"DynamicNet 5": (5, 4), "DynamicNet 100": (100, 64), "DynamicNet 1024": (1024, 64)}
STEPS = 10


def blocks(loop: Loop, path: Path | None) -> tuple[Timed, Trace, Writer | None]:
    """Some steps that are recorded, to a file too, all of which is there at their end; their trace, and the file."""
    probe = Probe(lambda event: trace.append(event), Policy())  # type: ignore[arg-type]
    file = writer(str(path), Beside(probe), EVERYTHING) if path is not None else None
    trace = Trace(file=file)

    def steps() -> None:
        for _ in range(STEPS):
            loop.step()
        if file is not None:
            file.flush()

    def timed() -> float:
        probe.install()
        try:
            return seconds(steps)
        finally:
            probe.remove()

    return timed, trace, file


def training(name: str, folder: Path, rounds: int) -> Iterator[Row]:
    """Real steps: plain, into memory, and into a file."""
    loop = dynamic_net("cpu", SIZES[name][0], inputs=SIZES[name][1], batch=16)
    base = plain_steps(loop)
    path = folder / "bench.bptrace"
    (memory, _, _), (filed, trace, file) = blocks(loop, None), blocks(loop, path)
    times = interleave(lambda: sum(base() for _ in range(STEPS)), {"memory": memory, "file": filed}, rounds)
    yield rows.of(times.ratios["memory"], Row("recording", name, "ours: into memory", 0))
    iterations = len(trace.iterations())
    assert file is not None
    file.close("the bench ended")
    size, raw = path.stat().st_size / iterations, kept(path) / iterations
    note = f"{size:,.0f} bytes a step, of which {raw:,.0f} are tensors"
    yield rows.of(times.ratios["file"], Row("recording", name, "ours: into a file", 0, note=note))


def kept(path: Path) -> int:
    """Raw bytes of all tensors in the file, each once."""
    (size,) = plain.opened(path).reader.row("SELECT sum(size) FROM data")
    return int(size)


def made(events: int, path: Path) -> Iterator[Row]:
    """Make a trace of that many events without torch; how fast they go into memory and into the file."""
    few = [event for _, each in zip(range(2000), plain.iterations(4), strict=False) for event in each]
    memory = Trace(max_events=10**9)
    took = seconds(lambda: [memory.append(event) for event in few])
    yield Row("recording", f"{len(few):,} events", "ours: into memory", len(few) / took, "events/s")
    file = plain.writer(path, Keep(2**30))
    trace = Trace(file=file, max_events=1000)

    def fill() -> None:
        trace.learn({plain.NAME: (plain.NAME,)})
        for each in plain.iterations(4):
            for event in each:
                trace.append(event)
            if len(trace) >= events:
                break
        file.close("the bench ended", 0)

    took = seconds(fill)
    note = f"{path.stat().st_size / len(trace):.0f} bytes an event"
    yield Row("recording", f"{events:,} events", "ours: into a file", len(trace) / took, "events/s", note=note)


def opens(events: int, path: Path) -> Iterator[Row]:
    """How long it takes to open it, and to jump in it, with every fact that a screen shows."""
    name = f"{events:,} events"
    times = [seconds(lambda: plain.opened(path)) for _ in range(5)]
    yield rows.of(times, Row("recording", name, "ours: opened", 0, "s", goal=OPENED))
    trace = open_file(str(path))
    rng, jumps, left, begun = random.Random(0), [], [0.0] * 200, [0.0]

    def wait(situation: object) -> None:
        if begun[0]:
            jumps.append(1e3 * (now() - begun[0]))
        if left:
            left.pop()
            target = rng.randrange(len(trace))
            begun[0] = now()
            done = debugger.execute(f"goto {target}")
            assert done.ok, done.text

    debugger = Debugger(OpenedProgram(trace), trace, wait, "bench", None, plain.NAME, recorded=True)
    debugger.open()
    yield rows.of(jumps, Row("recording", name, "ours: a jump", 0, "ms", goal=JUMPED))


def measure(given: argparse.Namespace) -> Iterable[Row]:
    """All of it, on the CPU."""
    events = 10_000 if given.quick else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        for name in list(SIZES)[: 1 if given.quick else None]:
            yield from training(name, Path(folder), 3 if given.quick else 15)
        path = Path(folder) / "million.bptrace"
        yield from made(events, path)
        yield from opens(events, path)


if __name__ == "__main__":
    rows.main(__doc__, measure)
