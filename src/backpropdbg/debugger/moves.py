"""What a command that moves asks for: another recorded event to look at, or that the program runs on to an event."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import Struct

from backpropdbg.debugger import past
from backpropdbg.errors import CommandError
from backpropdbg.events import Event

if TYPE_CHECKING:
    from backpropdbg.debugger.core import Debugger

_OVER = ("the program has ended; restart runs it again", "the recording ends here")

Wanted = Callable[[Event], bool]


class Move(Struct, frozen=True):
    """How far the program is to run.

    Attributes:
        wanted: true of the event to stop at. reason: the command.
        straight: no breakpoint stops it on the way, though its commands are carried out.
    """

    wanted: Wanted
    reason: str
    straight: bool = False


def run_until(d: "Debugger", wanted: Wanted, reason: str = "step") -> None:
    """Go on to an event that is wanted, first among those that are recorded. Raises CommandError at the end."""
    found = past.looking(d, past.ahead, wanted) if d.stop.position < d.present else None
    if found is not None:
        d.walk_to(found.position, found.reason or reason, found.notes)
    elif not d.ended:
        d.move = Move(wanted, reason)
    elif d.stop.position < past.last(d):
        d.walk_to(past.last(d), reason, past.not_reached(reason))
    else:
        raise CommandError(_OVER[d.recorded])


def run_straight(d: "Debugger", wanted: Wanted, reason: str) -> None:
    """Let the program run to an event that is wanted, past all breakpoints. Raises CommandError where it has ended."""
    if d.ended:
        raise CommandError(f"the {'recording' if d.recorded else 'program'} ended at event {d.present}")
    d.move = Move(wanted, reason, straight=True)


def run_back_to(d: "Debugger", wanted: Wanted, reason: str) -> None:
    """Go back to an event that is wanted or where a breakpoint stops, or to the oldest one. Raises CommandError."""
    found = past.looking(d, past.behind, wanted)
    d.walk_to(found.position, found.reason or reason, found.notes)
