"""How long a user waits: from the command to the first paint on a terminal, and to the first stop.

Medians over several starts, beside two things in the same Python without us: a bare `import torch`, and a program that
also makes its first optimizer (for which torch imports its compiler) and so is where the demo's first stop is. Run:
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


PLAIN = {
    "import torch": "import torch",
    "plain program": "import torch; m = torch.nn.Linear(4, 5); torch.optim.SGD(m.parameters()); m(torch.ones(1, 4))",
}


def plain(code: str) -> float:
    """Return the seconds that code takes in a fresh Python."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begun


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    start_once()
    found: dict[str, list[float]] = {name: [] for name in (*PLAIN, *GOALS)}
    for _ in range(runs):
        for name, code in PLAIN.items():
            found[name].append(plain(code))
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
