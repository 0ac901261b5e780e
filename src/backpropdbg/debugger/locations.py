"""LOC: where a breakpoint or `until` stops.

`[forward|backward|accumulate|update] [TARGET[#N]]`, `iteration N`, `nan`.
"""

import difflib
import math
import re
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from functools import lru_cache

from msgspec import Struct

from backpropdbg.errors import CommandError
from backpropdbg.events import Accumulated, BackwardUse, Event, ForwardUse, Held, LossComputed, StepFinished

Aliases = Callable[[str], tuple[str, ...]]
_MISTYPED = 0.75
PHASES = ("forward", "backward", "accumulate", "update")
_EVENTS: dict[str, tuple[type, ...]] = {
    "": (ForwardUse, BackwardUse, Accumulated),
    "forward": (ForwardUse,),
    "backward": (BackwardUse,),
    "accumulate": (Accumulated,),
    "update": (StepFinished,),
}


class Location(Struct, frozen=True):
    """A parsed LOC. phase "" means any; number 0 means every use."""

    text: str
    phase: str = ""
    target: str = ""
    number: int = 0
    iteration: int = 0
    nan: bool = False

    @property
    def target_text(self) -> str:
        """TARGET[#N], as it is written."""
        return f"{self.target}#{self.number}" if self.number else self.target

    def concerns(self, event: Event, aliases: Aliases) -> bool:
        """False where such an event, of whatever use and call, is never at this place."""
        if self.nan or self.iteration:
            return True
        if isinstance(event, BackwardUse) and self.phase in ("", "backward"):
            return any(_meant(self.target, aliases(event.use.parameter), event.use.module))
        return type(event) in _EVENTS[self.phase]

    def is_at_all(self, event: Event, aliases: Aliases) -> bool:
        """True where every such event, of whatever use and call, is at this place: no use is asked for."""
        if self.nan or self.iteration or self.number or not isinstance(event, BackwardUse):
            return False
        by_name, _, within = _meant(self.target, aliases(event.use.parameter), event.use.module)
        return self.phase in ("", "backward") and (by_name or within)

    def matches(self, event: Event, focus: str = "", aliases: Aliases = lambda name: (name,)) -> bool:
        """True where the program has reached this place with `event`.

        focus: where a module with this parameter is meant, it is its use that counts, not that of its bias or weight.
        aliases: all names of a parameter.
        """
        if self.nan:
            return bool(not_finite(event))
        if self.iteration:
            return event.iteration == self.iteration
        match event:
            case BackwardUse(use=use) if self.phase in ("", "backward"):
                number = self.number
                by_name, by_module, within = _meant(self.target, aliases(use.parameter), use.module)
                if (within and not number) or (by_name and number in (0, use.number)):
                    return True
                if not by_module or number not in (0, use.call):
                    return False
                return use.parameter == focus or use.module not in map(_owner, aliases(focus))
            case ForwardUse() if self.phase in ("", "forward"):
                names = [(event.module, event.call)]
                for parameter, number in zip(event.parameters, event.numbers, strict=True):
                    names += [(name, number) for name in aliases(parameter)]
                return self._holds(event.module) or any(self._is(name, number) for name, number in names)
            case Accumulated() if self.phase == "accumulate" or (not self.phase and not self.number):
                return self._is_one_of(aliases(event.parameter))
            case StepFinished() if self.phase == "update":
                return not self.target or any(self._is_one_of(aliases(name)) for name in event.stepped)
        return False

    def _is_one_of(self, names: Iterable[str]) -> bool:
        """True for a parameter with these names, or for the module that has it."""
        return any(self._is(name, 0) or self._is(_owner(name), 0) or self._holds(_owner(name)) for name in names)

    def _holds(self, name: str) -> bool:
        """True where the target is a module that has the one with this name somewhere in it."""
        return not self.number and _is_within(name, self.target)

    def _is(self, name: str, number: int) -> bool:
        if self.number and number != self.number:
            return False
        return not self.target or named(name, self.target)


def named(name: str, glob: str) -> bool:
    """True where a glob means this name; brackets of a name, as in `ws[1]`, stand for themselves."""
    return name == glob or fnmatchcase(name, glob)


def _is_within(name: str, module: str) -> bool:
    return bool(module) and name.startswith(f"{module}.")


@lru_cache(maxsize=4096)
def _meant(target: str, names: tuple[str, ...], module: str) -> tuple[bool, bool, bool]:
    """Whether a target means a parameter with these names, a module, or one that has that module somewhere in it.

    It is remembered: it is asked at every use of every iteration.
    """
    parameter = not target or any(named(name, target) for name in names)
    return parameter, bool(module) and (not target or named(module, target)), _is_within(module, target)


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


def _owner(parameter: str) -> str:
    """The path of the module that has a parameter."""
    return parameter.rpartition(".")[0]


BRING_NUMBERS = {BackwardUse, ForwardUse, LossComputed}


def not_finite(event: Event) -> str:
    """What is not finite of what an event brought: "partial", "output" or "loss"; "" where all is well."""
    what, held = "", None
    match event:
        case BackwardUse():
            what, held = "partial", event.partial
        case ForwardUse():
            what, held = "output", event.output
        case LossComputed():
            what, held = "loss", event.loss
    return what if held is not None and not _finite(held) else ""


def _finite(held: Held) -> bool:
    if held.kept:
        return held.finite()
    size = held.norm()
    return size is None or math.isfinite(size)


def is_named(target: str, known: Iterable[str]) -> bool:
    """True where a target means one of these names."""
    return any(named(name, target) for name in known)


def unknown(target: str, known: Iterable[str]) -> CommandError:
    """The error where a target names nothing that is known."""
    return CommandError(f"no module or parameter {target!r}{suggest(target, known)}")


def resembles(word: str, known: Iterable[str]) -> bool:
    """True where a word is nearly a name: mistyped, rather than the name of something else."""
    return bool(difflib.get_close_matches(word, list(known), 1, _MISTYPED))


def suggest(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean …?" or a list of what there is."""
    names = list(dict.fromkeys(known))
    close = difflib.get_close_matches(word, names, 1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(names[:12])}{_more(names, 12)}"


def _more(names: list[str], shown: int) -> str:
    return f" and {len(names) - shown} more" if len(names) > shown else ""
