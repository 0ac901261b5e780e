"""Plays commands to a program in this process: what each said, and where the program stopped."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from driving import debugged

from backpropdbg.probe import frames

# Commands run from here are no frames of the program under test, as in the real child process.
frames._files[__file__] = None


def play(
    program: Callable[[], object], *lines: str, focus: str = "", look: Callable[[Any], object] = lambda debugger: None
) -> Any:
    """Debug a program with these commands, then continue to its end.

    Returns `.stops`, as "EVENT where" without the first and the end, `.situations` of these, `.said`, the result of
    each command, and `.spoken`, what the commands of breakpoints printed.
    """
    waiting, seen = list(lines), SimpleNamespace(stops=[], situations=[], said=[], spoken=[])

    def at_stop(situation: Any, debugger: Any) -> str:
        debugger.say = seen.spoken.append
        seen.stops.append(f"{situation.event} {situation.where}")
        seen.situations.append(situation)
        look(debugger)
        while waiting:
            seen.said.append(debugger.execute(waiting.pop(0)))
            if seen.said[-1].moves:
                return str(seen.said[-1].command)
        return "continue"

    with debugged(at_stop, focus=focus) as watched:
        program()
        watched.probe.remove()
        watched.debugger.finish()
    assert not waiting, f"never reached: {waiting}"
    seen.debugger, seen.trace = watched.debugger, watched.trace
    for found in (seen.stops, seen.situations):
        del found[-1:]
        del found[:1]
    return seen


def said(seen: Any) -> list[str]:
    """What each command said; all must succeed."""
    assert all(result.ok for result in seen.said), seen.said
    return [result.text for result in seen.said]
