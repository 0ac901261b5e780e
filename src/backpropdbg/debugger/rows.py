"""The rows of a stop: the ledger of the focus, and the terms of its update."""

import math
from collections.abc import Sequence

from msgspec.structs import replace

from backpropdbg.debugger import followed
from backpropdbg.debugger.stop import Stop
from backpropdbg.debugger.words import edited_note, fused_note, norm, percent, shown, state_of, use_details
from backpropdbg.events import (
    Accumulated,
    BackwardUse,
    Followed,
    ForwardUse,
    GroupSummed,
    Held,
    PartialEdited,
    StepFinished,
    Use,
)
from backpropdbg.hurry import soon
from backpropdbg.ledger import Run, cancelled, pulls_cancelled
from backpropdbg.situation import SOON, Row, State

_NOISE = 0.005  # a share below this is not worth a word
_TERMS = [Row("term", "its terms", "", norm=SOON, cosine=SOON, element=SOON)]  # which ones is not known yet


def ledger_rows(stop: Stop) -> tuple[Row, ...]:
    """The sum of the focus, term by term."""
    run = stop.run
    if stop.followed is not None:
        return _of_followed(stop, stop.followed)
    if run is None:
        rows = [Row("carried", "carried in", "", "pending")]
        rows += [Row("partial", f"A{n}", detail, "pending") for n, detail in reversed(_forward_uses(stop))]
        left = "left by an earlier backward" if stop.left_over else ""
        last = _row(stop, "grad", ".grad", "", stop.grad, note=left)
        return (*rows, Row("running", "running sum", "", "pending"), last)
    rows = []
    for r in stop.ledger.runs:
        prefix = f"run {r.number}: " if len(stop.ledger.runs) > 1 else ""
        rows.append(_row(stop, "carried", prefix + "carried in", "", r.carried))
        rows += _partials(stop, r)
    absent: State = "none" if run.finished or not run.uses else "pending"
    if run.lost:
        rows.append(Row("running", "running sum", "", "not kept"))
    else:
        rows.append(_row(stop, "running", "running sum", "", stop.running, absent, _cancelled_in_all(stop, run)))
    if stop.ledger.changes:
        rows.append(_row(stop, "label", "changed", "", stop.ledger.changed, note="after the backward, before the step"))
    here = isinstance(stop.event, Accumulated) and stop.event.parameter == stop.focus
    return (
        *rows,
        _row(stop, "grad", ".grad", "", stop.grad, note=soon(lambda: _grad_note(stop, run), SOON), here=here),
    )


def _of_followed(stop: Stop, known: Followed) -> tuple[Row, ...]:
    """Of a tensor that is computed: nothing is carried in, and there is no `.grad`."""
    run, rows = stop.run, []
    for r in [r for r in stop.ledger.runs if r.uses]:
        prefix = f"run {r.number}: " if len(stop.ledger.runs) > 1 else ""
        rows += [replace(row, term=prefix + row.term) for row in _partials(stop, r)]
    here = isinstance(stop.event, GroupSummed) and stop.event.parameter == stop.focus
    if run is None:
        rows.append(Row("running", "running sum", "", "pending"))
    elif run.lost:
        rows.append(Row("running", "running sum", "", "not kept"))
    else:
        absent: State = "none" if run.finished or not run.uses else "pending"
        rows.append(
            _row(
                stop,
                "running",
                "running sum",
                "",
                stop.running,
                absent,
                soon(lambda: followed.sum_note(run), SOON),
                here,
            )
        )
    note = followed.grad_note(stop.focus, known, run)
    return (*rows, Row("grad", ".grad", "", "none", note=note))


def _cancelled_in_all(stop: Stop, run: Run) -> str:
    """How much of the pulls on the element the sum of the partials has lost; else, how much of their norms."""
    if stop.scope != "element":
        whole = [*run.partials, *([] if stop.running is None else [stop.running])]
        sizes = [stop.part(held).norm() if held.kept else None for held in whole]
        share = None if None in sizes else cancelled([size or 0.0 for size in sizes[:-1]], sizes[-1] or 0.0)
        return "" if share is None else f"{percent(share)} of all norms cancelled"
    values = [stop.value_at(p) for p in run.partials]
    known = [v for v in values if v is not None]
    lost = pulls_cancelled(known) if len(known) == len(values) else None
    if lost is None:
        return ""
    return f"{percent(lost)} of all pulls cancelled" if lost >= _NOISE else "the pulls add up"


def _grad_note(stop: Stop, run: Run) -> str:
    if not run.uses:
        return "zeros from zero_grad" if stop.cleared and stop.grad is not None else "no use reached the loss"
    if not run.accumulates:
        return "this run doesn't accumulate"
    if stop.ledger.changes:
        return "changed since the backward"
    if run.hooked and run.grad is not None and stop.exact(run) is None:
        return "a hook of the program's on this parameter changed it"
    if run.grad is None:
        return "AccumulateGrad has not run" if not run.finished else "AccumulateGrad did not run"
    return {True: "= running sum, bit for bit", False: "differs from the running sum", None: ""}[stop.exact(run)]


def _partials(stop: Stop, run: Run) -> list[Row]:
    rows, seen = [], set()
    pulls: list[float] = []
    details = use_details([(use.number, use.module, use.call) for use in run.uses])
    here_use = _here_use(stop, run)
    for use, partial in run.arrived:
        seen.add(use.number)
        value = stop.value_at(partial)
        original = run.originals.get(use.number)
        notes = [fused_note(use), edited_note(original), "" if value is None else _pull(stop, value, pulls)]
        note = "; ".join(filter(None, notes))
        name, detail = f"A{use.number}", details[use.number]
        row = _row(stop, "partial", name, detail, partial, "not computed", note, use == here_use)
        rows.append(replace(row, position=stop.positions.partials.get((run.number, use.number))))
        if original is not None:
            rows.append(_row(stop, "label", f"{name} was", "", original))
        pulls.append(value or 0.0)
    missing: State = "not computed" if run.finished else "pending"
    for use in reversed(run.uses):
        if use.number not in seen:
            rows.append(Row("partial", f"A{use.number}", details[use.number], missing, note=fused_note(use)))
    return rows


def _forward_uses(stop: Stop) -> list[tuple[int, str]]:
    """Number and detail of the uses that the forward had so far."""
    calls = [e for e in stop.of(ForwardUse) if stop.focus in e.parameters]
    uses = [(e.numbers[e.parameters.index(stop.focus)], e.module, e.call) for e in calls]
    return list(use_details(uses).items())


def _here_use(stop: Stop, run: Run) -> Use | None:
    """The use that this stop is about, where it is one of this run."""
    event = stop.event
    if isinstance(event, (BackwardUse, PartialEdited)) and event.run == run.number:
        return event.use
    return None


def _pull(stop: Stop, value: float, before: Sequence[float]) -> str:
    """Where this term alone would move the element; where it is against those before, how much is cancelled then."""
    if stop.scope != "element":
        return "against the sum" if value < 0 else ""
    if value == 0:
        return "no pull"
    if math.isnan(value):
        return ""
    against = pulls_cancelled([*before, value]) if value * sum(before) < 0 else None
    up = (value < 0) != stop.maximized
    pull = "pulls it up" if up else "pulls it down"
    return f"{pull}, {percent(against)} cancelled" if against is not None and against >= _NOISE else pull


def _row(
    stop: Stop,
    kind: str,
    term: str,
    detail: str,
    held: Held | None,
    absent: State = "none",
    note: str = "",
    here: bool = False,
) -> Row:
    state = state_of(held, absent)
    if held is None:
        return Row(kind, term, detail, state, note=note, here=here)
    if not held.kept:
        return Row(kind, term, detail, state, norm(held), note=note, here=here)
    return Row(
        kind,
        term,
        detail,
        state,
        norm(stop.part(held)),
        shown(lambda: stop.cosine(held)),
        shown(lambda: stop.value_at(held)),
        note,
        here,
    )


def update_rows(stop: Stop) -> tuple[Row, ...]:
    """The terms of the update, their sum and the weights, in the update phase."""
    if stop.started is None or stop.focus not in stop.started.grads:
        return ()
    if stop.stepped is None:
        return (_row(stop, "term", "before", "", stop.before, here=True), Row("term", "after", "", "pending"))
    rows = [_row(stop, "term", "before", "", stop.before)]
    rows += soon(lambda: [_row(stop, "term", name, "", held, note=note) for name, held, note in stop.terms], _TERMS)
    here = isinstance(stop.event, StepFinished)
    absent: State = "none" if stop.before is None or stop.after is None else "not kept"
    rows.append(_row(stop, "term", "difference", "", stop.delta, absent, moved_note(stop), here))
    return (*rows, _row(stop, "term", "after", "", stop.after))


def moved_note(stop: Stop) -> str:
    """Whether the weight moved, by its bits."""
    words = {None: "", True: "did not move, bit for bit", False: "after - before"}
    return soon(lambda: words[stop.unmoved], SOON)
