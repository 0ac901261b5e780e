"""The limit: the least work that any tool must do to know every partial, and what that takes on this machine.

To hold a reference to a partial takes nothing at all: the engine has made the tensor, and gives it away. A statistic
takes one pass over its bytes (one read), a weight before the step one copy (one read, one write, since the step writes
in its place), a file one copy of what it keeps into the memory of the system. That after the step is the weight itself
until the next one. So the floor of a row is the time of a pass, or a copy, of as many bytes in one piece as its tensors
have together: no call, no hook, no Python.

Run: `python tests/bench/floor.py [--quick] [--json FILE] [--device cuda]`.
"""

import argparse
from collections.abc import Iterable

import rows
import torch
import workloads
from ours import FILE, bare_hooks
from rows import Row
from timing import seconds
from workloads import Loop

TIMES = 21


def a_pass(size: int, device: str) -> float:
    """Seconds to read so many bytes once."""
    flat = torch.ones(max(1, size // 4), device=device)
    return min(seconds(flat.sum, device) for _ in range(TIMES))


def a_copy(size: int, device: str) -> float:
    """Seconds to copy so many bytes once."""
    flat = torch.ones(max(1, size // 4), device=device)
    into = torch.empty_like(flat)
    return min(seconds(lambda: into.copy_(flat), device) for _ in range(TIMES))


def sizes(loop: Loop) -> tuple[int, int, int]:
    """Bytes of all partials of one step, of all weights, and the number of partials."""
    timed, kept = bare_hooks(loop)
    timed()
    partials = sum(partial.nbytes for partial in kept)
    count = len(kept)
    kept.clear()
    return partials, sum(p.nbytes for p in loop.model.parameters()), count


def floors(loop: Loop) -> dict[str, float]:
    """Seconds that each configuration takes at the least, by its name."""
    partials, weights, _ = sizes(loop)
    read, copied = a_pass(partials, loop.device), a_copy(weights, loop.device)
    return {
        "ours: idle": 0.0,
        "ours: attached, tracks nothing": 0.0,
        "hooks that keep": 0.0,
        "hooks that clone": a_copy(partials, loop.device),
        "ours: partials": 0.0,
        "ours: partials and statistics": read,
        "ours: partials and weights": copied,
        FILE: copied + a_copy(partials, loop.device),
    }


def measure(given: argparse.Namespace) -> Iterable[Row]:
    """The bandwidth at three sizes, and the bytes of each workload."""
    for size in (2**16, 2**22, 2**28) if not given.quick else (2**16, 2**22):
        name = f"{size / 2**20:g} MiB"
        yield Row("floor", name, "read", size / a_pass(size, given.device) / 1e9, "GB/s")
        yield Row("floor", name, "copy", 2 * size / a_copy(size, given.device) / 1e9, "GB/s", note="read and written")
    for workload, make in workloads.ALL.items():
        partials, weights, count = sizes(make(given.device))
        note = f"{count} partials; the weights have {weights / 2**20:.3f}"
        yield Row("floor", workload, "bytes of all partials", partials / 2**20, "MiB", note=note)


if __name__ == "__main__":
    rows.main(__doc__, measure)
