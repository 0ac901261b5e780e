"""Commands about where to stop."""

from backpropdbg.debugger import arguments
from backpropdbg.debugger import recheck as rechecking
from backpropdbg.debugger import watch as watching
from backpropdbg.debugger.breakpoints import Breakpoint
from backpropdbg.debugger.commands.table import command, end_collecting
from backpropdbg.debugger.core import Debugger
from backpropdbg.debugger.drawing import displayed
from backpropdbg.debugger.locations import Location
from backpropdbg.debugger.words import counted
from backpropdbg.errors import CommandError


def _add(d: Debugger, text: str, temporary: bool) -> str:
    where, condition = arguments.split_if(text)
    location, note = (d.names.locate(where), "") if d.ended else d.names.locate_ahead(where)
    if location.nan and d.recorded:
        note = "of a recording, partials and losses alone: what the calls returned is not in it"
    made = d.add_breakpoint(location, condition=condition or "", temporary=temporary)
    return "; ".join(filter(None, [made.line(), note]))


def _breakpoint(d: Debugger, number: str) -> Breakpoint:
    for b in d.breakpoints:
        if b.number == int(number):
            return b
    there = ", ".join(str(b.number) for b in d.breakpoints) or "none"
    raise CommandError(f"no breakpoint {number}; there are: {there}")


@command(arguments.place_and_condition, "b")
def break_(d: Debugger, text: str) -> str:
    """break (b) LOC [if EXPR]: stop there, each time."""
    return _add(d, text, False)


@command(arguments.place_and_condition)
def tbreak(d: Debugger, text: str) -> str:
    """tbreak LOC [if EXPR]: stop there once."""
    return _add(d, text, True)


@command(arguments.number_and_condition)
def condition(d: Debugger, text: str) -> str:
    """condition N [EXPR]: stop at breakpoint N only if EXPR; without EXPR always."""
    number, _, expression = text.partition(" ")
    found = _breakpoint(d, number)
    found.condition = expression.strip()
    return found.line()


@command(arguments.number_and_count)
def ignore(d: Debugger, text: str) -> str:
    """ignore N COUNT: pass breakpoint N COUNT times before it stops again."""
    number, count = text.split()
    found = _breakpoint(d, number)
    found.ignore = found.hits + int(count)
    return f"{found.name} will be passed {counted(int(count), 'time')}"


@command(arguments.number)
def enable(d: Debugger, text: str) -> str:
    """enable N: let breakpoint N stop again."""
    found = _breakpoint(d, text)
    if not found.enabled:
        watching.look_again(found, d, d.look(d.present, d.focus))
    found.enabled = True
    return found.line()


@command(arguments.number)
def disable(d: Debugger, text: str) -> str:
    """disable N: keep breakpoint N, but do not stop at it."""
    found = _breakpoint(d, text)
    found.enabled = False
    return found.line()


@command(arguments.anything)
def clear(d: Debugger, text: str) -> str:
    """clear [N]: delete breakpoint N, or all."""
    if not text:
        count = len(d.breakpoints)
        d.breakpoints.clear()
        return f"{counted(count, 'breakpoint')} deleted"
    arguments.number(text)
    found = _breakpoint(d, text)
    d.breakpoints.remove(found)
    return f"{found.name} deleted"


@command(arguments.expression)
def watch(d: Debugger, text: str) -> str:
    """watch EXPR: stop when its value changes. Tensors are compared bit for bit.
    It is about the parameter that is focused now, and the variables of the frame that is selected now.
    """
    stop = d.look(d.present, d.focus)
    made, unknown = watching.start(text, d, stop, d.frame or 0)
    entered = d.add_breakpoint(Location(text), watch=made)
    now = f"not known yet: {unknown}" if unknown else f"now {made.shown}"
    return f"{entered.line()}, {now}"


@command(arguments.number)
def commands(d: Debugger, text: str) -> str:
    """commands N: the lines that follow, up to `end`, are run when breakpoint N stops; none: nothing is.
    A command that moves, such as continue, lets the program run on without showing the stop.
    """
    found = _breakpoint(d, text)
    d.collecting = found, []
    return f"{found.name}: the lines that follow are its commands, up to `end`"


@command(arguments.nothing)
def end(d: Debugger, text: str) -> str:
    """end: of the lines after `commands N`."""
    return end_collecting(d)


@command(arguments.nothing)
def recheck(d: Debugger, text: str) -> str:
    """recheck: where the breakpoints, as they are now, would have stopped in this iteration up to here."""
    return rechecking.recheck(d)


@command(arguments.expression_or_nothing)
def display(d: Debugger, text: str) -> str:
    """display [EXPR]: show its value at each stop; without EXPR, list all that is shown."""
    if not text:
        return "\n".join(f"{n}: {displayed(d, shown)}" for n, shown in d.displays.items()) or "nothing is displayed"
    number = max(d.displays, default=0) + 1
    d.displays[number] = text
    d.refresh()
    return f"{number}: {displayed(d, text)}"


@command(arguments.display_number)
def undisplay(d: Debugger, text: str) -> str:
    """undisplay N: do not show display N any more."""
    if int(text) not in d.displays:
        raise CommandError(f"no display {text}; there are: {', '.join(map(str, d.displays)) or 'none'}")
    shown = d.displays.pop(int(text))
    d.refresh()
    return f"no longer displayed: {shown}"
