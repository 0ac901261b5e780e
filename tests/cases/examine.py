"""A case, held against plain torch: what the record, the report and the debugger say of it."""

import functools
import json
import re
from typing import Any, NamedTuple

import msgspec
import oracle
import torch
from cases.case import Case
from cases.plain import Plain, run_plain
from driving import debugged
from torch import Tensor

import backpropdbg
from backpropdbg.api.recorded import Ledger
from backpropdbg.probe import frames
from backpropdbg.probe.hooks import Policy, Probe
from backpropdbg.probe.known import last_look, optimized, shapes
from backpropdbg.report.collect import Collector
from backpropdbg.report.read import Report

for _module in ("examine", "plain", "test_table"):
    frames._files[__file__.replace("examine", _module)] = None  # no frames of the program under test


_ENDS = ("StepFinished", "BackwardFinished", "ManualUpdate")


class Said(NamedTuple):
    """All the words about the parameters of a case: findings by parameter, and texts."""

    slugs: dict[str, set[str]]
    texts: dict[str, str]


class Examined(NamedTuple):
    """What each run of a case gave."""

    plain: Plain
    copies: Plain | None
    recording: Any
    recorded: dict[str, Tensor]
    said: Said
    debugged: dict[str, Tensor]

    def ledger(self, iteration: int, name: str) -> Any:
        """Of a parameter; an empty one where nothing was recorded."""
        if not self.recording.iterations:
            return Ledger(name, (name,), ())
        return self.recording.iteration(iteration).ledger(name)


class Mine:
    """The look of a watched run: only keeps the tensors, for the weights at the end."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}

    def look(self) -> Any:
        def look(model: Any = None, /, **tensors: Tensor) -> None:
            self.tensors |= dict(model.named_parameters()) if model is not None else {}
            self.tensors |= tensors

        return look

    def weights(self) -> dict[str, Tensor]:
        return {name: p.detach().clone() for name, p in self.tensors.items()}


@functools.cache
def examine(case: Case) -> Examined:
    """Run it: plain, with copies, under `record()`, under a report, in a debugger."""
    plain = run_plain(case.program)
    copies = run_plain(case.untied or case.program, copies=True) if case.copies else None
    recording, recorded = _record(case)
    slugs, texts = _report(case)
    said, final = _debug(case)
    for name, text in said.items():
        texts[name] = f"{texts.get(name, '')}\n{text}"
    return Examined(plain, copies, recording, recorded, Said(slugs, texts), final)


def _record(case: Case) -> tuple[Any, dict[str, Tensor]]:
    _mine = Mine()
    torch.manual_seed(0)
    with backpropdbg.record() as recording:
        case.program(_mine.look())
    assert recording.problems == (), recording.problems
    return recording, _mine.weights()


def _report(case: Case) -> tuple[dict[str, set[str]], dict[str, str]]:
    _report, _mine = Report(), Mine()
    probe = Probe(lambda event: collector(event), Policy())
    collector = Collector(
        probe.names,
        99,
        lambda batch: _report.add(json.loads(msgspec.json.encode(batch))),
        optimized=lambda: optimized(probe),
        shapes=lambda: shapes(probe),
    )
    torch.manual_seed(0)
    probe.install()
    try:
        case.program(_mine.look())
        compared = last_look(probe)
    finally:
        probe.remove()
    collector.finish(compared)
    assert _report.notes == [], _report.notes
    slugs: dict[str, set[str]] = {}
    texts: dict[str, str] = {}
    for line in [line for line in _report.lines if line.row.iteration == case.iteration]:
        for name in line.row.names:
            mine = [*line.row.labels, " = ".join(line.row.names), *(found.text for found in line.found)]
            slugs.setdefault(name, set()).update(line.row.findings)
            texts[name] = "\n".join([texts.get(name, ""), *mine])
    return slugs, texts


def _debug(case: Case) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Each parameter has a debugger of its own: of what concerns the focus, more is said."""
    texts = {}
    for focus in case.uses:
        _mine, _said = Mine(), list[str]()

        def at_stop(situation: Any, debugger: Any, _said: list[str] = _said, focus: str = focus) -> str:
            assert "internal error" not in " ".join(situation.explanation), situation.explanation
            if situation.iteration == case.iteration:
                _said += situation.explanation
                _said += [f"{row.term}: {row.note}" for row in (*situation.ledger, *situation.update) if row.note]
            if situation.iteration == case.iteration and situation.event in _ENDS:
                why = debugger.execute(f"why {focus}").text
                _said += [why] * (f"iteration {case.iteration - 1}:" not in why)
            return "next" if case.needs else "step"  # a framework's model has many parameters

        torch.manual_seed(0)
        with debugged(at_stop, focus=focus):
            case.program(_mine.look())
        texts[focus] = "\n".join(dict.fromkeys(_said))
    return texts, _mine.weights()


def same(a: Tensor | None, b: Tensor | None) -> bool:
    """Equal bit for bit, sparse ones too; None is itself only."""
    if a is None or b is None:
        return a is b
    if a.is_sparse or b.is_sparse:
        return a.is_sparse == b.is_sparse and oracle.bits(a.to_dense(), b.to_dense())
    return oracle.bits(a, b)


def sum_of(case: Case, ledger: Any) -> str:
    """What the sum is called in the table."""
    if case.inside:
        return "can't be split"
    if not ledger.runs:
        return "no run"
    if ledger.labels:
        return ", ".join(_numberless(label) for label in ledger.labels)
    return {True: "exact", False: "WRONG", None: "unknown"}[ledger.exact]


def _numberless(label: str) -> str:
    return re.sub(r"scaled by .*", "scaled", label)
