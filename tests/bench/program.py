"""A program to be debugged: trains the tutorial's net and says at its end how long a step took, in seconds.

Run: `python tests/bench/program.py HIDDEN STEPS CLOCK`.
"""

import statistics
import sys

from timing import pin, seconds
from workloads import dynamic_net

WARM = 5


def main() -> None:
    """Train."""
    hidden, steps, clock = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    pin(None if clock == "wall" else 1, clock)
    loop = dynamic_net("cpu", hidden)
    for _ in range(WARM):
        loop.step()
    print("step took", statistics.median([seconds(loop.step) for _ in range(steps)]))


if __name__ == "__main__":
    main()
