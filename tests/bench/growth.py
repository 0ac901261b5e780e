"""What watching costs as the work grows: 10 to 10,000 uses of one cell in one backward, and the memory that it holds.

Per use the cost beyond the plain step must stay flat. The memory that comes into use is compared with the tensors that
the trace says it keeps. "hooks that keep" is a Python hook on each edge that keeps its tensor, and nothing else. What
the C library keeps free between what is in use does not count, but is told: it depends on what lay where when the first
step ran. Two runs of the same program differ by a quarter in it, and so they do under bare hooks.

Run: `python tests/bench/growth.py [--quick] [--json FILE] [--device cuda]`.
"""

import argparse
import ctypes
import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import rows
import torch
from ours import KEEP, POLICIES, bare_hooks, plain, watched
from rows import Row
from timing import interleave
from workloads import Loop, dynamic_net, recurrent

from backpropdbg.probe.hooks import Policy, Probe
from backpropdbg.trace.history import Trace

FLAT, ROOM = 1.2, 1.1
CONTROL = "hooks that keep"
COUNTS = (10, 100, 1_000, 10_000)
PARTIALS = POLICIES["ours: partials"]


def uses(device: str, quick: bool) -> Iterator[Row]:
    """One cell, more and more often."""
    first = None
    for count in COUNTS[: 2 if quick else None]:
        loop = recurrent(device, count)
        timed = watched(loop, PARTIALS, Trace(KEEP, statistics=False).append)
        rounds = max(3, min(40, (500 if quick else 30_000) // count))
        times = interleave(plain(loop), {"": timed}, rounds, warm=2)
        costs = [1e6 * (ratio - 1) * times.plain / count for ratio in times.ratios[""]]
        row = rows.of(costs, Row("growth", f"RNNCell 16, {count:,} uses", "ours: cost of a use beyond plain", 0, "us"))
        yield row
        first = first or row.value
        yield Row("growth", row.workload, "that over the one at 10", row.value / first, goal=FLAT)  # type: ignore[operator]


class _Malloc(ctypes.Structure):
    """What glibc tells of its memory; see mallinfo2(3)."""

    _fields_ = [(name, ctypes.c_size_t) for name in ("arena", *"abcdef", "uordblks", "fordblks", "keepcost")]


def resident() -> tuple[int, int]:
    """Bytes of memory that this process has, and how many of them the C library keeps free (0 where it can't tell)."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    tells = getattr(ctypes.CDLL(None), "mallinfo2", None)
    free = 0
    if tells is not None:
        tells.restype = _Malloc
        free = tells().fordblks
    return int(pages) * os.sysconf("SC_PAGE_SIZE"), free


def kept_by_hooks(loop: Loop) -> tuple[Callable[[], object], Callable[[], int]]:
    """What takes a step whose partials hooks keep, and nothing else; and how many bytes they are by now."""
    timed, newest = bare_hooks(loop)
    kept: list[torch.Tensor] = []

    def step() -> None:
        timed()
        kept.extend(newest)

    return step, lambda: sum(t.nbytes for t in kept)


def kept_by_us(loop: Loop, policy: Policy) -> tuple[Callable[[], object], Callable[[], int]]:
    """The same, of ours."""
    trace = Trace(2**40, max_events=10**9, statistics=False)
    Probe(trace.append, policy).install()  # type: ignore[arg-type]
    return loop.step, lambda: trace.nbytes


def grown(hidden: int, size: int, policy: str) -> tuple[int, int, int]:
    """By how much the process grows while it comes to keep `size` bytes of tensors more; what is free; how many."""
    loop = dynamic_net("cpu", hidden, inputs=hidden)
    step, nbytes = kept_by_hooks(loop) if policy == CONTROL else kept_by_us(loop, POLICIES[policy])
    for _ in range(20):
        step()
    gc.collect()
    (before, free), kept = resident(), nbytes()
    while nbytes() - kept < size:
        step()
    gc.collect()
    now, free_now = resident()
    return now - before, free_now - free, nbytes() - kept


def memory() -> Iterator[Row]:
    """Each case in a process of its own, since memory is given back late or never."""
    for hidden in (100, 1024):
        for policy in (CONTROL, "ours: partials", "ours: all, as when stepping"):
            size = 2**27
            done = subprocess.run(
                [sys.executable, "-W", "ignore", __file__, "--grown", str(hidden), str(size), policy],
                capture_output=True,
                text=True,
                timeout=300,
                check=True,
            )
            more, free, kept = (int(word) for word in done.stdout.split())
            note = f"grew by {more / 2**20:.1f} MiB, {free / 2**20:.1f} of them free; keeps {kept / 2**20:.1f}"
            goal = None if policy == CONTROL else ROOM
            yield Row("memory", f"DynamicNet {hidden}", policy, (more - free) / kept, goal=goal, note=note)


def measure(given: argparse.Namespace) -> Iterable[Row]:
    """Time, then memory (of the CPU)."""
    yield from uses(given.device, given.quick)
    if given.device == "cpu" and not given.quick:
        yield from memory()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--grown"]:
        print(*grown(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
    else:
        rows.main(__doc__, measure)
