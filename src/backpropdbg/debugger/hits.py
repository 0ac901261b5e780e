"""Where breakpoints stop: live, where hits count, and among the recorded events, where they don't."""

from itertools import islice
from typing import TYPE_CHECKING

from msgspec import Struct

from backpropdbg.debugger import expressions
from backpropdbg.debugger.breakpoints import Breakpoint, Watch
from backpropdbg.debugger.locations import Location
from backpropdbg.debugger.watch import changed
from backpropdbg.errors import CommandError
from backpropdbg.events import Event, IterationStarted

if TYPE_CHECKING:
    from backpropdbg.debugger.core import Debugger


_FAR = 1000
_MOST = 100_000


class Hit(Struct, frozen=True):
    """A breakpoint stops at a position. note: what to say of it, e.g. that its condition can't be evaluated."""

    position: int
    breakpoint: Breakpoint
    note: str = ""


def live(d: "Debugger", event: Event, position: int) -> list[Hit]:
    """Count a hit for each breakpoint that is at the newest event; return those that stop."""
    found = []
    for b, surely in d.reach.of(d, event):
        if not b.enabled:
            continue
        here, note = (True, "") if surely else _reached(d, b, event, position)
        if here and b.condition:
            here, note = _holds(d, b, event, position, note)
        if not here:
            continue
        b.hits += 1
        if b.hits > b.ignore:
            d.stopped.setdefault(position, set()).add(b.number)
            if len(d.stopped) > _MOST:
                d.stopped = dict(islice(d.stopped.items(), _MOST // 2, None))
            found.append(Hit(position, b, note))
            if b.temporary:
                d.breakpoints.remove(b)
    return found


def _stops(d: "Debugger", b: Breakpoint, event: Event, position: int) -> tuple[bool, str]:
    """Whether a breakpoint stops at an event, and what to say of it."""
    here, note = _reached(d, b, event, position)
    return _holds(d, b, event, position, note) if here and b.condition else (here, note)


def _reached(d: "Debugger", b: Breakpoint, event: Event, position: int) -> tuple[bool, str]:
    """Whether an event is where a breakpoint is, or changed what it watches; and what to say of that."""
    if b.watch is not None:
        note = changed(b, d, d.look(position, b.watch.focus or d.focus))
        return bool(note), note
    return is_at(d, b.location, event, position) or (b.location.nan and b.number in d.stopped.get(position, ())), ""


def is_at(d: "Debugger", location: Location, event: Event, position: int) -> bool:
    """True where an event is at a place, whatever tied parameters are called there; of an iteration, its first one."""
    if location.iteration and not begins(d, event, position):
        return False
    return d.is_at(location, event)


def begins(d: "Debugger", event: Event, position: int) -> bool:
    """True for the first event of an iteration that anything stops at."""
    before = position - 1
    while before >= d.trace.first and isinstance(d.trace[before], IterationStarted):
        before -= 1
    return before < d.trace.first or d.trace[before].iteration != event.iteration


def _holds(d: "Debugger", b: Breakpoint, event: Event, position: int, note: str) -> tuple[bool, str]:
    """Whether a condition holds, with that note, or one of why it can't be evaluated (then it counts as true)."""
    stop = d.look(position, expressions.subject(event, d.focus))
    try:
        return expressions.holds(d, b.condition, stop), note
    except CommandError as e:
        return True, f"{b.name}, condition {e}"


# -- among the recorded events -----------------------------------------------------------------------


def next_of(d: "Debugger", b: Breakpoint, after: int, end: int) -> Hit | None:
    """Where it stops first after one position, up to and with another."""
    found = _of_watch(d, b, after, _FAR) if b.watch is not None else b
    for position in range(after + 1, end + 1):
        if d.pausing:
            break
        d.looking, event = position, d.trace[position]
        here, note = (False, "") if isinstance(event, IterationStarted) else _stops(d, found, event, position)
        if here:
            return Hit(position, b, note)
    return None


def last_of(d: "Debugger", b: Breakpoint, before: int, first: int) -> Hit | None:
    """Where it stops last before one position, down to and with another."""
    if b.watch is not None:
        return _last_change(d, b, before, first)
    for position in range(before - 1, first - 1, -1):
        if d.pausing:
            break
        d.looking, event = position, d.trace[position]
        here, note = (False, "") if isinstance(event, IterationStarted) else _stops(d, b, event, position)
        if here:
            return Hit(position, b, note)
    return None


def _last_change(d: "Debugger", b: Breakpoint, before: int, first: int) -> Hit | None:
    """The last position at which the value is not what it was when it was known before."""
    later: int | None = None
    for position in range(before - 1, d.trace.first - 1, -1):
        if d.pausing:
            break
        d.looking = position
        if isinstance(d.trace[position], IterationStarted):
            continue
        known = _of_watch(d, b, position)
        assert known.watch is not None
        if not known.watch.known:
            continue
        if later is not None:
            here, note = _stops(d, known, d.trace[later], later)
            if here:
                return Hit(later, b, note)
        if position < first:
            return None
        later = position
    return None


def _of_watch(d: "Debugger", b: Breakpoint, position: int, far: int = 1) -> Breakpoint:
    """A copy of a watchpoint that last looked at a position; far: and, while it knows no value, at those before."""
    assert b.watch is not None
    watch = Watch(b.watch.expression, b.watch.focus)
    made = Breakpoint(b.number, b.location, b.condition, watch=watch)
    for earlier in range(position, max(d.trace.first, position - far + 1) - 1, -1):
        if not watch.known:
            changed(made, d, d.look(earlier, b.watch.focus or d.focus))
    return made
