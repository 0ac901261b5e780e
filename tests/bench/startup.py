"""How long a user waits: from the command to the first paint on a terminal, and to the first stop.

Medians over several starts, beside the time of a bare `import torch` in the same Python. Run:
`python tests/bench/startup.py [--runs N]`.
"""

import argparse
import statistics
import subprocess
import sys
import time

import pexpect

GOALS = {"first paint": 0.3, "first stop": 2.5}
COMMAND = [sys.executable, "-m", "backpropdbg", "demo"]


def start_once() -> tuple[float, float]:
    """Start the demo on a pty; return the seconds to its first paint and to its first stop."""
    begun = time.perf_counter()
    app = pexpect.spawn(COMMAND[0], COMMAND[1:], dimensions=(36, 120), timeout=60, encoding="utf-8")
    try:
        app.expect("starting")
        painted = time.perf_counter() - begun
        app.expect("iteration 1")
        stopped = time.perf_counter() - begun
        app.send("q")
        app.expect(pexpect.EOF)
        return painted, stopped
    finally:
        app.close(force=True)


def import_torch() -> float:
    """Return the seconds that a bare `import torch` takes in a fresh Python."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-W", "ignore", "-c", "import torch"], check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begun


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    start_once()
    found: dict[str, list[float]] = {"import torch": [], "first paint": [], "first stop": []}
    for _ in range(runs):
        found["import torch"].append(import_torch())
        painted, stopped = start_once()
        found["first paint"].append(painted)
        found["first stop"].append(stopped)
    for name, times in found.items():
        goal = GOALS.get(name)
        middle = statistics.median(times)
        verdict = "" if goal is None else f"  goal {goal} s {'met' if middle <= goal else 'MISSED'}"
        print(f"{name:<14} {middle:.2f} s  ({min(times):.2f} to {max(times):.2f}){verdict}")


if __name__ == "__main__":
    main()
