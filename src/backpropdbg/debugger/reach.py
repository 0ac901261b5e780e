"""Which breakpoints may stop at an event, by what it names: at most events it is none, and that is remembered."""

from typing import TYPE_CHECKING

from backpropdbg.debugger.breakpoints import Breakpoint
from backpropdbg.events import BackwardUse, Event

if TYPE_CHECKING:
    from backpropdbg.debugger.core import Debugger


class Reach:
    """What was found out, as long as there are the same breakpoints and parameters are called the same."""

    def __init__(self) -> None:
        self._breakpoints: list[Breakpoint] = []
        self._names: object = None
        self._found: dict[object, tuple[Breakpoint, ...]] = {}

    def of(self, d: "Debugger", event: Event) -> tuple[Breakpoint, ...]:
        """The breakpoints, enabled or not, that are about such an event; watchpoints are about each."""
        names = d.trace.names
        if self._names is not names or self._breakpoints != d.breakpoints:
            self._names, self._breakpoints = names, list(d.breakpoints)
            self._found.clear()
        key = (event.use.parameter, event.use.module) if isinstance(event, BackwardUse) else type(event)
        found = self._found.get(key)
        if found is None:
            about = [b for b in d.breakpoints if b.watch is not None or b.location.concerns(event, d.known.aliases)]
            found = self._found[key] = tuple(about)
        return found
