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
        self._found: dict[object, list[tuple[Breakpoint, bool]]] = {}

    def of(self, d: "Debugger", event: Event) -> list[tuple[Breakpoint, bool]]:
        """The breakpoints, enabled or not, that are about such an event, and whether each such event is at theirs.

        Watchpoints are about each event.
        """
        names = d.known.names
        if self._names is not names or self._breakpoints != d.breakpoints:
            self._names, self._breakpoints = names, list(d.breakpoints)
            self._found.clear()
        key = (event.use.parameter, event.use.module) if isinstance(event, BackwardUse) else type(event)
        found = self._found.get(key)
        if found is None:
            names_of = d.known.aliases
            about = [b for b in d.breakpoints if b.watch is not None or b.location.concerns(event, names_of)]
            found = self._found[key] = [(b, b.watch is None and b.location.is_at_all(event, names_of)) for b in about]
        return found
