"""Every way in which a parameter can be used, told truly, or told that it can't be: the table in TABLE.md."""

import fnmatch
import os
from pathlib import Path

import oracle
import pytest
import torch
from cases import followed, frameworks, grads, hidden, processes, reuse, runs, unsplit, weights  # noqa: F401 - each enters its cases
from cases.case import CASES, ROOMS, Case
from cases.examine import examine, same, sum_of

TABLE = Path(__file__).with_name("TABLE.md")
_HEAD = """# Every way a parameter can be used

Written by `tests/cases/test_table.py`, which holds each row against plain torch (`BACKPROPDBG_WRITE_TABLE=1` writes it
anew). *Edges* are those into the leaf, walked there from the roots of each backward; *expected* was counted by hand;
*found* is what backpropdbg says. *Sum*: exact, where carried in plus the partials is `.grad` bit for bit; else what
it says changed `.grad`.
"""


def by_name(cases=CASES):
    reason = "not installed here: pip install '.[frameworks]'"
    return [
        pytest.param(case, id=f"{case.room} {case.name}", marks=pytest.mark.skipif(not case.runs_here, reason=reason))
        for case in cases
    ]


@pytest.mark.parametrize("case", by_name())
def test_uses(case):
    """As many as there are edges, walked here, and as were counted by hand."""
    seen = examine(case)
    for name, expected in case.uses.items():
        plain = seen.plain.of_iteration(case.iteration, name)
        assert sum(run.edges[name] for run in plain) == case.edges_of(name), name
        ledger = seen.ledger(case.iteration, name)
        assert len(ledger.uses) == expected, (name, ledger.uses)
        mine = sorted(ledger.runs, key=lambda run: run.number)
        assert [run.number for run in mine] == [run.number for run in plain]
        assert len(mine) == case.runs
        assert {use.inside if use.fused else 0 for use in ledger.uses} <= {case.inside}
        for run in mine:
            assert [use.place for use in run.uses] == list(range(1, len(run.uses) + 1))


@pytest.mark.parametrize("case", by_name([case for case in CASES if case.copies]))
def test_partials(case):
    """Each is what reaches a copy of the parameter that this one use has for itself."""
    seen = examine(case)
    for name in case.uses:
        ledger = seen.ledger(case.iteration, name)
        of_copies = {run.number: run for run in seen.copies.of_iteration(case.iteration, name)}
        for run in ledger.runs:
            numbered = sorted(zip(run.arrivals, run.partials, strict=True), key=lambda pair: pair[0])
            mine, theirs = [partial for _, partial in numbered], of_copies[run.number].copies(name)
            assert len(mine) == len(theirs), (name, run.number)
            for a, b in zip(mine, theirs, strict=True):
                if case.rounding:
                    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
                else:
                    assert same(a, b), (name, run.number, a, b)


@pytest.mark.parametrize("case", by_name())
def test_sum(case):
    """`.grad` is what plain torch left there; the running sum is it bit for bit, or a label says why not."""
    seen = examine(case)
    for name in case.uses:
        ledger = seen.ledger(case.iteration, name)
        plain = {run.number: run for run in seen.plain.of_iteration(case.iteration, name)}
        for run in ledger.runs:
            assert run.accumulates == plain[run.number].accumulates
            if run.accumulates and run.grad_after is not None:
                assert same(run.carried, plain[run.number].before[name])
                assert same(run.grad_after, plain[run.number].after[name])
                assert run.exact is None or run.exact == same(run.running, run.grad_after)
        read = seen.plain.read.get(case.iteration, {})
        if name in read:
            assert same(ledger.grad, read[name])
        assert ledger.exact is not False
        assert len(ledger.labels) == len(case.labels), ledger.labels
        for label, glob in zip(ledger.labels, case.labels, strict=True):
            assert fnmatch.fnmatchcase(label, glob), label
        assert ledger.exact is (True if not case.labels and ledger.runs else None)


@pytest.mark.parametrize("case", by_name([case for case in CASES if case.copies and case.in_order]))
def test_the_sum_of_the_copies_is_the_gradient(case):
    """In plain torch: the theorem that the ledger rests on."""
    seen = examine(case)
    for name in case.uses:
        of_copies = {run.number: run for run in seen.copies.of_iteration(case.iteration, name)}
        for run in seen.plain.of_iteration(case.iteration, name):
            if run.accumulates and run.after[name] is not None:
                partials = of_copies[run.number].copies(name)
                if any(partial.is_sparse for partial in partials):
                    partials = [partial.to_dense() for partial in partials]
                    total = oracle.arrival_sum(partials, run.before[name])
                    torch.testing.assert_close(total, run.after[name].to_dense())
                else:
                    assert same(oracle.arrival_sum(partials, run.before[name]), run.after[name])


@pytest.mark.parametrize("case", by_name())
def test_update(case):
    """The weights before and after the step are what they were."""
    seen = examine(case)
    for name in case.uses:
        stepped = seen.plain.stepped.get((case.iteration, name))
        if stepped is not None:
            update = seen.recording.iteration(case.iteration).update(name)
            assert same(update.before, stepped[0]) and same(update.after, stepped[1])
            if update.terms:
                total = sum(update.terms.values())
                torch.testing.assert_close(total, stepped[1].double() - stepped[0].double(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("case", by_name())
def test_the_program_stays_itself(case):
    """The weights at the end, bit for bit."""
    seen = examine(case)
    for final in (seen.recorded, seen.debugged):
        assert final.keys() == seen.plain.final.keys()
        for name, weight in final.items():
            assert same(weight, seen.plain.final[name]), name


@pytest.mark.parametrize("case", by_name())
def test_what_is_said(case):
    """These findings and no others; these words, and none that are untrue."""
    said = examine(case).said
    for name in case.uses:
        print(said.texts[name])
        assert said.slugs.get(name, set()) == set(case.findings)
    everything = "\n".join(said.texts[name] for name in case.uses)
    assert [words for words in case.says if words not in everything] == []
    assert [words for words in case.never if words in everything] == []


def rows(case: Case) -> list[str]:
    """Of the table, one a parameter; as they stand there, where its package is not installed."""
    if not case.runs_here:
        return [row for row in TABLE.read_text(encoding="utf-8").splitlines() if row.startswith(f"| {case.name} |")]
    seen, found = examine(case), []
    for name, expected in case.uses.items():
        ledger = seen.ledger(case.iteration, name)
        edges = sum(run.edges[name] for run in seen.plain.of_iteration(case.iteration, name))
        inside = f" with {case.inside} inside of each" if case.inside else ""
        said = "; ".join([*case.findings, *case.says]).replace("|", "/")
        cells = [case.name, f"`{name}`", edges, f"{expected}{inside}", len(ledger.uses), sum_of(case, ledger), said]
        found.append(f"| {' | '.join(map(str, cells))} |")
    return found


def test_table():
    """TABLE.md says what is so."""
    lines, spread = [_HEAD], processes.rows()
    for room, title in ROOMS.items():
        mine = [row for case in CASES if case.room == room for row in rows(case)]
        mine += {2: followed.rows(), 4: spread[:1], 5: spread[-1:], 6: spread[1:-1]}.get(room, [])
        if mine:
            lines += [f"## {room}. {title}", "", "| case | parameter | edges | expected | found | sum | said |"]
            lines += ["|---|---|---|---|---|---|---|", *mine, ""]
    text = "\n".join(lines).rstrip() + "\n"
    print(text)
    if os.environ.get("BACKPROPDBG_WRITE_TABLE"):
        TABLE.write_text(text, encoding="utf-8")
    assert text == TABLE.read_text(encoding="utf-8")
