"""LOC: where a breakpoint or `until` stops.

`[forward|backward|accumulate|update] [TARGET[#N]]`, `iteration N`, `nan`.
"""

import difflib
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from msgspec import Struct

from backpropdbg.errors import CommandError
from backpropdbg.events import Accumulated, BackwardUse, Event, ForwardUse, LossComputed, StepFinished

PHASES = ("forward", "backward", "accumulate", "update")


class Location(Struct, frozen=True):
    """A parsed LOC. phase "" means any; number 0 means every use."""

    text: str
    phase: str = ""
    target: str = ""
    number: int = 0
    iteration: int = 0
    nan: bool = False

    def matches(self, event: Event, focus: str = "") -> bool:
        """True where the program has reached this place with `event`.

        focus: where a module with this parameter is meant, it is its use that counts, not that of its bias or weight.
        """
        if self.nan:
            return (isinstance(event, BackwardUse) and event.partial is not None and not event.partial.finite()) or (
                isinstance(event, LossComputed) and not event.loss.finite()
            )
        if self.iteration:
            return event.iteration == self.iteration
        match event:
            case ForwardUse() if self.phase in ("", "forward"):
                names = [(event.module, event.call), *zip(event.parameters, event.numbers, strict=True)]
                return any(self._is(name, number) for name, number in names)
            case BackwardUse(use=use) if self.phase in ("", "backward"):
                if self._is(use.parameter, use.number):
                    return True
                meant = use.parameter == focus or focus.rpartition(".")[0] != use.module
                return bool(use.module) and meant and self._is(use.module, use.call)
            case Accumulated() if self.phase == "accumulate" or (not self.phase and not self.number):
                return self._is(event.parameter, 0) or self._is(event.parameter.rpartition(".")[0], 0)
            case StepFinished() if self.phase == "update":
                return not self.target or any(self._is(n, 0) or self._is(n.rpartition(".")[0], 0) for n in event.after)
        return False

    def _is(self, name: str, number: int) -> bool:
        if self.number and number != self.number:
            return False
        return not self.target or fnmatchcase(name, self.target)


def parse_location(text: str) -> Location:
    """Read a LOC. Raises CommandError that names what is wrong."""
    words = text.split()
    if not words:
        raise CommandError("where? a LOC is: [forward|backward|accumulate|update] [TARGET[#N]], iteration N, or nan")
    if words == ["nan"]:
        return Location(text, nan=True)
    if words[0] == "iteration":
        if len(words) != 2 or not words[1].isdecimal() or int(words[1]) < 1:
            raise CommandError(f"{text!r}: iteration takes one whole number from 1, e.g. iteration 7")
        return Location(text, iteration=int(words[1]))
    phase = words.pop(0) if words[0] in PHASES else ""
    if len(words) > 1:
        raise CommandError(f"{text!r} is no LOC: after the phase comes one TARGET[#N]; phases are {', '.join(PHASES)}")
    if not words:
        return Location(text, phase)
    found = re.fullmatch(r"([^#\s]+)(?:#(\d+))?", words[0])
    if found is None or (found[2] is not None and int(found[2]) < 1):
        raise CommandError(f"{words[0]!r} is no TARGET[#N]: N counts uses from 1, e.g. middle_linear#2")
    if found[2] is not None and phase in ("accumulate", "update"):
        raise CommandError(f"{words[0]!r}: {phase} happens once for all uses; leave out #{found[2]}")
    return Location(text, phase, found[1], int(found[2] or 0))


def check_target(location: Location, names: Iterable[str]) -> None:
    """Raise CommandError where the target names nothing that is known."""
    known = [n for n in names if n]
    if location.target and known and not any(fnmatchcase(n, location.target) for n in known):
        raise CommandError(f"no module or parameter {location.target!r}{suggest(location.target, known)}")


def suggest(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean …?" or a list of what there is."""
    names = list(dict.fromkeys(known))
    close = difflib.get_close_matches(word, names, 1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(names[:12])}"
