"""What a ledger and an update of a recording have to say, line by line."""

from collections.abc import Iterable, Sequence

from backpropdbg import ledger
from backpropdbg.held import Held
from backpropdbg.situation import Row, State, number


def ledger_rows(runs: Sequence[ledger.Run], grad: Held | None, exact: bool | None, labels: Sequence[str]) -> list[Row]:
    """Return the sum of one parameter, term by term: of each run of the engine that reached it, and `.grad` at last."""
    final = _running(runs[-1]) if runs else None
    rows = []
    for run in runs:
        where = f"backward {run.number}" if len(runs) > 1 else ""
        rows.append(_row("carried", "carried in", where, run.carried, final))
        for use, partial in run.arrived:
            call = f"{use.module}#{use.call}" if use.call else f"use #{use.number}"
            rows.append(_row("partial", f"A{use.number}", call, partial, final, absent="not computed"))
        rows.append(_running_row(run, where, final))
    note = "= running sum, bit for bit" if exact else ", ".join(labels)
    if exact is False:
        note = "is not the running sum, and nothing says why"
    rows.append(_row("grad", ".grad", "", grad, final, note=note))
    return rows


def _running(run: ledger.Run) -> Held | None:
    return None if run.lost else run.running()


def _running_row(run: ledger.Run, where: str, final: Held | None) -> Row:
    absent: State = "not kept" if run.lost else "none"
    return _row("running", "running sum", where, _running(run), final, absent)


def update_rows(
    before: Held | None, after: Held | None, terms: Iterable[tuple[str, Held, str]], skipped: str
) -> list[Row]:
    """Return what moved a weight: before, the terms of the step, the difference, after."""
    rows = [_row("term", "before", "", before, None)]
    rows += [_row("term", name, "", held, None, note=note) for name, held, note in terms]
    both = before is not None and after is not None and before.kept and after.kept
    if both:
        assert before is not None and after is not None
        note = "did not move, bit for bit" if before.same_bits(after) else "after - before"
        rows.append(_row("running", "difference", "", after.minus(before), None, note=note))
    else:
        absent: State = "none" if before is None or after is None else "not kept"
        rows.append(_row("running", "difference", "", None, None, absent))
    rows.append(_row("term", "after", "", after, None, note=f"skipped: {skipped}" if skipped else ""))
    return rows


def _row(
    kind: str,
    term: str,
    detail: str,
    held: Held | None,
    reference: Held | None,
    absent: State = "none",
    note: str = "",
) -> Row:
    """A line about one tensor, or about its absence."""
    if held is None:
        return Row(kind, term, detail, absent, note=note)
    size = held.norm()
    norm = None if size is None else number(size)
    if not held.kept:
        return Row(kind, term, detail, "not kept", norm, note=note)
    cosine = held.cosine(reference) if reference is not None and reference.kept else None
    return Row(kind, term, detail, "value", norm, None if cosine is None else number(cosine), note=note)
