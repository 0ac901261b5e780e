"""Commands that change what the program does, or what is seen of it."""

from backpropdbg.debugger import arguments
from backpropdbg.debugger.commands.table import command
from backpropdbg.debugger.core import Debugger
from backpropdbg.errors import CommandError
from backpropdbg.events import BackwardUse


@command(arguments.set_partial)
def set_(d: Debugger, text: str) -> str:
    """set partial = EXPR: let another partial flow on from the use that this stop is at.
    Everything after it follows: the running sum, .grad, the update.
    """
    event = d.stop.event
    if d.in_past:
        raise CommandError(f"set partial: event {d.stop.position} is past; goto now shows where the program stands")
    if not isinstance(event, BackwardUse):
        raise CommandError("set partial: no partial arrives here; until backward runs to one")
    expression = text.partition("=")[2].strip()
    d.edited = d.program.edit(d.evaluate(expression, event.use.parameter))
    d.refresh()
    return f"use #{event.use.number} of {event.use.parameter}: the edited partial flows on as the program runs on"


@command(arguments.anything)
def track(d: Debugger, text: str) -> str:
    """track GLOB...: trace only these parameters, or those of these modules; `track *` traces all.
    What is not traced has no events and costs next to nothing.
    """
    if text:
        d.program.track(text.split())
        d.known.learn()
    names = d.program.parameters()
    if not names:
        return f"nothing that is known fits {text}: the program runs unwatched" if text else "nothing is tracked"
    return f"tracked: {', '.join(map(d.names.title, names))}"
