"""Commands about where to stop."""

from backpropdbg.debugger import arguments
from backpropdbg.debugger.commands.table import command
from backpropdbg.debugger.core import Breakpoint, Debugger
from backpropdbg.debugger.locations import parse_location
from backpropdbg.errors import CommandError


def _add(d: Debugger, text: str, temporary: bool) -> str:
    where, condition = arguments.split_if(text)
    made = d.add_breakpoint(parse_location(where), condition or "", temporary)
    return breakpoint_line(made)


def breakpoint_line(b: Breakpoint) -> str:
    kind = "temporary breakpoint" if b.temporary else "breakpoint"
    parts = [f"{kind} {b.number}: {b.location.text}"]
    parts += [f"if {b.condition}"] if b.condition else []
    parts += ["(disabled)"] if not b.enabled else []
    parts += [f"hit {b.hits} times"] if b.hits else []
    return " ".join(parts)


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
    return breakpoint_line(found)


@command(arguments.number_and_count)
def ignore(d: Debugger, text: str) -> str:
    """ignore N COUNT: pass breakpoint N COUNT times before it stops again."""
    number, count = text.split()
    found = _breakpoint(d, number)
    found.ignore = found.hits + int(count)
    return f"breakpoint {number} will be passed {count} times"


@command(arguments.number)
def enable(d: Debugger, text: str) -> str:
    """enable N: let breakpoint N stop again."""
    _breakpoint(d, text).enabled = True
    return breakpoint_line(_breakpoint(d, text))


@command(arguments.number)
def disable(d: Debugger, text: str) -> str:
    """disable N: keep breakpoint N, but do not stop at it."""
    _breakpoint(d, text).enabled = False
    return breakpoint_line(_breakpoint(d, text))


@command(arguments.anything)
def clear(d: Debugger, text: str) -> str:
    """clear [N]: delete breakpoint N, or all."""
    if not text:
        count = len(d.breakpoints)
        d.breakpoints.clear()
        return f"{count} breakpoints deleted"
    arguments.number(text)
    d.breakpoints.remove(_breakpoint(d, text))
    return f"breakpoint {text} deleted"
