"""The page of a script, and its JSON lines: one story, the same numbers."""

import json
import subprocess
import sys
from pathlib import Path

import msgspec
from test_page import data

from backpropdbg.figures import cosine_text, number_text
from backpropdbg.situation import Situation

ROOT = Path(__file__).parent.parent.parent
SCRIPT = "demos/time_travel.bpdb"


def test_the_page_says_what_jsonl_says(tmp_path):
    page = tmp_path / "page.html"
    command = [sys.executable, "-m", "backpropdbg", "replay", SCRIPT]
    writing = subprocess.Popen([*command, "--html", str(page)], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    done = subprocess.run([*command, "--format", "jsonl"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    _, told = writing.communicate(timeout=120)
    assert writing.returncode == done.returncode == 0, told
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    stops = [msgspec.convert(line["situation"], Situation) for line in lines if line["type"] == "stop"]
    shown = data(page.read_text(encoding="utf-8"))["stops"]
    # The page has one more for each command that drew a stop anew, after something was said of it.
    pairs = {(stop["name"], stop["iteration"], stop["when"]): stop for stop in shown}
    for stop in stops:
        when = f"past: event {stop.position} of {stop.newest}" if stop.past else ""
        made = pairs[stop.where, stop.iteration, when]
        assert made["phase"] == stop.phase and made["loss"] == number_text(stop.loss, digits=2)
        assert made["explanation"] == list(stop.explanation) and made["proof"] == stop.proof
        drawn = [row for row in made["ledger"]["rows"] + made["ledger"]["update"] if row["state"] == "value"]
        told_rows = [*stop.ledger, *(stop.update if stop.phase == "update" else ())]
        assert [(row["term"], row["norm"], row["cosine"]) for row in drawn] == [
            (row.term, number_text(row.norm), cosine_text(row)) for row in told_rows if row.state == "value"
        ]
    said = [text for stop in shown for kind, _, text in stop["remarks"] if kind == "say"]
    assert said == [line["text"] for line in lines if line["type"] == "say"] and len(said) > 3
