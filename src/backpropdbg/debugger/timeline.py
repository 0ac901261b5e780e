"""The iterations side by side: the loss, what reached the focused parameter, what stopped and what went wrong."""

import bisect
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from msgspec.structs import replace

from backpropdbg.debugger import past
from backpropdbg.debugger.words import norm, state_of
from backpropdbg.events import (
    Accumulated,
    Anomaly,
    BackwardFinished,
    BackwardStarted,
    BackwardUse,
    Damaged,
    Event,
    ForwardUse,
    GradChanged,
    Held,
    LossComputed,
    StepStarted,
)
from backpropdbg.questions import Moment, Timeline
from backpropdbg.situation import State, as_float, number

if TYPE_CHECKING:
    from backpropdbg.debugger.core import Debugger

_MOST = 20_000


class Moments:
    """What is known of each iteration; what is over is looked at once."""

    def __init__(self) -> None:
        self._over: dict[tuple[int, str], Moment] = {}

    def timeline(self, d: "Debugger", first: int, last: int, columns: int) -> Timeline:
        """Return the iterations from `first` to `last`, at most `columns` of them, each for those up to the next."""
        known = d.trace.iterations()
        here = d.stop.event.iteration
        if not known:
            return Timeline(0, 0, here, here)
        low, high = bisect.bisect_left(known, first), bisect.bisect_right(known, last)
        chosen = _spread(known[low:high], max(1, columns), here)
        stopped = _stopped(d, known)
        moments = []
        for at, n in enumerate(chosen):
            until = chosen[at + 1] if at + 1 < len(chosen) else known[high - 1] + 1
            breaks = {b for iteration, found in stopped.items() if n <= iteration < until for b in found}
            moments.append(replace(self._of(d, n), until=until - 1, breaks=tuple(sorted(breaks))))
        return Timeline(known[0], known[-1], here, d.trace[d.present].iteration, tuple(moments))

    def _of(self, d: "Debugger", iteration: int) -> Moment:
        known = self._over.get((iteration, d.focus))
        if known is not None:
            return known
        made = _moment(d, iteration)
        if iteration < d.trace[d.present].iteration:
            if len(self._over) > _MOST:
                self._over.clear()
            self._over[iteration, d.focus] = made
        return made


def _spread(known: Sequence[int], columns: int, here: int) -> list[int]:
    """As many iterations as there are columns, evenly; the one that is looked at stands for its neighbours."""
    if len(known) <= columns:
        return list(known)
    edges = [len(known) * n // columns for n in range(columns + 1)]
    parts = [known[start:end] for start, end in pairwise(edges)]
    return [here if here in part else part[0] for part in parts]


def _stopped(d: "Debugger", known: Sequence[int]) -> dict[int, set[int]]:
    """Numbers of the breakpoints that stopped, by iteration."""
    starts = [d.trace.start(n) or 0 for n in known] if d.stopped else []
    found: dict[int, set[int]] = {}
    for position, numbers in d.stopped.items():
        at = bisect.bisect_right(starts, position) - 1
        if at >= 0:
            found.setdefault(known[at], set()).update(numbers)
    return found


def _moment(d: "Debugger", iteration: int) -> Moment:
    events = d.trace.iteration(iteration)
    start = d.trace.start(iteration) or 0
    stands = [start + n for n in range(len(events)) if past.stands(d, start + n)]
    loss = next((held for e in reversed(events) if (held := _loss(e)) is not None), None)
    grad, state = _grad(events, d.focus)
    lost = number(loss.at(())) if loss is not None and loss.kept else None
    size = norm(grad) if grad is not None else None
    return Moment(
        iteration,
        stands[0] if stands else start,
        loss=lost,
        uses=_uses(events, d.focus),
        norm=size,
        state=state,
        anomaly=_anomaly(events, lost, size),
        until=iteration,
    )


def _loss(event: Event) -> Held | None:
    return event.loss if isinstance(event, (LossComputed, BackwardStarted)) else None


def _grad(events: Sequence[Event], focus: str) -> tuple[Held | None, State]:
    """The gradient that the optimizer read; before that, what the backward left."""
    for e in reversed(events):
        match e:
            case StepStarted() | GradChanged() if focus in e.grads:
                return e.grads[focus], state_of(e.grads[focus], "none")
            case Accumulated() if e.parameter == focus:
                return e.grad, state_of(e.grad, "none")
    begun = any(isinstance(e, BackwardFinished) for e in events)
    return None, "none" if begun else "pending"


def _uses(events: Sequence[Event], focus: str) -> int:
    """Those whose partials arrived; before the backward, those of the forward."""
    if any(isinstance(e, BackwardStarted) for e in events):
        return sum(isinstance(e, BackwardUse) and e.use.parameter == focus and e.partial is not None for e in events)
    return sum(isinstance(e, ForwardUse) and focus in e.parameters for e in events)


def _anomaly(events: Sequence[Event], loss: object, size: object) -> str:
    if any(isinstance(e, BackwardFinished) and e.failed for e in events):
        return "the backward raised"
    if isinstance(loss, str):
        return "the loss is not finite"
    if isinstance(size, str):
        return "the gradient is not finite"
    return "not all was recorded" if any(isinstance(e, Anomaly | Damaged) for e in events) else ""


def as_text(made: Timeline, focus: str) -> str:
    """The timeline as a table, for plain text."""
    cells = [("", "iteration", "event", "loss", "uses", f"|{focus}.grad|", "")]
    for m in made.moments:
        span = f"{m.iteration}" if m.until <= m.iteration else f"{m.iteration}-{m.until}"
        here = ">" if m.iteration <= made.here <= max(m.until, m.iteration) else ""
        size = {"value": _short(m.norm), "none": "None"}.get(m.state, m.state)
        breaks = [f"breakpoint {', '.join(map(str, m.breaks))}"] if m.breaks else []
        notes = "; ".join([*breaks, *([m.anomaly] if m.anomaly else [])])
        cells.append((here, span, str(m.position), _short(m.loss), str(m.uses), size, notes))
    widths = [max(len(row[n]) for row in cells) for n in range(6)]
    lines = ["  ".join(f"{text:>{width}}" for text, width in zip(row, widths, strict=False)) for row in cells]
    return "\n".join(f"{line}  {row[6]}".rstrip() for line, row in zip(lines, cells, strict=True))


def _short(value: float | str | None) -> str:
    return "" if value is None else f"{as_float(value):.4g}"
