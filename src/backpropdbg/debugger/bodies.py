"""What breakpoints do where they stop: the lines between `commands N` and `end`."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from backpropdbg.debugger.breakpoints import Breakpoint

if TYPE_CHECKING:
    from backpropdbg.debugger.core import Debugger


def run(d: "Debugger", breaks: Iterable[Breakpoint]) -> bool:
    """Run what breakpoints have to do; True where one of their commands lets the program run on.

    One that walks through what is recorded does not: the stop is there, then.
    """
    for b in breaks:
        for line in b.commands:
            if d.commands.goes_on(line):
                return True
            result = d.execute(line)
            if result.text:
                d.say(result.text if result.ok else f"{b.name}, {line}: {result.text}")
            if not result.ok:
                d.notes.append(f"{b.name}, {line}: {result.text}")
                return False
            if result.moves:
                return not d.walks
    return False
