"""`why`: the last update of one parameter in plain words, or why there was none."""

import math
from collections.abc import Sequence
from functools import reduce

from backpropdbg.debugger import followed, tables
from backpropdbg.debugger.core import Debugger
from backpropdbg.debugger.explain import SEVERAL, changers, gradient_read
from backpropdbg.debugger.explain import why as last_update
from backpropdbg.debugger.rows import update_rows
from backpropdbg.debugger.stop import Stop
from backpropdbg.debugger.words import fused_note, percent
from backpropdbg.errors import CommandError
from backpropdbg.events import (
    Accumulated,
    BackwardStarted,
    ForwardUse,
    GradCleared,
    Held,
    IterationStarted,
    ManualUpdate,
    StepFinished,
    StepStarted,
    Use,
)
from backpropdbg.ledger import Run, cancelled, pulls_cancelled
from backpropdbg.situation import element_name

_MOST = 6
# The factor that brings `left` closest to `now`; and whether it is the factor of every element, up to rounding.
_FACTOR = "((now.double() * left.double()).sum() / left.double().square().sum()).item()"
_EVERYWHERE = "((now.double() - factor * left.double()).abs() <= 4 * torch.finfo(now.dtype).eps * now.abs()).all()"


def why(d: Debugger, name: str, element: tuple[int, ...]) -> str:
    """Return the lines; element: the selected one, where `name` is the focus."""
    stop = Stop(d.trace, _newest_step(d, name), name, element)
    at = element_name(name, stop.element)
    known = d.look(d.stop.position, name).followed
    if known is not None:
        return followed.why(name, known)
    title = [d.names.title(name)] * (d.names.title(name) != name)
    when = [f"iteration {stop.event.iteration}:"] * (stop.event.iteration != d.stop.event.iteration)
    rows = update_rows(stop) if stop.stepped is not None and stop.before is not None else ()
    table = [tables.table(rows, at)] if rows else []
    if isinstance(stop.event, ManualUpdate):
        return "\n".join([*title, *when, _by_hand(d, stop)])
    several = [SEVERAL] * stop.several
    return "\n".join([*title, *when, *last_update(stop), *_more(d, stop, at), *_others(stop), *several, *table])


def _newest_step(d: Debugger, name: str) -> int:
    """Where the newest step of an optimizer that has the parameter ended, or it was moved by hand; else the newest
    step, else here.
    """
    now, ended, newest = d.stop.position, None, None
    for position in range(now, d.trace.first - 1, -1):
        match d.trace[position]:
            case ManualUpdate(parameters=moved) if name in moved and ended is None:
                return position
            case StepFinished():
                ended = position
                newest = position if newest is None else newest
            case StepStarted(grads=grads) if name in grads and ended is not None:
                return ended
    return now if newest is None else newest


def _more(d: Debugger, stop: Stop, at: str) -> list[str]:
    found = [*_also_by_hand(stop), *_earlier_backwards(stop)]
    if stop.started is None and not d.program.optimizer():
        return [*found, "No optimizer has been made or used yet."]
    if stop.stepped is None or stop.before is None or stop.after is None:
        return found
    if gradient_read(stop) is None:
        return [*found, _no_gradient(stop)]
    found += [*_pulls(stop, at), *_changed(d, stop)]
    if not (stop.before.kept and stop.after.kept):
        return found
    if stop.unmoved:
        return [*found, _no_move(stop)]
    return [*found, *_size(stop)]


def _also_by_hand(stop: Stop) -> list[str]:
    """What moved it without an optimizer in this iteration, and whether that lies between two of its backwards."""
    weight: Held | None = None
    moves: list[str] = []
    backwards = between = 0
    for e in stop.events:
        match e:
            case ManualUpdate() if stop.focus in e.parameters:
                now, size = e.weights.get(stop.focus), ""
                if weight is not None and now is not None and weight.kept and now.kept:
                    size = f" by {_number(now.minus(weight).norm())}"
                moves.append(f"{size} after backward {backwards}" if backwards else f"{size} before any backward")
                weight, between = now, backwards or -1
            case BackwardStarted():
                if between > 0 and any(use.parameter == stop.focus for use in e.uses):
                    moves.append("")
                weight, backwards = e.weights.get(stop.focus, weight), backwards + 1
            case IterationStarted():
                weight = e.weights.get(stop.focus, weight)
    told = [move for move in moves if move]
    if not told:
        return []
    lines = [f"{stop.focus} was also moved without an optimizer in this iteration:{','.join(told)}."]
    if "" in moves:
        lines.append("So its backwards did not all look at the same weights (as SAM wants it).")
    return lines


def _earlier_backwards(stop: Stop) -> list[str]:
    """The backwards of this iteration whose gradient was cleared before the next one."""
    left, gone = "", []
    for e in stop.events:
        match e:
            case Accumulated() if e.parameter == stop.focus:
                left = str(e.run)
            case GradCleared() if stop.focus in e.grads and left:
                gone.append(left)
                left = ""
            case StepStarted() if stop.focus in e.grads and not e.closure:
                left = ""
    if not gone or not any(run.grad is not None for run in stop.ledger.runs):
        return []
    which = f"backward {gone[0]}" if len(gone) == 1 else f"backwards {', '.join(gone)}"
    return [f"The gradient of {which} was cleared before the next one: it is not in what the step read."]


def _others(stop: Stop) -> list[str]:
    """What the steps of this iteration that came before the newest one did to the parameter."""
    found: list[str] = []
    begun = None
    for e in stop.events:
        match e:
            case StepStarted() if e is stop.started:
                return found
            case StepStarted(grads=grads) if stop.focus in grads:
                begun = e
            case StepFinished(after=weights) if begun is not None and stop.focus in e.stepped:
                before, after, by = begun.before.get(stop.focus), weights.get(stop.focus), begun.optimizer
                begun = None
                if before is None or after is None or not (before.kept and after.kept):
                    found.append(f"Before that, {by} stepped, too; how far is not kept.")
                elif before.same_bits(after):
                    found.append(f"Before that, {by} stepped, too, and did not move it, bit for bit.")
                else:
                    found.append(f"Before that, {by} moved it by {_number(after.minus(before).norm())}.")
    return found


def _by_hand(d: Debugger, stop: Stop) -> str:
    before = Stop(d.trace, stop.position - 1, stop.focus, ()).weight if stop.position > d.trace.first else None
    now, size = stop.weight, ""
    if before is not None and now is not None and before.kept and now.kept:
        size = _number(now.minus(before).norm())
    if isinstance(stop.event, ManualUpdate) and stop.event.replaced:
        away = f" {size} away from it" if size else ""
        return f"A new tensor{away} took the place of {stop.focus}, without an optimizer."
    by = f" by {size}" if size else ""
    return f"{stop.focus} was moved{by} without an optimizer."


def _pulls(stop: Stop, at: str) -> list[str]:
    """Which uses pulled which way, on the element and over the whole tensor."""
    runs = [run for run in stop.ledger.runs if run.accumulates and run.partials]
    if not runs:
        return []
    lines = [f"{note}." for note in {fused_note(use): None for run in runs for use in run.uses} if note]
    arrived = [(_name(run, use, runs), held) for run in runs for use, held in run.arrived if held is not None]
    values = [(name, value) for name, held in arrived if (value := stop.value_at(held)) is not None]
    if values and len(values) == len(arrived):
        pulls = [f"{name} {tables.shown(value, True)} {_way(stop, value)}" for name, value in _strongest(values)]
        lines.append(f"{at}: {', '.join(pulls)}{_left_out(values)}{_lost([v for _, v in values])}.")
    lines += _whole(runs, arrived)
    size = runs[0].carried.norm() if runs[0].carried is not None else 0.0
    if size != 0:
        carried = stop.value_at(runs[0].carried)
        there = "" if carried is None else f", {at} {tables.shown(carried, True)}"
        first = "this backward" if len(runs) == 1 else "the first of these backwards"
        lines.append(f"Carried in from before {first}: norm {_number(size)}{there}.")
    return lines


def _name(run: Run, use: Use, runs: Sequence[Run]) -> str:
    """Its number; with that of the backward where its node fires in several."""
    again = any(other.number == use.number for each in runs if each is not run for other in each.uses)
    return f"backward {run.number} A{use.number}" if again else f"A{use.number}"


def _way(stop: Stop, value: float) -> str:
    if value == 0 or math.isnan(value):
        return "no pull" if value == 0 else "no number"
    return "up" if (value < 0) != stop.maximized else "down"


def _strongest(values: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """All where they are few, else the largest, in the order of arrival."""
    if len(values) <= _MOST:
        return values
    least = sorted((abs(v) for _, v in values), reverse=True)[_MOST - 1]
    return [pair for pair in values if abs(pair[1]) >= least][:_MOST]


def _left_out(values: list[tuple[str, float]]) -> str:
    return f" and {len(values) - _MOST} weaker" if len(values) > _MOST else ""


def _lost(values: list[float]) -> str:
    lost = pulls_cancelled(values)
    return "" if lost is None else f"; {percent(lost)} cancelled"


def _whole(runs: Sequence[Run], arrived: Sequence[tuple[str, Held]]) -> list[str]:
    """The norms of the partials, and how much of them their sum has lost."""
    known = [(name, size) for name, held in arrived if (size := held.norm()) is not None]
    totals = [total for run in runs if (total := run.total()) is not None]
    if len(known) < 2 or len(known) < len(arrived) or len(totals) < len(runs):
        return []
    total = reduce(lambda a, b: a.plus(b), totals)
    size = total.norm() or 0.0
    share = cancelled([one for _, one in known], size)
    norms = ", ".join(f"{name} {_number(norm)}" for name, norm in _strongest(known))
    lost = "" if share is None else f": {percent(share)} cancelled"
    return [f"Whole tensor, by norm: {norms}{_left_out(known)}; their sum {_number(size)}{lost}."]


def _number(size: float | None) -> str:
    return "unknown" if size is None else tables.shown(size)


def _changed(d: Debugger, stop: Stop) -> list[str]:
    """What something did to `.grad` between the backward and the step."""
    written = stop.ledger.written
    now, left = stop.ledger.changed, written.grad if written is not None else None
    if not stop.ledger.changes or now is None or left is None:
        return []
    sizes = f"norm {_number(left.norm())} -> {_number(now.norm())}"
    how = changers(stop)
    if how.startswith("averaged"):
        return [f".grad was {how} after the backward ({sizes})."]
    factor = _one_factor(d, left, now)
    if factor is None:
        return [f".grad was changed after the backward: averaged or scaled, not by one factor ({sizes})."]
    what = "clipped or scaled" if 0 < factor < 1 else "scaled"
    return [f".grad was {what} after the backward: every element times {factor:.4g} ({sizes})."]


def _one_factor(d: Debugger, left: Held, now: Held) -> float | None:
    """The factor between two tensors, where it is the same for every element."""
    if not (left.kept and now.kept):
        return None
    try:
        factor = d.program.evaluate(_FACTOR, {"left": left, "now": now})
        names = {"left": left, "now": now, "factor": factor}
        holds = d.program.truth(d.program.evaluate(_EVERYWHERE, names), "one factor")
    except CommandError:  # another shape, a sparse or complex gradient
        return None
    return factor if holds and isinstance(factor, float) and math.isfinite(factor) else None


def _size(stop: Stop) -> list[str]:
    """How large the update is beside the weight."""
    moved, weight = stop.delta.norm() if stop.delta is not None else None, stop.before.norm() if stop.before else None
    if not moved or not weight or not math.isfinite(moved / weight):
        return []
    return [f"The update is {100 * moved / weight:.3g} % of the weight, by norm ({moved:.3g} / {weight:.3g})."]


def _no_move(stop: Stop) -> str:
    """Why a step with a gradient moved nothing."""
    terms = [(name, held.norm() or 0.0) for name, held, _ in stop.terms if name != "rounding"]
    weight = stop.before.norm() if stop.before is not None else None
    if not terms:
        return "The terms of this optimizer are not known."
    if not all(math.isfinite(size) for size in (weight or 0.0, *(size for _, size in terms))):
        return "Its weights or its gradient are not finite, and stay so."
    if any(size for _, size in terms):
        size = f"{terms[0][0]} {_number(terms[0][1])}, by norm"
        return f"The step is too small to change the last digit of any element: {size}."
    if (read := gradient_read(stop)) is not None and read.norm() == 0:
        return f"Its gradient is zero everywhere{_why_zero(stop)}."
    rate = next((note.rpartition("lr=")[2] for _, _, note in stop.terms if "lr=" in note), "0")
    return "Its learning rate is 0." if rate == "0" else "The optimizer multiplies this gradient by 0."


def _why_zero(stop: Stop) -> str:
    partials = stop.ledger.written.partials if stop.ledger.written is not None else []
    if stop.ledger.changes:
        return ": it was set so after the backward"
    if not partials:
        return ""
    return ": each of its partials is zero" if all(p.norm() == 0 for p in partials) else ": its partials cancel"


def _no_gradient(stop: Stop) -> str:
    """Why `.grad` was None when the optimizer read it."""
    name, events = stop.focus, list(stop.events)
    runs = [n for n, e in enumerate(events) if isinstance(e, BackwardStarted)]
    if not runs:
        return "No backward ran in this iteration."
    reached = [e for e in events if isinstance(e, BackwardStarted) and any(u.parameter == name for u in e.uses)]
    if reached:
        if any(isinstance(e, GradCleared) and name in e.grads for e in events[runs[-1] :]):
            return "The backward reached it, but its gradient was cleared before the step."
        if not any(e.accumulates for e in reached):
            return "The run returned gradients (torch.autograd.grad); it wrote no .grad."
        return "The backward did not compute its gradient: it was asked for others, or raised."
    called = sum(isinstance(e, ForwardUse) and name in e.parameters for e in events)
    if called:
        times = "once" if called == 1 else f"{called} times"
        return f"It was used {times} in forward, but that is not on the path to the loss: detached, or not used there."
    if any(isinstance(e, ForwardUse) and name in e.replaced for e in events):
        return "Its module was called with another tensor in its place (functional_call)."
    return "Nothing used it in this iteration."
