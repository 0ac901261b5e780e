"""What a recording costs: events a second into memory and into a file, beside plain training; and how fast one opens.

Goals: a trace of a million events opens in 1 s, a jump in it takes 50 ms. The file's growth per iteration is compared
with the raw bytes of the tensors that it keeps.

Run: `python tests/bench/trace.py [--events N] [--steps N] [--folder DIR]`.
"""

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import plain
import torch
from driving import Policy, Probe, make_net, seed, writer

from backpropdbg.child.beside import Beside
from backpropdbg.child.opened import OpenedProgram, open_file
from backpropdbg.debugger.core import Debugger
from backpropdbg.events import handles
from backpropdbg.keep import EVERYTHING, Keep
from backpropdbg.trace.history import Trace

SIZES = {"demo (5 wide)": (16, 4, 5, 3), "100 wide": (16, 64, 100, 16), "1024 wide": (16, 64, 1024, 16)}


def seconds(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def training(sizes: tuple[int, int, int, int]) -> Callable[[int], None]:
    """Steps of the demo's net with three uses, and momentum."""
    seed(0)
    model, x, y = make_net("module", 3, sizes)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)

    def step(count: int) -> None:
        for _ in range(count):
            loss = torch.nn.functional.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return step


def timed(step: Callable[[int], None], steps: int) -> float:
    """Seconds of one step, the median of five times `steps`."""
    return statistics.median([seconds(lambda: step(steps)) / steps for _ in range(5)])


def real(steps: int, folder: Path) -> None:
    """Real training: plain, watched into memory, and into a file too."""
    print(f"{'net':15} {'plain':>10} {'memory':>16} {'file':>16} {'events/s':>10} {'file/iter':>10} {'raw/iter':>10}")
    for name, sizes in SIZES.items():
        step = training(sizes)
        step(5)
        bare = timed(step, steps)
        memory, events, _ = watched(sizes, steps, None)
        filed, events, grown = watched(sizes, steps, folder / "bench.bptrace")
        raw = kept(folder / "bench.bptrace") / (5 * steps + 5)
        print(
            f"{name:15} {1e3 * bare:7.2f} ms {1e3 * memory:7.2f} ms {memory / bare:4.2f}x"
            f" {1e3 * filed:7.2f} ms {filed / bare:4.2f}x {events / filed:10.0f} {grown:10.0f} {raw:10.0f}"
        )


def watched(sizes: tuple[int, int, int, int], steps: int, path: Path | None) -> tuple[float, float, float]:
    """Seconds, events and bytes of the file that one step takes."""
    step = training(sizes)
    probe = Probe(lambda event: trace.append(event), Policy())
    file = writer(str(path), Beside(probe), EVERYTHING) if path is not None else None
    trace = Trace(file=file)
    probe.install()
    step(5)
    if file is not None:
        file.flush()
    before, at = weigh(path), len(trace)
    took = timed(step, steps)
    probe.remove()
    if file is not None:
        file.close("the bench ended")
    return took, (len(trace) - at) / (5 * steps), (weigh(path) - before) / (5 * steps)


def weigh(path: Path | None) -> int:
    """Bytes of a file and its log."""
    return sum(p.stat().st_size for p in path.parent.glob(path.name + "*")) if path is not None else 0


def kept(path: Path) -> int:
    """Raw bytes of all tensors in the file, each once."""
    trace = plain.opened(path)
    (size,) = trace.reader.row("SELECT sum(size) FROM data")
    return int(size)


def made(events: int, folder: Path) -> Path:
    """A trace of that many events, made without torch; how fast they went into memory and into the file."""
    path = folder / "million.bptrace"
    one = [event for _, each in zip(range(2000), plain.iterations(4), strict=False) for event in each]
    memory = Trace(max_events=10**9)
    took = seconds(lambda: [memory.append(event) for event in one])
    print(f"events alone, into memory: {len(one) / took:10.0f} a second")
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
    size = path.stat().st_size
    raw = sum(4 * 4 for _ in range(plain.TENSORS)) / plain.EVENTS
    print(f"events alone, into a file: {len(trace) / took:10.0f} a second")
    print(f"{len(trace)} events: {size / 1e6:.0f} MB, {size / len(trace):.0f} bytes an event (tensors: {raw:.0f})")
    return path


def opens(path: Path) -> None:
    """How long it takes to open it and to jump in it, with every fact that a screen shows."""
    times = [seconds(lambda: plain.opened(path)) for _ in range(5)]
    print(f"opened: {1e3 * statistics.median(times):.1f} ms, at most {1e3 * max(times):.1f} ms (goal 1000)")
    torch.zeros(1)
    trace = open_file(str(path))
    rng, jumps, left = random.Random(0), [], [0.0] * 200
    began = [0.0]

    def wait(situation: object) -> None:
        if began[0]:
            jumps.append(time.perf_counter() - began[0])
        if left:
            left.pop()
            target = rng.randrange(len(trace))
            began[0] = time.perf_counter()
            done = debugger.execute(f"goto {target}")
            assert done.ok, done.text

    debugger = Debugger(OpenedProgram(trace), trace, wait, "bench", None, plain.NAME, recorded=True)
    debugger.open()
    jumps.sort()
    print(f"a jump: {1e3 * statistics.median(jumps):.1f} ms, 99 % in {1e3 * jumps[-3]:.1f} ms (goal 50)")
    shown = sum(len(handles(trace[n])) for n in range(0, len(trace), max(1, len(trace) // 100)))
    print(f"({shown} tensors in a hundredth of them)")


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        real(given.steps, Path(folder))
        opens(made(given.events, Path(folder)))


if __name__ == "__main__":
    main()
