"""What the breakpoints, as they are now, would have stopped at in this iteration, up to here."""

import builtins
from collections.abc import Iterator

from msgspec.structs import replace

from backpropdbg.debugger import expressions
from backpropdbg.debugger.breakpoints import Breakpoint, Watch
from backpropdbg.debugger.core import Debugger
from backpropdbg.debugger.stop import Stop
from backpropdbg.debugger.watch import changed
from backpropdbg.events import BackwardUse, Event, ForwardUse, IterationStarted

_ALWAYS_THERE = {*dir(builtins), "torch", "math"}


def recheck(d: Debugger) -> str:
    """Return a line for each stop in the order of the events, and one for each breakpoint that can't be rechecked."""
    enabled = [b for b in d.breakpoints if b.enabled]
    if not enabled:
        return "no breakpoint is enabled"
    stops: list[tuple[int, str]] = []
    unknown = []
    for b in enabled:
        theirs = _not_recorded(b)
        if theirs:
            unknown.append(f"{b.name}: can't be rechecked: {', '.join(theirs)} of the program may have changed since")
            continue
        stops += _stops(d, b)
        outputs = [e.output for e in d.stop.events if isinstance(e, ForwardUse) and b.location.nan]
        if any(held is None or held.norm() is None for held in outputs):
            unknown.append(f"{b.name}: what the calls returned is not kept, so only partials and losses were rechecked")
    none = f"no breakpoint would have stopped in iteration {d.stop.event.iteration} up to here"
    lines = [line for _, line in sorted(stops, key=lambda pair: pair[0])] or ([] if len(unknown) > 0 else [none])
    return "\n".join([*lines, *unknown])


def _not_recorded(b: Breakpoint) -> list[str]:
    """The names that only the program could tell, as it was then."""
    used = expressions.used_names(b.condition) | expressions.used_names(b.watch.expression if b.watch else "")
    return sorted(name for name in used if not expressions.is_ours(name) and name not in _ALWAYS_THERE)


def _stops(d: Debugger, b: Breakpoint) -> Iterator[tuple[int, str]]:
    """Position and line of each event that it would have stopped at."""
    events = d.stop.events
    start = d.stop.position - len(events) + 1
    fresh = replace(b, watch=Watch(b.watch.expression, b.watch.focus)) if b.watch is not None else b
    first = True
    if start > d.trace.first:  # a watchpoint compares with the iteration before
        _changed(d, fresh, start - 1)
    for position, event in enumerate(events, start):
        if isinstance(event, IterationStarted):
            continue
        if fresh.watch is not None:
            known = fresh.watch.known
            here = _changed(d, fresh, position) and (known or not first)
        else:
            here = d.is_at(b.location, event) and (first or not b.location.iteration)
        first = False
        holds, error = d.holds(b, event, position) if here and b.condition else (here, "")
        if holds:
            where = f"{b.name}: {_place(d, position, event)}, event {position})"
            yield position, f"{where}; can't tell: {error}" if error else where
            if b.temporary:
                return


def _changed(d: Debugger, b: Breakpoint, position: int) -> bool:
    focus = b.watch.focus if b.watch is not None else ""
    return bool(changed(b, d.program, Stop(d.trace, position, focus or d.focus, ())))


def _place(d: Debugger, position: int, event: Event) -> str:
    stop = Stop(d.trace, position, d.focus, ())
    where = stop.where()
    if isinstance(event, BackwardUse):
        use = event.use
        where = f"{use.module}#{use.call}" if use.call else f"{use.parameter}#{use.number}"
    return f"{where} ({stop.phase.upper()}"
