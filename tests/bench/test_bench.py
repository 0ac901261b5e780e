"""The benches' own arithmetic: what a table says is what was measured."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parent))

import floor
import ours
import rows
import screen
import stops
import timing
import workloads
from rows import Row


def clock(monkeypatch, ticks):
    """Time passes as the test says."""
    monkeypatch.setattr(timing, "_clock", iter(ticks).__next__)


def test_a_ratio_is_one_step_over_the_mean_of_the_plain_ones_beside_it(monkeypatch):
    clock(monkeypatch, [0, 1, 10, 16, 20, 23])
    timed = {"mine": lambda: timing.seconds(lambda: None)}
    times = timing.interleave(lambda: timing.seconds(lambda: None), timed, rounds=1, warm=0)
    assert times.ratios == {"mine": [6 / ((1 + 3) / 2)]}
    assert times.plain == 1


def test_a_block_of_uses_is_compared_with_those_beside_it():
    assert stops.beside([0, 90, 91, 96, 99, 109, 114]) == [5 - (1 + 3) / 2, 10 - (3 + 5) / 2]
    assert stops.beside([0, 90]) == []


def test_the_first_rounds_do_not_count(monkeypatch):
    clock(monkeypatch, [0, 1, 1, 100, 100, 101, 0, 1, 1, 3, 3, 4])
    timed = {"mine": lambda: timing.seconds(lambda: None)}
    assert timing.interleave(timed["mine"], timed, rounds=1, warm=1).ratios == {"mine": [2.0]}


def test_a_row_has_the_median_and_the_quartiles():
    row = rows.of([1.0, 2.0, 3.0, 4.0, 100.0], Row("b", "w", "n", 0))
    assert (row.low, row.value, row.high) == (2.0, 3.0, 4.0)


def test_a_percentile_is_one_of_the_values():
    values = [float(n) for n in range(20, 0, -1)]
    assert [screen.percentile(values, share) for share in (0.5, 0.95, 1.0, 0.0)] == [10.0, 19.0, 20.0, 1.0]
    assert screen.percentile([7.0], 0.95) == 7.0


@pytest.mark.parametrize(
    ("value", "most", "verdict"),
    [(1.0, True, "met"), (2.0, True, "MISSED"), (1.0, False, "MISSED"), (2.0, False, "met")],
)
def test_a_goal_is_met_or_missed(value, most, verdict):
    assert Row("b", "w", "n", value, goal=1.5, most=most).verdict == f"1.500x {verdict}"


def test_a_row_without_a_value_says_why_and_meets_nothing():
    row = Row("peers", "w", "n", None, goal=1.0, note="not installed")
    assert row.verdict == "" and "| - " in rows.table([row]) and "not installed" in rows.table([row])


def test_json_keeps_every_row(tmp_path):
    found = [Row("b", "w", "n", 1.25, low=1.0, high=2.0, floor=1.0, goal=1.5, note="x"), Row("b", "w", "m", None)]
    rows.write(found, tmp_path / "rows.json", "here")
    assert rows.read(tmp_path / "rows.json") == ("here", found)


def test_what_was_found_before_a_failure_is_kept(tmp_path):
    given = rows.options("").parse_args(["--json", str(tmp_path / "rows.json")])

    def fails(given):
        yield Row("b", "w", "n", 1.0)
        raise KeyError("x")

    with pytest.raises(KeyError):
        rows.report(given, fails)
    assert rows.read(tmp_path / "rows.json")[1] == [Row("b", "w", "n", 1.0)]


def test_of_a_failure_the_line_that_says_what_it_was_is_told():
    assert rows.last('Traceback (most recent call last):\n  File "x.py"\nKeyError: 3\n    0: more\n') == "KeyError: 3"


@pytest.mark.parametrize("workload", workloads.ALL)
def test_a_watched_workload_trains_as_a_plain_one_does(workload):
    plain, watched = (workloads.ALL[workload]("cpu") for _ in range(2))
    plain.step()
    plain.step()
    timed = ours.configurations(watched)["ours: partials and weights"]
    assert timed() > 0  # one step that counts, and one before
    for mine, theirs in zip(watched.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_the_floor_counts_the_bytes_of_every_partial():
    loop = workloads.dynamic_net("cpu", 5, inputs=4, uses=3)
    partials, weights, count = floor.sizes(loop)
    middle = 3 * (5 * 5 + 5)
    assert (partials, count) == (4 * (4 * 5 + 5 + middle + 5 * 10 + 10), 10)
    assert weights == 4 * (4 * 5 + 5 + 5 * 5 + 5 + 5 * 10 + 10)


def test_hooks_that_clone_keep_what_hooks_that_keep_do():
    kept = []
    for clones in (False, True):
        timed, found = ours.bare_hooks(workloads.dynamic_net("cpu", 5, inputs=4), clones)
        timed()
        kept.append(found)
    assert len(kept[0]) == 10 and all(torch.equal(a, b) for a, b in zip(*kept, strict=True))
