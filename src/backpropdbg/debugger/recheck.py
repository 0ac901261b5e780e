"""What the breakpoints, as they are now, would have stopped at in this iteration, up to here."""

from backpropdbg.debugger import expressions, hits
from backpropdbg.debugger.breakpoints import Breakpoint
from backpropdbg.debugger.core import Debugger
from backpropdbg.events import BackwardUse, ForwardUse


def recheck(d: Debugger) -> str:
    """Return a line for each stop in the order of the events, and one for each breakpoint that can't be rechecked."""
    enabled = [b for b in d.breakpoints if b.enabled]
    if not enabled:
        return "no breakpoint is enabled"
    stops: list[tuple[int, str]] = []
    unknown = []
    for b in enabled:
        foreign = {*expressions.theirs(b.condition), *expressions.theirs(b.watch.expression if b.watch else "")}
        if foreign:
            of = ", ".join(sorted(foreign))
            unknown.append(f"{b.name}: can't be rechecked: {of} of the program may have changed since")
            continue
        stops += _stops(d, b)
        outputs = [e.output for e in d.stop.events if isinstance(e, ForwardUse) and b.location.nan]
        if any(held is None or held.norm() is None for held in outputs):
            unknown.append(f"{b.name}: what the calls returned is not kept, so only partials and losses were rechecked")
    none = f"no breakpoint would have stopped in iteration {d.stop.event.iteration} up to here"
    lines = [line for _, line in sorted(stops, key=lambda pair: pair[0])] or ([] if len(unknown) > 0 else [none])
    return "\n".join([*lines, *unknown])


def _stops(d: Debugger, b: Breakpoint) -> list[tuple[int, str]]:
    """Position and line of each event that it would have stopped at."""
    found = []
    after, end = d.stop.position - len(d.stop.events), d.stop.position
    while (hit := hits.next_of(d, b, after, end)) is not None:
        where = f"{b.name}: {_place(d, hit.position)}, event {hit.position})"
        found.append((hit.position, f"{where}; can't tell: {hit.note}" if hit.note and b.watch is None else where))
        if b.temporary:
            break
        after = hit.position
    return found


def _place(d: Debugger, position: int) -> str:
    stop = d.look(position, d.focus)
    where = stop.where()
    if isinstance(stop.event, BackwardUse):
        use = stop.event.use
        where = f"{use.module}#{use.call}" if use.call else f"{use.parameter}#{use.number}"
    return f"{where} ({stop.phase.upper()}"
