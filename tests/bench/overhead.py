"""What watching costs: the time of one training step under each configuration of ours over that of a plain step.

"A/A" compares plain with plain: it shows the noise. "hooks that keep" is a Python hook on each edge that keeps its
tensor, and nothing else: the least that any tool pays that learns every partial from hooks. `floor` is the least that
any tool pays at all; see `floor.py`.

Run: `python tests/bench/overhead.py [--quick] [--json FILE] [--device cuda]`.
"""

import argparse
from collections.abc import Iterable, Iterator

import rows
import workloads
from floor import floors
from ours import FILE, configurations, plain, recorded
from rows import Row
from timing import WARM, interleave

NET, WIDE, TRANSFORMER = list(workloads.ALL)[:3]
GOALS = {
    (NET, "ours: partials"): 1.15,
    (WIDE, "ours: partials"): 1.03,
    (TRANSFORMER, "ours: partials"): 1.03,
    (NET, "ours: partials and weights"): 1.25,
    (WIDE, "ours: partials and weights"): 1.10,
    (NET, FILE): 1.3,
    (WIDE, FILE): 1.15,
}
IDLE, SECONDS, FEW = 1.03, 10.0, 0.4


def goal(workload: str, name: str) -> float | None:
    """What was promised for one of them."""
    return IDLE if name in ("ours: idle", "ours: attached, tracks nothing") else GOALS.get((workload, name))


def rounds_for(step: float, configured: int, quick: bool) -> int:
    """So many that a workload takes a bounded time, whatever its size."""
    return max(3, min(300, int((FEW if quick else SECONDS) / (3 * step * configured))))


def one(workload: str, device: str, quick: bool) -> Iterator[Row]:
    """All configurations of one workload."""
    loop = workloads.ALL[workload](device)
    base, found = plain(loop), configurations(loop)
    step = min(base() for _ in range(5))
    with recorded(loop) as found[FILE]:
        times = interleave(base, found, rounds_for(step, len(found), quick), warm=1 if quick else WARM)
    least = floors(loop)
    yield Row("overhead", workload, "plain step", 1e3 * times.plain, "ms")
    for name, ratios in times.ratios.items():
        spent = least.get(name)
        floor = None if spent is None else 1 + spent / times.plain
        yield rows.of(ratios, Row("overhead", workload, name, 0, floor=floor, goal=goal(workload, name)))


def measure(given: argparse.Namespace) -> Iterable[Row]:
    """All workloads; of a quick run the first."""
    for workload in [NET] if given.quick else workloads.ALL:
        yield from one(workload, given.device, given.quick)


if __name__ == "__main__":
    rows.main(__doc__, measure)
