"""What a face gets to see of the debugger at a stop: the situation, with what only the debugger knows of it."""

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from backpropdbg.debugger.describe import describe, source, undrawable, words
from backpropdbg.debugger.stop import Stop
from backpropdbg.errors import CommandError
from backpropdbg.events import Damaged, Location
from backpropdbg.hurry import GivenUp, Later, allowing, lacking
from backpropdbg.questions import Mark, Stops
from backpropdbg.situation import SOON, Situation

if TYPE_CHECKING:
    from backpropdbg.debugger.core import Debugger


SMALL = 2**19  # numbers of tensors that are gone through at once: a millisecond or two


def shown(d: "Debugger") -> Situation:
    """The stop that is looked at, as a face gets it first: a hurried one without the numbers that take long.

    A failure of ours must not reach the program: it is shown in place of the stop.
    """
    d.lacks = False
    if d.hurried:
        with contextlib.suppress(Later), allowing(SMALL) as allowed:
            made = drawable(d)
            d.lacks = allowed.lacks
            return replace(made, early=allowed.lacks)
    return drawable(d)


def rest(d: "Debugger", waits: Callable[[], bool]) -> Situation | None:
    """The whole of a stop that was shown without some numbers; None where somebody waits for something else first."""
    with contextlib.suppress(GivenUp), allowing(waits=waits):
        made = drawable(d)
        d.lacks = False
        return made
    return None


def situation(d: "Debugger") -> Situation:
    """The stop that is looked at, as a value; where nobody draws it, with no more than is told in words."""
    stop, make = d.stop, describe if d.drawn else words
    made = make(stop, d.title, d.seed, stop.optimizer or d.program.optimizer(), d.known.parameters(), d.reason)
    frame = d.selected_frame() if d.drawn else None
    shown = made.source
    if frame is not None:
        shown = source(d.trace, Location(frame.f_code.co_filename, frame.f_lineno), frame.f_code.co_name)
    return replace(
        made,
        explanation=(*d.notes, *_damage(d, stop), *made.explanation),
        source=shown,
        displays=_displays(d) if d.displays else (),
        names=d.known.aliases(d.focus) if d.focus else (),
        newest=d.present,
        recorded=d.recorded,
        axes=stop.axes,
        printed=d.trace.printed.count(stop.position),
    )


def _damage(d: "Debugger", stop: Stop) -> tuple[str, ...]:
    """What can't be read of a recording, as far as it matters at this stop."""
    found = d.trace.news(stop.position)
    if d.recorded and any(isinstance(e, Damaged) for e in stop.events) and not isinstance(stop.event, Damaged):
        found += ("An event of this iteration can't be read: what is told here may lack it.",)
    return found


def drawable(d: "Debugger") -> Situation:
    """The same; what failed to be drawn says so."""
    try:
        return situation(d)
    except Exception as error:
        position = d.stop.position
        made = undrawable(d.trace[position], position, error, d.title, d.reason)
        return replace(made, seed=d.seed, focus=d.focus, newest=d.present, recorded=d.recorded)


def displayed(d: "Debugger", text: str) -> str:
    """An expression and its value, on one line."""
    try:
        return f"{text} = {' '.join(d.program.show(d.evaluate(text)).split())}"
    except Later:
        return f"{text} = {SOON}"
    except CommandError as e:
        return str(e)


def _displays(d: "Debugger") -> tuple[str, ...]:
    """What is displayed at each stop; without values where others were left out already."""
    return tuple([f"{text} = {SOON}" if lacking() else displayed(d, text) for text in d.displays.values()])


def stops(d: "Debugger") -> Stops:
    """All that may stop the program, and all that is displayed where it stops."""
    marks = [Mark("breakpoint", b.number, b.line(), b.enabled) for b in d.breakpoints]
    marks += [Mark("display", n, f"{n}: {displayed(d, text)}") for n, text in d.displays.items()]
    return Stops(d.stop.position, tuple(marks))
