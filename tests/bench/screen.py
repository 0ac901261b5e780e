"""How long a key takes: from the press to the last byte of the repaint, on a pseudo terminal of 120 x 36.

What is measured is all of it: the app, the wire, the program's process, and for `next` also what the program itself
computes until there. A repaint is over once nothing more comes for a while; that while is not counted. The first paint
is in startup.py. These are milliseconds of the wall: on a busy machine they mean little. So there is a third row: what
both processes worked for one key, in the mean.

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
ROOM = 100  # smaller ones fit
PROGRAM = str(Path(__file__).with_name("program.py"))
STEPS = 100
WEIGHT = "middle_linear.weight"
DOWN, RIGHT, UP, LEFT = "\x1b[B", "\x1b[C", "\x1b[A", "\x1b[D"
ALL, TRUE = "arrow: another element", "arrow in true cells: scrolling"
# What a key is for, and the keys that are pressed in turn.
KEYS = {
    ALL: (DOWN, RIGHT, UP, LEFT),
    TRUE: (DOWN, RIGHT, UP, LEFT),
    "n: the next turning point": ("n",),
    "N: back to the one before": ("N",),
}


class Terminal:
    """The app on a pseudo terminal, stopped within the second backward."""

    def __init__(self, hidden: int) -> None:
        first = (f"focus {WEIGHT}", "until iteration 2", "until backward middle_linear#2")
        words = ["-W", "ignore", "-m", "backpropdbg", "run", *(word for line in first for word in ("-c", line))]
        words += [PROGRAM, str(hidden), str(STEPS), "wall"]
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
        self.app.expect(b".")  # else a key that did nothing would count as a fast one
        return 1e3 * (self.settle() - begun)

    def worked(self) -> float:
        """The milliseconds that both processes have worked so far."""
        pid = self.app.pid
        children = [task.read_text().split() for task in Path(f"/proc/{pid}/task").glob("*/children")]
        ticks = 0
        for each in [str(pid), *(child for some in children for child in some)]:
            ticks += sum(map(int, Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()[11:13]))
        return 1e3 * ticks / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """End both processes."""
        self.app.send("q")
        self.app.expect(pexpect.EOF)
        self.app.close(force=True)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of them does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def keys(hidden: int, presses: int) -> Iterator[Row]:
    """Each kind of key, some times; three rows for each."""
    terminal = Terminal(hidden)
    try:
        for name, pressed in KEYS.items():
            if name == TRUE and hidden < ROOM:
                continue
            if name == TRUE:
                terminal.press(f":element {hidden // 2},{hidden // 2}\r")
                terminal.press("z")
            before = terminal.worked()
            found = [terminal.press(pressed[n % len(pressed)]) for n in range(presses)]
            spent = (terminal.worked() - before) / presses
            workload = f"hidden {hidden}, {name}"
            yield rows.of(found, Row("screen", workload, "ours: key to repaint", 0, "ms"))
            yield Row("screen", workload, "ours: 95th percentile", percentile(found, 0.95), "ms", goal=GOAL)
            yield Row("screen", workload, "ours: work of both processes", spent, "ms")
    finally:
        terminal.close()


def measure(given: argparse.Namespace) -> Iterable[Row]:
    """All sizes."""
    for hidden in (5, 1024) if given.quick else (5, 1024, 4096):
        yield from keys(hidden, 10 if given.quick else 40)


if __name__ == "__main__":
    rows.main(__doc__, measure)
