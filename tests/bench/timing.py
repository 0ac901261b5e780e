"""How everything here is timed: interleaved, plain steps on both sides of each other one, ratios within one run."""

import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

Act = Callable[[], object]
Timed = Callable[[], float]

WARM = 3


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
_clock = CLOCKS["wall"]


def pin(threads: int | None, clock: str) -> None:
    """Pin torch's threads, and choose the clock.

    On a machine that others load, use one thread and the time that this process truly worked ("cpu"): threads that wait
    for each other at every operation are at the mercy of the others, and count their waiting as work. That time is of
    all threads of this process together, so also of one that writes a file meanwhile; other processes do not count.
    """
    global _clock
    torch.set_num_threads(threads or torch.get_num_threads())
    _clock = CLOCKS[clock]


def now() -> float:
    """The time by the clock that was chosen."""
    return _clock()


def settle(device: str) -> None:
    """Wait until the device has done all that was asked of it."""
    if device != "cpu":
        torch.cuda.synchronize(device)


def seconds(act: Act, device: str = "cpu") -> float:
    """How long something takes, the work on the device included."""
    settle(device)
    start = now()
    act()
    settle(device)
    return now() - start


@dataclass(frozen=True)
class Times:
    """What one interleaved run found: the plain step in seconds, and by configuration its ratios to the plain step."""

    plain: float
    ratios: dict[str, list[float]]


def interleave(plain: Timed, others: Mapping[str, Timed], rounds: int, warm: int = WARM) -> Times:
    """Time each configuration between two plain steps, in another order each round, after some rounds that don't count.

    So a machine that gets slower or faster meanwhile does so for both.
    """
    ratios: dict[str, list[float]] = {name: [] for name in others}
    base = []
    for n in range(rounds + warm):
        names = list(others)
        random.Random(n).shuffle(names)
        for name in names:
            before, mine, after = plain(), others[name](), plain()
            if n >= warm:
                ratios[name].append(2 * mine / (before + after))
                base.append(before)
    return Times(statistics.median(base), ratios)
