"""What is said of other tools was found out by running them, against plain torch."""

import argparse
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

sys.path.append(str(Path(__file__).parent))

import peers
from rows import Row

sys.path.append(str(Path(__file__).with_name("tools")))

from answers import USES, Answers, judge, truth

GIVEN = argparse.Namespace(quick=True, device="cpu", clock="cpu", threads=1, tool=None)


def by_number(partials):
    return {USES - n: partial for n, partial in enumerate(partials)}


def test_a_right_answer_is_right_bit_for_bit():
    true = truth()
    said = Answers(by_number(true.partials), running=true.running, grad=true.grad, before=true.before, after=true.after)
    assert judge(said, true) == (
        "partial of each use: bit for bit, running sum: bit for bit, .grad: bit for bit, "
        "weight before: bit for bit, after: bit for bit"
    )


def test_a_wrong_one_is_not():
    true = truth()
    swapped = Answers(by_number(reversed(true.partials)), grad=true.partials[0], before=true.after, after=true.before)
    words = judge(swapped, true)
    assert "each use: WRONG" in words and ".grad: WRONG" in words
    assert "before: bit for bit" not in words and "after: bit for bit" not in words


def test_an_ulp_off_is_nearly_and_a_use_too_few_is_no():
    true = truth()
    off = [torch.nextafter(p, torch.full_like(p, 9.0)) for p in true.partials]
    assert "each use: nearly" in judge(Answers(by_number(off)), true)
    assert "each use: no," in judge(Answers({1: true.partials[-1]}), true)
    assert "running sum: WRONG: 1 in place of 3" in judge(Answers(running=true.running[:1]), true)


def test_unnamed_tensors_are_told_as_such():
    true = truth()
    words = judge(Answers(recorded=[torch.ones(2), *[p.t() for p in true.partials[:2]]]), true)
    assert "2 of 3 are among 3 tensors, unnamed" in words


@pytest.mark.parametrize("tool", ["ours: record()", "hand-written: hooks on nodes"])
def test_these_name_each_partial(tool):
    (row,) = peers.ask(tool, "cpu")
    assert row.note.startswith("partial of each use: bit for bit,")
    assert (tool != "ours: record()") or row.note.count("bit for bit") == 5


def test_a_hook_on_the_weight_sees_the_sum_alone():
    (row,) = peers.ask("hand-written: hook on the weight", "cpu")
    assert "each use: no" in row.note and ".grad: bit for bit" in row.note


def test_a_missing_peer_is_a_row(monkeypatch):
    monkeypatch.setattr(peers, "TOOLS", {"a tool": ("none", "no_such_package")})
    (row,) = peers.measure(GIVEN)
    assert (row.value, row.note) == (None, "not installed: no_such_package")


def test_a_hang_is_a_row(monkeypatch, tmp_path):
    def hang(command, timeout, **more):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(peers.subprocess, "run", hang)
    (row,) = peers.run([("TorchLens", "a net")], GIVEN, tmp_path / "rows.json")
    assert (row.value, row.note) == (None, f"no end after {peers.QUICK} s")


def test_a_crash_is_a_row(monkeypatch, tmp_path):
    done = SimpleNamespace(returncode=1, stderr='Traceback:\n  File "x.py"\nKeyError: 3\n')
    monkeypatch.setattr(peers.subprocess, "run", lambda *a, **k: done)
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([asdict(Row("peers", "1", "a", 2.0))]))
    first, second, third = peers.run([("a", "1"), ("a", "2"), ("b", "1")], GIVEN, path)
    assert (first.name, first.value) == ("a", 2.0), "what was measured before is not lost"
    assert (second.workload, second.value, second.note) == ("2", None, "exit code 1: KeyError: 3")
    assert (third.name, third.value, third.note) == ("b", None, "not reached")


def test_a_full_run_has_a_process_for_each_piece_and_a_quick_one_does_the_same_tools():
    full, quick = peers.works(peers.TOOLS, False), peers.works(peers.TOOLS, True)
    assert all(len(work) == 1 for work in full)
    assert {tool for work in full for tool, _ in work} == {tool for work in quick for tool, _ in work} == {*peers.TOOLS}
