"""Programs of several processes."""

import functools
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch


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
    kinds = {"FSDP (FullyShardedDataParallel)": "sharded once", "FSDP2 (fully_shard)": "sharded"}
    problems = {name: run(kind, 1)[0]["problems"][0].partition(":")[0] for name, kind in kinds.items()}
    refused = [f"| {name} | all | | | | | {problem} |" for name, problem in problems.items()]
    return [f"| {' | '.join(map(str, cells))} |", *refused, f"| Adam, capturable | all | | | | | {capturable()} |"]


def capturable() -> str:
    """Why there is no case of it: what torch says of it here."""
    p = torch.ones(1, requires_grad=True)
    p.sum().backward()
    try:
        torch.optim.Adam([p], capturable=True).step()
    except AssertionError as error:
        assert "must be on supported devices" in str(error)
        return "torch takes it on a GPU only, so it was not tried"
    return "torch takes it on a CPU now: it wants a case"
