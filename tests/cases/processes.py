"""Programs of several processes."""

import functools
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


@functools.cache
def run(kind: str, ranks: int) -> list[Any]:
    """What each process saw."""
    with tempfile.TemporaryDirectory() as place:
        script = str(Path(__file__).with_name("rank.py"))
        started = [
            subprocess.Popen(
                [sys.executable, script, kind, str(rank), f"{place}/meeting"], stdout=subprocess.PIPE, text=True
            )
            for rank in range(ranks)
        ]
        try:
            printed = [process.communicate(timeout=120)[0] for process in started]
        finally:
            for process in started:
                process.kill()
    assert [process.returncode for process in started] == [0] * ranks
    return [json.loads(text) for text in printed]


def rows() -> list[str]:
    """Of the table: room 4, then room 6."""
    seen = run("averaged", 2)[0]
    name, label = "DistributedDataParallel, two processes", ", ".join(seen["labels"])
    cells = [name, "`module.0.weight`", seen["edges"], 2, seen["uses"], label, f".grad was {label}"]
    problem = run("sharded", 1)[0]["problems"][0].partition(":")[0]
    return [f"| {' | '.join(map(str, cells))} |", f"| FSDP | all | | | | | {problem} |"]
