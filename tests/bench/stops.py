"""What a stop costs: one that a false condition rejects, one that is looked at and left, and one at every use.

Run: `python tests/bench/stops.py [--quick] [--json FILE]`.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import rows
from ours import KEEP
from program import WARM as WARM_STEPS
from rows import Row
from timing import WARM, now, seconds
from workloads import ALL, Loop, dynamic_net, recurrent

from backpropdbg.child.beside import Beside
from backpropdbg.debugger.core import Debugger
from backpropdbg.events import BackwardUse, Event
from backpropdbg.probe.hooks import Probe
from backpropdbg.situation import Situation
from backpropdbg.trace.history import Trace

REJECTED, A_SECOND = 50.0, 5_000.0
WEIGHT, BLOCK = "cell.weight_hh", 10
CONDITIONS = [("use > 10**6", 10), ("use > 10**6", 1000), ("partial.norm() > 1e9", 10), ("running.norm() > 1e9", 10)]
PROGRAM = str(Path(__file__).with_name("program.py"))
NET, WIDE, TRANSFORMER, CELL = list(ALL)[:4]
STOPPED = [  # workload, what the program calls it, parameter, how often a step uses it, how many steps
    (NET, "100", "middle_linear.weight", 3, 40),
    (WIDE, "1024", "middle_linear.weight", 3, 40),
    (TRANSFORMER, "transformer", "embedding.weight", 2, 20),
    (CELL, "lstm", "cell.weight_hh", 200, 2),
]


class Session:
    """A whole debugger in this process; at each stop it runs the next of some commands, then `move`."""

    def __init__(self, commands: list[str], move: str) -> None:
        self.commands, self.move, self.stops = commands, move, 0
        probe = Probe(lambda event: self.sink(event))
        self.sink: Callable[[Event], None] = lambda event: self.debugger.on_event(event)
        self.debugger = Debugger(Beside(probe), Trace(KEEP), self.wait, "bench", None, drawn=False)
        probe.install()
        self.remove = probe.remove

    def wait(self, situation: Situation) -> None:
        """The program has stopped."""
        self.stops += 1
        for line in [*self.commands, self.move]:
            done = self.debugger.execute(line)
            assert done.ok, f"{line}: {done.text}"
        self.commands = []


def rejected(condition: str, uses: int, blocks: int) -> Row:
    """A breakpoint at each use whose condition never holds: enabled for a block of uses, disabled for the next.

    The blocks lie within the same steps, and each is compared with those beside it: what the collector or the machine
    does meanwhile falls into few of them.
    """
    loop = recurrent("cpu", uses)
    session = Session([f"break backward {WEIGHT} if {condition}"], "continue")
    for _ in range(WARM):
        loop.step()
    breakpoint_, seen, ends = session.debugger.breakpoints[0], 0, [now()]

    def sink(event: Event) -> None:
        nonlocal seen
        session.debugger.on_event(event)
        if isinstance(event, BackwardUse) and event.use.parameter == WEIGHT:
            seen += 1
            if seen % BLOCK == 0:
                breakpoint_.enabled = not breakpoint_.enabled
                ends.append(now())

    session.sink = sink
    while len(ends) <= blocks:
        loop.step()
    session.remove()
    assert session.stops == 1, f"{condition}: stopped {session.stops} times, not once at the beginning"
    found = Row("stops", f"{uses} uses, if {condition}", "ours: a rejected stop", 0, "us", goal=REJECTED)
    return rows.of([1e6 * more / BLOCK for more in beside(ends)], found)


def beside(ends: Sequence[float]) -> list[float]:
    """How much longer each second block took than those before and after it, by the times at which blocks ended.

    The first two don't count: the clock was read before the first began.
    """
    took = [end - begin for begin, end in pairwise(ends)]
    return [took[n] - (took[n - 1] + took[n + 1]) / 2 for n in range(2, len(took) - 1, 2)]


def stepping(rounds: int) -> Row:
    """`step` after `step` in this process: events, situations and commands, no second process."""
    loop: Loop = dynamic_net("cpu", 5, 4, 16)
    session = Session([], "step")
    found = []
    for _ in range(rounds):
        before = session.stops
        took = seconds(loop.step)
        found.append((session.stops - before) / took)
    session.remove()
    row = Row("stops", "DynamicNet 5, `step`", "ours: in one process", 0, "stops/s", goal=A_SECOND, most=False)
    return rows.of(found[1:], row)


def child(words: list[str], clock: str) -> tuple[float, str]:
    """Run a command to its end. Returns the seconds of both processes together, or of the wall, and what it printed."""
    spent, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, "-W", "ignore", *words], capture_output=True, text=True, timeout=600)
    wall, now = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    worked = now.ru_utime + now.ru_stime - spent.ru_utime - spent.ru_stime
    return (wall if clock == "wall" else worked), done.stdout


def replayed(lines: list[str], clock: str) -> tuple[float, str]:
    """The same for a script of commands."""
    with tempfile.NamedTemporaryFile("w", suffix=".bpdb") as file:
        file.write("\n".join(lines) + "\n")
        file.flush()
        return child(["-m", "backpropdbg", "replay", file.name], clock)


def a_second(name: str, short: list[str], long: list[str], more: int, clock: str) -> Row:
    """The longer of two scripts, that stops `more` times more often, beside the shorter one: the start is in both."""
    took = replayed(long, clock)[0] - replayed(short, clock)[0]
    return Row("stops", name, "ours: headless, in a child", more / took, "stops/s", goal=A_SECOND, most=False)


def headless(quick: bool, clock: str) -> Iterator[Row]:
    """Stops a second through both processes; what they print goes nowhere."""
    few, many = (100, 600) if quick else (200, 5_200)
    demo = "demo --uses 3 --seed 0 --iterations"
    silent = [[f"{demo} {n // 10}", *every_use(""), "continue"] for n in (few, many)]
    yield a_second("DynamicNet 5, `commands`: continue", *silent, many - few, clock)
    if not quick:
        steps = [[f"{demo} 1000", *["step"] * n, "quit"] for n in (few, many)]
        yield a_second("DynamicNet 5, `step` in a script", *steps, many - few, clock)


def every_use(parameter: str) -> list[str]:
    """Commands: stop at each use of a parameter, and let the program run on at once."""
    return [f"break backward {parameter}".rstrip(), "commands 1", "continue", "end"]


def at_every_use(workload: str, what: str, parameter: str, uses: int, steps: int, clock: str) -> Iterator[Row]:
    """The step of a program that is stopped at each of so many uses of a parameter, beside the plain one."""
    repeats = 2
    words = [PROGRAM, what, str(steps), clock]
    run = f"run {' '.join(words)}"
    asked = [run, f"break backward {parameter}", *["continue"] * (uses * (steps + WARM_STEPS) + 1)]
    let = [run, *every_use(parameter), "continue"]

    def took(out: str) -> float:
        return float(next(line for line in out.splitlines() if line.startswith("step took")).split()[-1])

    for name, script in {"`continue` from outside": asked, "its own `continue`": let}.items():
        found = []
        for _ in range(repeats):
            plain, mine = took(child(words, clock)[1]), took(replayed(script, clock)[1])
            found.append(mine / ((plain + took(child(words, clock)[1])) / 2))
        note = f"{uses} stops a step, at {parameter}"
        yield Row("stops", workload, f"ours: at every use, {name}", statistics.median(found), note=note)


def measure(given: argparse.Namespace) -> Iterable[Row]:
    """All of it; the program under test is on the CPU."""
    for condition, uses in CONDITIONS[:: 2 if given.quick else 1]:
        yield rejected(condition, uses, 100 if given.quick else 2_000)
    yield stepping(10 if given.quick else 100)
    yield from headless(given.quick, given.clock)
    for stopped in () if given.quick else STOPPED:
        yield from at_every_use(*stopped, given.clock)


if __name__ == "__main__":
    rows.main(__doc__, measure)
