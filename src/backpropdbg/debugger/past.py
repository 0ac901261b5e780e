"""The recorded events, walked both ways: where a move through them ends."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct

from backpropdbg.debugger import hits, turning
from backpropdbg.errors import CommandError
from backpropdbg.events import IterationStarted

if TYPE_CHECKING:
    from backpropdbg.debugger.core import Debugger
    from backpropdbg.debugger.moves import Wanted

T = TypeVar("T")


class Found(Struct, frozen=True):
    """Where a move ends. reason: the breakpoint, "" where it is what was wanted. notes: what to say of it."""

    position: int
    reason: str = ""
    notes: tuple[str, ...] = ()


def stands(d: "Debugger", position: int) -> bool:
    """True for an event that one can stop at."""
    return not isinstance(d.trace[position], IterationStarted)


def first(d: "Debugger") -> int:
    """The oldest event that is known and that one can begin at."""
    known = range(d.trace.first, len(d.trace))
    return next((n for n in known if stands(d, n) and turning.is_beginning(d.trace[n])), d.present)


def last(d: "Debugger") -> int:
    """The newest event that one can stop at."""
    return next((n for n in range(d.present, d.trace.first - 1, -1) if stands(d, n)), d.present)


def looking(d: "Debugger", way: Callable[["Debugger", "Wanted"], T], wanted: "Wanted") -> T:
    """What one of the next two finds; meanwhile `d.looking` says where it is."""
    try:
        return way(d, wanted)
    finally:
        d.looking = None


def ahead(d: "Debugger", wanted: "Wanted") -> Found | None:
    """The next recorded event that is wanted or where a breakpoint stops; None where there is none."""
    here, end = d.stop.position, d.present
    found = None
    for n in range(here + 1, end + 1):
        d.looking = n
        if stands(d, n) and (wanted(d.trace[n]) or d.pausing):
            found, end = Found(n), n
            break
    stops = []
    for b in d.breakpoints if here < end else []:
        hit = hits.next_of(d, b, here, end) if b.enabled else None
        if hit is not None:
            end = hit.position
            stops.append(hit)
    return _of_hits(stops, end) or found


def behind(d: "Debugger", wanted: "Wanted") -> Found:
    """The recorded event before this one that is wanted, or where a breakpoint stops; else the oldest.

    Raises CommandError where this is the oldest.
    """
    here, start = d.stop.position, first(d)
    if here <= start:
        raise CommandError(f"event {here} is the oldest that is known: there is nothing before it")
    found = Found(start, "" if wanted(d.trace[start]) else "the oldest event that is known")
    for n in range(here - 1, start, -1):
        d.looking = n
        if stands(d, n) and (wanted(d.trace[n]) or d.pausing):
            found, start = Found(n), n
            break
    stops = []
    for b in d.breakpoints:
        hit = hits.last_of(d, b, here, start) if b.enabled else None
        if hit is not None:
            start = hit.position
            stops.append(hit)
    return _of_hits(stops, start) or found


def not_reached(move: str) -> list[str]:
    """What to say at the end of a program that never came to what a move names, e.g. "until iteration 7"."""
    return [f"{move}: it was not reached."] if " " in move else []


def _of_hits(stops: list[hits.Hit], position: int) -> Found | None:
    """What the breakpoints say that stop at a position."""
    here = [hit for hit in stops if hit.position == position]
    notes = tuple([hit.note for hit in here if hit.note])
    return Found(position, here[0].breakpoint.name, notes) if here else None
