"""Commands that move: through what is recorded, and past its end by letting the program run on."""

from typing import get_args

from backpropdbg.debugger import arguments, moves, past, turning
from backpropdbg.debugger.commands.table import command
from backpropdbg.debugger.core import Debugger
from backpropdbg.debugger.locations import suggest
from backpropdbg.errors import CommandError
from backpropdbg.events import Event

_KINDS = [kind.__name__ for kind in get_args(Event)]


@command(arguments.nothing, "s", moves=True)
def step(d: Debugger, text: str) -> str:
    """step (s): run to the next event of any parameter or of the loop."""
    moves.run_until(d, lambda event: True)
    return ""


@command(arguments.nothing, "n", moves=True)
def next_(d: Debugger, text: str) -> str:
    """next (n): run to the next turning point of the focused parameter."""
    moves.run_until(d, d.is_turning_point)
    return ""


@command(arguments.nothing, "r", "f", moves=True)
def finish(d: Debugger, text: str) -> str:
    """finish (r, f): run to the end of the phase."""
    moves.run_until(d, turning.ends_phase)
    return ""


@command(arguments.location, moves=True)
def until(d: Debugger, text: str) -> str:
    """until LOC: run there. LOC: [forward|backward|accumulate|update] [TARGET[#N]], iteration N, or nan.
    `update` is just after optimizer.step(); `n` also stops before it.
    """
    location, note = d.names.locate_ahead(text)
    now = d.stop.event.iteration
    if location.iteration and location.iteration <= now:
        raise CommandError(f"iteration {location.iteration} is not ahead: this is iteration {now}")
    moves.run_until(d, lambda event: d.is_at(location, event), f"until {text}")
    return note


@command(arguments.nothing, "c", "cont", moves=True)
def continue_(d: Debugger, text: str) -> str:
    """continue (c): run to the next breakpoint or to the end.
    Among the commands of a breakpoint: go on with what was asked for before, e.g. `until update`.
    """
    moves.run_until(d, lambda event: False)
    return ""


@command(arguments.nothing, "back", moves=True)
def rs(d: Debugger, text: str) -> str:
    """rs (back): step backwards, to the event before this one. The program stays where it is."""
    moves.run_back_to(d, lambda event: True, "rs")
    return ""


@command(arguments.nothing, moves=True)
def rn(d: Debugger, text: str) -> str:
    """rn: backwards to the turning point of the focused parameter before this one."""
    moves.run_back_to(d, d.is_turning_point, "rn")
    return ""


@command(arguments.nothing, moves=True)
def rc(d: Debugger, text: str) -> str:
    """rc: backwards to where a breakpoint stops, else to the oldest event that is known.
    Conditions and watchpoints are evaluated on what is recorded; hits are not counted.
    """
    moves.run_back_to(d, lambda event: False, "rc")
    return ""


@command(arguments.position, moves=True)
def goto(d: Debugger, text: str) -> str:
    """goto N | now | iteration K [EVENT [M]]: look at event N, or at where the program stands, or into an iteration.
    There at its first event, or at the M-th of a kind, e.g. goto iteration 7 StepFinished. The program runs to what is
    ahead of it; no breakpoint stops it on the way.
    """
    word, *more = text.split()
    if word == "now":
        d.walk_to(past.last(d), "goto now")
    elif word == "iteration":
        kind = more[1] if len(more) > 1 else ""
        nth = int(more[2]) if len(more) > 2 else 1
        _go_to_iteration(d, text, int(more[0]), kind, nth)
    elif int(word) > d.present:
        moves.run_straight(d, lambda event: d.present >= int(word), f"goto {word}")
    else:
        _go_to(d, int(word), f"goto {word}")
    return ""


def _go_to_iteration(d: Debugger, text: str, number: int, kind: str, nth: int) -> None:
    """Of the iteration's events, the nth of a kind; where it has fewer, the first after it."""
    if kind and kind not in _KINDS:
        raise CommandError(f"goto {text}: no event {kind!r}{suggest(kind, _KINDS)}")
    if number < d.trace[past.first(d)].iteration:
        oldest = d.trace[past.first(d)].iteration
        raise CommandError(f"iteration {number} is not known any more: the oldest that is known is {oldest}")
    left = nth if kind else 1

    def wanted(event: Event) -> bool:
        nonlocal left
        if event.iteration == number and kind in ("", type(event).__name__):
            left -= 1
        return event.iteration > number or (event.iteration == number and left <= 0)

    start = d.trace.start(number)
    known = range(start, len(d.trace)) if start is not None else ()
    found = next((n for n in known if past.stands(d, n) and wanted(d.trace[n])), None)
    if found is not None:
        _go_to(d, found, f"goto {text}")
    else:
        moves.run_straight(d, wanted, f"goto {text}")


def _go_to(d: Debugger, position: int, reason: str) -> None:
    oldest = past.first(d)
    if position < d.trace.first:
        raise CommandError(f"event {position} is not known any more: the oldest that is known is {oldest}")
    from_there = range(max(position, oldest), len(d.trace))
    d.walk_to(next((n for n in from_there if past.stands(d, n)), oldest), reason)


@command(arguments.nothing, moves=True)
def detach(d: Debugger, text: str) -> str:
    """detach: let the program run on without the debugger."""
    if d.ended:
        raise CommandError("the program has ended")
    d.detach()
    return ""
