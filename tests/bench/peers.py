"""The same work under other tools: what each costs, and what each can answer about a weight that is used three times.

Each tool is used as its own documentation says, to learn as much as it can of the gradient of each use. What it says
is held against plain torch on a small net, and the row of that says what was right. Each tool and workload has a
process of its own: one that crashes, hangs or is not there is a row that says so. They come with the extra `bench`;
torchexplorer needs Graphviz's `dot` too.

Run: `python tests/bench/peers.py [--quick] [--json FILE] [--device cuda] [--tool NAME]`.
"""

import argparse
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import rows
from rows import Row

sys.path.insert(1, str(Path(__file__).with_name("tools")))

TOOLS = {
    "ours: record()": ("ours", "torch"),
    "hand-written: hook on the weight": ("weight_hook", "torch"),
    "hand-written: hooks on nodes": ("node_hooks", "torch"),
    "torch detect_anomaly": ("detect_anomaly", "torch"),
    "torch DebugMode with outputs": ("debug_mode", "torch"),
    "TorchLens": ("torchlens", "torchlens"),
    "nnsight": ("nnsight", "nnsight"),
    "wandb.watch, offline": ("wandb", "wandb"),
    "torchexplorer": ("torchexplorer", "torchexplorer"),
}
ANSWERS = "what it can answer"
LIMIT, QUICK = 240, 120
SECONDS, FEW = 2.0, 0.2
SLOWER = 1.15

Work = list[tuple[str, str]]  # tools and workloads


def session(tool: str, loop: object) -> object:
    """Start a tool on a loop."""
    return importlib.import_module(f"with_{TOOLS[tool][0]}").Session(loop)


def ask(tool: str, device: str) -> Iterator[Row]:
    """In the child: what it says about the small net, on the right and not."""
    from answers import case, judge, truth

    true, at_work = truth(device), session(tool, case(device))
    at_work.step()  # type: ignore[attr-defined]
    said = judge(at_work.answers(), true)  # type: ignore[attr-defined]
    at_work.close()  # type: ignore[attr-defined]
    yield Row("peers", ANSWERS, tool, None, note=said)


def time_it(tool: str, workload: str, device: str, budget: float) -> Iterator[Row]:
    """In the child: its steps beside plain ones of a second loop; where it slows those down too, it says so."""
    from ours import plain
    from timing import interleave, seconds
    from workloads import ALL

    base, mine = plain(ALL[workload](device)), ALL[workload](device)
    alone = sorted(base() for _ in range(31))[15]
    at_work = session(tool, mine)
    timed = getattr(at_work, "timed", lambda: seconds(at_work.step, device))  # type: ignore[attr-defined]
    step = min(timed() for _ in range(2))
    times = interleave(base, {tool: timed}, max(3, min(150, int(budget / (step + 2 * alone)))), warm=1)
    at_work.close()  # type: ignore[attr-defined]
    slower = times.plain / alone
    note = f"plain steps take {slower:.2f}x beside it" if slower > SLOWER else ""
    yield rows.of(times.ratios[tool], Row("peers", workload, tool, 0, note=note))


def child(given: argparse.Namespace) -> None:
    """Do some work, and write the rows after each piece."""
    made: list[Row] = []
    for tool, workload in json.loads(given.child):
        asked = workload == ANSWERS
        budget = FEW if given.quick else SECONDS
        made += ask(tool, given.device) if asked else time_it(tool, workload, given.device, budget)
        given.json.write_text(json.dumps([asdict(row) for row in made]), encoding="utf-8")
    os._exit(0)  # some tools have servers that keep a process alive


def run(work: Work, given: argparse.Namespace, path: Path) -> list[Row]:
    """Some work in a process of its own; whatever happens there, each piece has a row."""
    words = ["--child", json.dumps(work), "--json", str(path), "--device", given.device, "--clock", given.clock]
    words += [*(["--quick"] if given.quick else []), *(["--threads", str(given.threads)] if given.threads else [])]
    limit = QUICK if given.quick else LIMIT
    command = [sys.executable, "-W", "ignore", __file__, *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, stdin=subprocess.DEVNULL)
        why = f"exit code {done.returncode}: {rows.last(done.stderr)}"
    except subprocess.TimeoutExpired:
        why = f"no end after {limit} s"
    made = [Row(**each) for each in json.loads(path.read_text(encoding="utf-8"))] if path.exists() else []
    for tool, workload in work[len(made) :]:
        made.append(Row("peers", workload, tool, None, note=why))
        why = "not reached"
    return made


def works(tools: Iterable[str], quick: bool) -> list[Work]:
    """What is done in one process each; a quick run puts all that need no more than torch into one."""
    from workloads import ALL

    pairs = [(tool, workload) for tool in tools for workload in [ANSWERS, *list(ALL)[: 1 if quick else None]]]
    if not quick:
        return [[pair] for pair in pairs]
    packages = dict.fromkeys(TOOLS[tool][1] for tool in tools)
    return [[pair for pair in pairs if TOOLS[pair[0]][1] == package] for package in packages]


def measure(given: argparse.Namespace) -> Iterable[Row]:
    """All tools, first what they answer, then what they cost."""
    there = []
    for tool in [given.tool] if given.tool else TOOLS:
        if importlib.util.find_spec(TOOLS[tool][1]) is None:
            yield Row("peers", ANSWERS, tool, None, note=f"not installed: {TOOLS[tool][1]}")
        else:
            there.append(tool)
    for work in works(there, given.quick):
        with tempfile.TemporaryDirectory() as folder:
            yield from run(work, given, Path(folder) / "rows.json")


def main() -> None:
    """As a bench, or as the child of one."""
    parser = rows.options(__doc__)
    parser.add_argument("--tool", choices=TOOLS, help="one alone")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        from timing import pin

        pin(given.threads, given.clock)
        child(given)
    else:
        rows.report(given, measure)


if __name__ == "__main__":
    main()
