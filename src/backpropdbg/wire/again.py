"""What is said at each start of a program: what was asked for beforehand, and what the user has set since."""

import re
from collections import deque
from collections.abc import Sequence

from backpropdbg.situation import Situation
from backpropdbg.wire.session import Body

_SET = re.compile(
    r"(b|break|tbreak|condition|ignore|enable|disable|clear|focus|element|axes|watch|display|undisplay|track"
    r"|mute|unmute|commands|graph nodes|graph modules)\b"
)
_OUTDATES = {"focus": ("focus", "element", "axes"), "element": ("element",), "axes": ("axes",), "graph": ("graph",)}


class Again:
    """The lines.

    Attributes:
        set: breakpoints and the like, in the order in which they were made.
        first: what is still to be done before the first stop is handed out.
        doing: one of those is being done. repeating: how many of `set` are not answered yet.
        muted: what the last of these said of uses that do not count.
    """

    def __init__(self, first: Sequence[str]) -> None:
        self._wanted = tuple(first)
        self._body = Body()
        self.set: list[str] = []
        self.begin()

    def begin(self, here: Situation | None = None) -> None:
        """The program starts; here: and runs to the event of this stop."""
        self.first = deque(self._wanted)
        self.doing, self.repeating, self.muted = False, len(self.set), ""
        if here is not None:
            self.first.append(f"goto iteration {here.iteration} {here.event} {here.nth}")

    def note(self, line: str, instead: str) -> None:
        """A command succeeded. instead: what to say in its place the next time, "" for itself.

        Every breakpoint counts, the last focus, and the last element of that.
        """
        if self._body.takes(line) or _SET.match(line.strip()):
            line = instead or line.strip()
            outdated = _OUTDATES.get(line.split()[0], ())
            self.set = [*(kept for kept in self.set if kept.split()[0] not in outdated), line]
