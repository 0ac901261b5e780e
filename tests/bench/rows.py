"""What a bench found: rows, the table that shows them, and the JSON that keeps them."""

import argparse
import json
import os
import platform
import statistics
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

warnings.filterwarnings("ignore", message="Failed to initialize NumPy")


@dataclass(frozen=True)
class Row:
    """One finding.

    Attributes:
        bench, workload, name: what was measured, on what, and of whom.
        value: the median; None where there is none, and then `note` says why.
        low, high: the quartiles.
        unit: "x" (times the plain step), "s", "ms", "us", "stops/s", "GB/s".
        floor: the least that any tool can reach, in the same unit.
        goal: what was promised, in the same unit. most: the goal is the most that it may be, not the least.
        note: what else there is to say.
    """

    bench: str
    workload: str
    name: str
    value: float | None
    unit: str = "x"
    low: float | None = None
    high: float | None = None
    floor: float | None = None
    goal: float | None = None
    most: bool = True
    note: str = ""

    @property
    def verdict(self) -> str:
        """Whether the goal was met; nothing where there is none."""
        if self.goal is None or self.value is None:
            return ""
        met = self.value <= self.goal if self.most else self.value >= self.goal
        return f"{_figure(self.goal)}{self.unit.replace('x', 'x ')} {'met' if met else 'MISSED'}".replace("  ", " ")


def of(values: Sequence[float], row: Row) -> Row:
    """The row with the median and the quartiles of some values."""
    if len(values) < 2:
        return replace(row, value=values[0])
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return replace(row, value=middle, low=low, high=high)


def _figure(value: float) -> str:
    """Three decimals of small numbers, none of large ones."""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}" if abs(value) < 1000 else f"{value:,.0f}"


HEAD = ("bench", "workload", "configuration", "median", "quartiles", "floor", "goal", "note")


def cells(row: Row) -> tuple[str, ...]:
    """One row of the table."""
    unit = row.unit if row.unit == "x" else f" {row.unit}"
    value = "-" if row.value is None else f"{_figure(row.value)}{unit}"
    spread = "" if row.low is None or row.high is None else f"{_figure(row.low)} to {_figure(row.high)}"
    floor = "" if row.floor is None else f"{_figure(row.floor)}{unit}"
    return (row.bench, row.workload, row.name, value, spread, floor, row.verdict, row.note)


def table(rows: Iterable[Row]) -> str:
    """The rows under a head, in Markdown, in columns that line up on a terminal too."""
    lines = [HEAD, *(cells(row) for row in rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(HEAD))]
    shown = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |" for line in lines]
    return "\n".join([shown[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *shown[1:]])


def machine(given: argparse.Namespace) -> str:
    """Where this ran, in words, and how busy that was."""
    import torch

    where = "CPU" if given.device == "cpu" else torch.cuda.get_device_name(given.device)
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return (
        f"torch {torch.__version__}, Python {platform.python_version()}, on {where}; {os.cpu_count()} cores, "
        f"threads used: {torch.get_num_threads()}, clock: {given.clock}, load: {load}"
    )


def options(about: str | None) -> argparse.ArgumentParser:
    """The options that all benches share."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rounds, small sizes: does it still work?")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the rows there too")
    parser.add_argument("--device", default="cpu", help="where the tensors are (cpu, cuda)")
    parser.add_argument("--threads", type=int, metavar="N", help="of torch (as many as it takes by itself)")
    parser.add_argument(
        "--clock", choices=("wall", "cpu"), default="wall", help="cpu: on a busy machine, with --threads 1"
    )
    return parser


def write(rows: Iterable[Row], path: Path, place: str) -> None:
    """Keep rows as JSON."""
    path.write_text(json.dumps({"machine": place, "rows": [asdict(row) for row in rows]}, indent=1), encoding="utf-8")


def read(path: Path) -> tuple[str, list[Row]]:
    """What a file says: where it was, and the rows."""
    kept = json.loads(path.read_text(encoding="utf-8"))
    return kept["machine"], [Row(**each) for each in kept["rows"]]


def last(text: str) -> str:
    """The line of a traceback that says what it was, cut short."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(" ")]
    return (lines[-1] if lines else "nothing on stderr")[:160].replace("|", "/")


def main(about: str | None, measure: Callable[[argparse.Namespace], Iterable[Row]]) -> None:
    """Run one bench alone."""
    report(options(about).parse_args(), measure)


def report(given: argparse.Namespace, measure: Callable[[argparse.Namespace], Iterable[Row]]) -> None:
    """Measure and print; what was found so far is written after each row, so that it outlives the process."""
    from timing import pin

    pin(given.threads, given.clock)
    rows: list[Row] = []
    for row in measure(given):
        rows.append(row)
        if given.json is not None:
            write(rows, given.json, machine(given))
    print(f"{machine(given)}\n\n{table(rows)}")
