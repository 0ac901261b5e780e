"""How long a key takes: from the press to the last byte of the repaint, on a pseudo terminal of 120 x 36.

What is measured is all of it: the app, the wire, the program's process, and for `next` also what the program itself
computes until there. A key that goes to another stop has repainted once that stop is in the header, with all that was
written together with it; numbers and cells that take long may follow, and the row "last number" says when. Another key
has repainted once nothing more comes, while both processes rest; that while is not counted. The first paint is in
startup.py. These are milliseconds of the wall: on a busy machine they mean little. So there is one more row: what both
processes worked for one key, in the mean.

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
import pyte
import rows
from rows import Row

GOAL = 50.0
QUIET = 0.25
TOGETHER = 0.004  # seconds between two parts of one paint, at most
ROOM = 100  # smaller ones fit
PROGRAM = str(Path(__file__).with_name("program.py"))
STEPS = 100
WEIGHT = "middle_linear.weight"
DOWN, RIGHT, UP, LEFT = "\x1b[B", "\x1b[C", "\x1b[A", "\x1b[D"
ALL, TRUE = "arrow: another element", "arrow in true cells: scrolling"
NEXT, BACK = "n: the next turning point", "N: back to the one before"
# What a key is for, and the keys that are pressed in turn.
KEYS = {ALL: (DOWN, RIGHT, UP, LEFT), TRUE: (DOWN, RIGHT, UP, LEFT), NEXT: ("n",), BACK: ("N",)}
GOES = (NEXT, BACK)
Parts = list[tuple[float, bytes]]  # what was read, and when


class Terminal:
    """The app on a pseudo terminal, stopped within the second backward."""

    def __init__(self, hidden: int) -> None:
        first = (f"focus {WEIGHT}", "until iteration 2", "until backward middle_linear#2")
        words = ["-W", "ignore", "-m", "backpropdbg", "run", *(word for line in first for word in ("-c", line))]
        words += [PROGRAM, str(hidden), str(STEPS), "wall"]
        self.screen = pyte.Screen(120, 36)
        self.stream = pyte.ByteStream(self.screen)
        self.app = pexpect.spawn(sys.executable, words, dimensions=(36, 120), timeout=60)
        while not any("arrived, the 2nd" in line for line in self.screen.display):
            self.draw(self.settle())

    def settle(self) -> Parts:
        """Read until nothing comes for a while, and both processes rest."""
        parts: Parts = []
        last, worked = time.perf_counter(), self.worked()
        while time.perf_counter() - last < QUIET:
            try:
                data = self.app.read_nonblocking(2**16, timeout=QUIET)
                last = time.perf_counter()
                parts.append((last, data))
            except pexpect.TIMEOUT:
                now = self.worked()
                if now > worked + 1e3 * QUIET / 5:
                    last, worked = time.perf_counter(), now
        return parts

    def draw(self, parts: Parts) -> None:
        """Bring the screen up to date."""
        for _, data in parts:
            self.stream.feed(data)

    def header(self) -> str:
        """Which stop is on the screen; "" where none is."""
        line: str = self.screen.display[0]
        return "" if " running " in line else line

    def press(self, key: str, goes: bool = False) -> tuple[float, float]:
        """Press a key; return the milliseconds until its repaint was whole, and until the last byte came.

        goes: to another stop, see above.
        """
        before, begun = self.header(), time.perf_counter()
        os.write(self.app.child_fd, key.encode())
        parts = self.settle()
        assert parts, f"{key!r} did nothing"  # else it would count as a fast one
        whole, shown = parts[-1][0], not goes
        for n, (when, data) in enumerate(parts):
            self.stream.feed(data)
            shown = shown or self.header() not in ("", before)
            if goes and shown and (n + 1 == len(parts) or parts[n + 1][0] - when > TOGETHER):
                whole, goes = when, False
        assert shown, f"{key!r} went nowhere: {before}"
        return 1e3 * (whole - begun), 1e3 * (parts[-1][0] - begun)

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
    """Each kind of key, some times."""
    terminal = Terminal(hidden)
    try:
        for name, pressed in KEYS.items():
            if name == TRUE and hidden < ROOM:
                continue
            if name == TRUE:
                terminal.press(f":element {hidden // 2},{hidden // 2}\r")
                terminal.press("z")
            before = terminal.worked()
            found = [terminal.press(pressed[n % len(pressed)], name in GOES) for n in range(presses)]
            spent = (terminal.worked() - before) / presses
            workload, first = f"hidden {hidden}, {name}", [whole for whole, _ in found]
            yield rows.of(first, Row("screen", workload, "ours: key to repaint", 0, "ms"))
            yield Row("screen", workload, "ours: 95th percentile", percentile(first, 0.95), "ms", goal=GOAL)
            if name in GOES:
                yield rows.of([last for _, last in found], Row("screen", workload, "ours: last number", 0, "ms"))
            yield Row("screen", workload, "ours: work of both processes", spent, "ms")
    finally:
        terminal.close()


def measure(given: argparse.Namespace) -> Iterable[Row]:
    """All sizes; of a quick run the one in which each kind of key does something."""
    for hidden in (1024,) if given.quick else (5, 1024, 4096):
        yield from keys(hidden, 5 if given.quick else 40)


if __name__ == "__main__":
    rows.main(__doc__, measure)
