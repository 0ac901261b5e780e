"""How long a user waits: from the command to the first paint on a terminal, to the panes, and to the first stop.

The first paint says what is started, before textual is imported; the panes are textual's first frame.

Medians over several starts, beside two things in the same Python without us: a bare `import torch`, and a program that
also makes its first optimizer (for which torch imports its compiler) and so is where the demo's first stop is. These
are seconds of the wall: on a busy machine they mean little.

Run: `python tests/bench/startup.py [--quick] [--json FILE]`.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterable

import pexpect
import rows
from rows import Row

GOALS = {"first paint": 0.3, "first stop": 2.5}
OURS = ("first paint", "panes", "first stop")
COMMAND = [sys.executable, "-m", "backpropdbg", "demo"]


def start_once() -> dict[str, float]:
    """Start the demo on a pty; return the seconds to its first paint, to its panes and to its first stop."""
    begun = time.perf_counter()
    app = pexpect.spawn(COMMAND[0], COMMAND[1:], dimensions=(36, 120), timeout=60, encoding="utf-8")
    try:
        app.expect("starting")
        found = {"first paint": time.perf_counter() - begun}
        app.expect("ledger")
        found["panes"] = time.perf_counter() - begun
        app.expect("iteration 1")
        found["first stop"] = time.perf_counter() - begun
        app.send("q")
        app.expect(pexpect.EOF)
        return found
    finally:
        app.close(force=True)


PLAIN = {
    "import torch": "import torch",
    "plain program": "import torch; m = torch.nn.Linear(4, 5); torch.optim.SGD(m.parameters()); m(torch.ones(1, 4))",
}


def plain(code: str) -> float:
    """Return the seconds that code takes in a fresh Python."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begun


def measure(given: argparse.Namespace) -> Iterable[Row]:
    """Start each several times."""
    found: dict[str, list[float]] = {name: [] for name in (*PLAIN, *OURS)}
    for _ in range(1 if given.quick else 7):
        for name, code in PLAIN.items():
            found[name].append(plain(code))
        for name, took in start_once().items():
            found[name].append(took)
    for name, times in found.items():
        whose = "ours" if name in OURS else "plain"
        yield rows.of(times, Row("startup", name, whose, 0, "s", goal=GOALS.get(name)))


if __name__ == "__main__":
    rows.main(__doc__, measure)
