"""Uses that do not count: what if their partials were zero?"""

from typing import TYPE_CHECKING

from backpropdbg.debugger.locations import Location
from backpropdbg.errors import CommandError
from backpropdbg.events import BackwardUse, Event, Held

if TYPE_CHECKING:
    from backpropdbg.debugger.core import Debugger


def apply(d: "Debugger", event: Event) -> Held | None:
    """Let zeros flow on in the place of a partial that arrives from a muted use; return them."""
    if not isinstance(event, BackwardUse) or event.partial is None or not is_muted(d, event):
        return None
    try:
        return d.program.edit(0.0)
    except CommandError as e:
        d.say(f"mute: {e}")
        return None


def is_muted(d: "Debugger", event: BackwardUse) -> bool:
    """True for a use that is muted; a module's name stands for all of its parameters."""
    return any(location.matches(event, "", d.known.aliases) for location in d.muted)


def this_use(d: "Debugger") -> str:
    """The TARGET#N of the use that this stop is at. Raises CommandError."""
    event = d.stop.event
    if not isinstance(event, BackwardUse):
        raise CommandError("which use? no partial arrives here; e.g. mute middle_linear#2")
    return f"{event.use.parameter}#{event.use.number}"


def listed(muted: list[Location]) -> str:
    """All that is muted, on one line."""
    return f"muted: {', '.join(location.target_text for location in muted)}" if muted else "nothing is muted"
