"""How long a key takes: from the press to the last byte of the repaint, on a pseudo terminal of 120 x 36.

What is measured is all of it: the app, the wire, the program's process, and for `next` also what the program itself
computes until there. A repaint is over once nothing more comes for a while; that while is not counted. The first paint
is in startup.py. These are milliseconds of the wall: on a busy machine they mean little.

Run: `python tests/bench/screen.py [--quick] [--json FILE]`.
"""

import argparse
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pexpect
import rows
from rows import Row

GOAL = 50.0
QUIET = 0.25
PROGRAM = str(Path(__file__).with_name("program.py"))
STEPS = 100
WEIGHT = "middle_linear.weight"
# What a key is for, how the screen is made ready for it, and the keys that are pressed in turn.
KEYS = (
    ("arrow: another element", "", ("\x1b[B", "\x1b[C", "\x1b[A", "\x1b[D")),
    ("arrow in true cells: scrolling", "z", ("\x1b[B", "\x1b[C", "\x1b[B", "\x1b[C")),
    ("n: the next turning point", "z", ("n",)),
    ("N: back to the one before", "", ("N",)),
)


class Terminal:
    """The app on a pseudo terminal, stopped within the second backward."""

    def __init__(self, hidden: int) -> None:
        words = ["-W", "ignore", "-m", "backpropdbg", "run", "-c", f"focus {WEIGHT}"]
        words += [
            "-c",
            "until iteration 2",
            "-c",
            "until backward middle_linear#2",
            PROGRAM,
            str(hidden),
            str(STEPS),
            "wall",
        ]
        self.app = pexpect.spawn(sys.executable, words, dimensions=(36, 120), timeout=60)
        self.app.expect("arrived, the 2nd")
        self.settle()

    def settle(self) -> float:
        """Read until nothing comes for a while; return when the last of it came."""
        last = time.perf_counter()
        while time.perf_counter() - last < QUIET:
            try:
                self.app.read_nonblocking(2**16, timeout=QUIET)
                last = time.perf_counter()
            except pexpect.TIMEOUT:
                pass
        return last

    def press(self, key: str) -> float:
        """Press a key; return the milliseconds until its repaint was whole."""
        begun = time.perf_counter()
        os.write(self.app.child_fd, key.encode())
        return max(0.0, 1e3 * (self.settle() - begun))

    def close(self) -> None:
        """End both processes."""
        self.app.send("q")
        self.app.expect(pexpect.EOF)
        self.app.close(force=True)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of them does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def keys(hidden: int, presses: int) -> Iterator[Row]:
    """Each kind of key, some times; two rows for each."""
    terminal = Terminal(hidden)
    try:
        for name, ready, pressed in KEYS:
            if ready:
                terminal.press(ready)
            found = [terminal.press(pressed[n % len(pressed)]) for n in range(presses)]
            workload = f"hidden {hidden}, {name}"
            yield rows.of(found, Row("screen", workload, "ours: key to repaint", 0, "ms"))
            yield Row("screen", workload, "ours: 95th percentile", percentile(found, 0.95), "ms", goal=GOAL)
    finally:
        terminal.close()


def measure(given: argparse.Namespace) -> Iterable[Row]:
    """All sizes."""
    for hidden in (5, 1024) if given.quick else (5, 1024, 4096):
        yield from keys(hidden, 10 if given.quick else 60)


if __name__ == "__main__":
    rows.main(__doc__, measure)
