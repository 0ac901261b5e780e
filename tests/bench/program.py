"""A program to be debugged: trains one of the workloads and says at its end how long a step took, in seconds.

Run: `python tests/bench/program.py WHAT STEPS CLOCK`. WHAT: "transformer", "lstm", or how wide a DynamicNet is.
"""

import statistics
import sys

from timing import pin, seconds
from workloads import Loop, dynamic_net, lstm, transformer

WARM = 5


def made(what: str) -> Loop:
    """What is trained."""
    known = {"transformer": transformer, "lstm": lstm}
    return known[what]("cpu") if what in known else dynamic_net("cpu", int(what))


def main() -> None:
    """Train."""
    what, steps, clock = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    pin(None if clock == "wall" else 1, clock)
    loop = made(what)
    for _ in range(WARM):
        loop.step()
    print("step took", statistics.median([seconds(loop.step) for _ in range(steps)]))


if __name__ == "__main__":
    main()
