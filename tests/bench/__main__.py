"""What watching costs, as a table: all benches one after the other, each in a process of its own.

The method: interleaved, plain steps on both sides of each other one, warm-up, medians and quartiles of ratios within
one run, a row "A/A" that shows the noise, threads pinned, sizes named. The limit that our rows are held against: to
know every partial a tool must do nothing but hold a reference to it; for statistics it must read its bytes once; for
the weights before a step it must copy them once. See `floor.py`; the column "floor" says what that would take.

Run: `python -m tests.bench [--quick] [--json FILE] [--device cuda] [--only NAME] [--threads N] [--clock cpu]`.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import rows
from rows import Row

BENCHES = ("floor", "overhead", "growth", "stops", "recording", "startup", "screen", "peers")
FOR_CPU = ("stops", "recording", "startup", "screen")
LIMIT, FAILED = 3600, "the bench itself"


def run(name: str, given: list[str], folder: Path) -> tuple[str, list[Row]]:
    """Run one bench. Returns where it ran and its rows; where it failed, the last one says what happened."""
    path = folder / f"{name}.json"
    command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name(f"{name}.py")), *given, "--json", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
        why = f"exit code {done.returncode}: {rows.last(done.stderr)}" if done.returncode else ""
    except subprocess.TimeoutExpired:
        why = f"took more than {LIMIT} s"
    place, found = rows.read(path) if path.exists() else ("", [])
    return place, [*found, *([Row(name, "", FAILED, None, note=why)] if why else [])]


def main() -> int:
    """Run, print, write. Returns 1 where a bench failed."""
    parser = rows.options(__doc__)
    parser.add_argument("--only", metavar="NAME", choices=BENCHES, action="append", help=f"of {', '.join(BENCHES)}")
    given = parser.parse_args()
    passed = ["--device", given.device, "--clock", given.clock, *(["--quick"] if given.quick else [])]
    passed += ["--threads", str(given.threads)] if given.threads else []
    found: list[Row] = []
    places: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in given.only or [n for n in BENCHES if given.device == "cpu" or n not in FOR_CPU]:
            print(f"{name} ...", file=sys.stderr, flush=True)
            place, more = run(name, passed, Path(folder))
            places += [f"{name}: {place}"] if place else []
            found += more
    print("\n".join(places), rows.table(found), sep="\n\n")
    if given.json is not None:
        rows.write(found, given.json, "\n".join(places))
    return int(any(row.name == FAILED for row in found))


if __name__ == "__main__":
    sys.exit(main())
