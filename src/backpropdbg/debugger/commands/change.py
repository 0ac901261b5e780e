"""Commands that change what the program does, or what is seen of it."""

from backpropdbg.debugger import arguments
from backpropdbg.debugger import mute as muting
from backpropdbg.debugger.commands.table import command
from backpropdbg.debugger.core import Debugger
from backpropdbg.errors import CommandError
from backpropdbg.events import BackwardUse


def _something_runs(d: Debugger, what: str) -> None:
    if d.recorded:
        raise CommandError(f"{what}: this is a recording: nothing runs here that could be changed")


@command(arguments.set_partial)
def set_(d: Debugger, text: str) -> str:
    """set partial = EXPR: let another partial flow on from the use that this stop is at.
    Everything after it follows: the running sum, .grad, the update.
    """
    _something_runs(d, "set partial")
    event = d.stop.event
    if d.in_past:
        raise CommandError(f"set partial: event {d.stop.position} is past; goto now shows where the program stands")
    if not isinstance(event, BackwardUse):
        raise CommandError("set partial: no partial arrives here; until backward runs to one")
    expression = text.partition("=")[2].strip()
    d.edited = d.program.edit(d.evaluate(expression, event.use.parameter))
    d.refresh()
    return f"use #{event.use.number} of {event.use.parameter}: the edited partial flows on as the program runs on"


@command(arguments.use)
def mute(d: Debugger, text: str) -> str:
    """mute [USE]: what if this use did not count? From here on its partial is replaced by zeros, in every iteration.
    USE is TARGET#N, or TARGET for all uses; without it, the use that this stop is at. What flows on to earlier layers
    stays as it is.
    """
    _something_runs(d, "mute")
    use = text or muting.this_use(d)
    location, note = d.names.locate_ahead(f"backward {use}")
    d.again = f"mute {use}"
    if location.target not in [known.target for known in d.muted if known.number == location.number]:
        d.muted.append(location)
    event = d.stop.event
    if isinstance(event, BackwardUse) and not d.in_past and muting.is_muted(d, event):
        d.edited = d.program.edit(0.0)
        d.refresh()
    return "\n".join(filter(None, [muting.listed(d.muted), note]))


@command(arguments.use)
def unmute(d: Debugger, text: str) -> str:
    """unmute [USE]: let it count again; without USE, all."""
    _something_runs(d, "unmute")
    if not text:
        d.muted.clear()
        return muting.listed(d.muted)
    location = d.names.locate(f"backward {text}")
    left = [known for known in d.muted if (known.target, known.number) != (location.target, location.number)]
    if len(left) == len(d.muted):
        raise CommandError(f"{text} is not muted; {muting.listed(d.muted)}")
    d.muted[:] = left
    return muting.listed(d.muted)


@command(arguments.anything)
def track(d: Debugger, text: str) -> str:
    """track GLOB...: trace only these parameters, or those of these modules; `track *` traces all.
    What is not traced has no events and costs next to nothing.
    """
    if text:
        d.program.track(text.split())
        d.known.learn()
    names = d.program.parameters() or (d.known.parameters() if d.ended and not text else ())
    if not names:
        return f"nothing that is known fits {text}: the program runs unwatched" if text else "nothing is tracked"
    return f"tracked: {', '.join(map(d.names.title, names))}"
