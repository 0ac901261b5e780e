"""Commands that let the program run on."""

from backpropdbg.debugger import arguments
from backpropdbg.debugger.commands.table import command
from backpropdbg.debugger.core import Debugger
from backpropdbg.errors import CommandError


@command(arguments.nothing, "s", moves=True)
def step(d: Debugger, text: str) -> str:
    """step (s): run to the next event of any parameter or of the loop."""
    d.run_until(lambda event: True)
    return ""


@command(arguments.nothing, "n", moves=True)
def next_(d: Debugger, text: str) -> str:
    """next (n): run to the next turning point of the focused parameter."""
    d.run_until(d.is_turning_point)
    return ""


@command(arguments.nothing, "r", "f", moves=True)
def finish(d: Debugger, text: str) -> str:
    """finish (r, f): run to the end of the phase."""
    d.run_until(d.ends_phase)
    return ""


@command(arguments.location, moves=True)
def until(d: Debugger, text: str) -> str:
    """until LOC: run there. LOC: [forward|backward|accumulate|update] [TARGET[#N]], iteration N, or nan.
    `update` is just after optimizer.step(); `n` also stops before it.
    """
    location = d.names.locate(text)
    now = d.stop.event.iteration
    if location.iteration and location.iteration <= now:
        raise CommandError(f"iteration {location.iteration} is not ahead: this is iteration {now}")
    d.run_until(lambda event: d.is_at(location, event), f"until {text}")
    return ""


@command(arguments.nothing, "c", "cont", moves=True)
def continue_(d: Debugger, text: str) -> str:
    """continue (c): run to the next breakpoint or to the end.
    Among the commands of a breakpoint: go on with what was asked for before, e.g. `until update`.
    """
    d.run_until(lambda event: False)
    return ""


@command(arguments.nothing, moves=True)
def detach(d: Debugger, text: str) -> str:
    """detach: let the program run on without the debugger."""
    if d.ended:
        raise CommandError("the program has ended")
    d.detach()
    return ""
