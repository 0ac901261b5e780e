"""The names that an expression may use at a stop, and what they stand for."""

import ast
import builtins
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, lru_cache
from operator import attrgetter
from types import FrameType
from typing import TYPE_CHECKING

from backpropdbg.debugger.stop import Stop
from backpropdbg.errors import CommandError
from backpropdbg.events import Accumulated, BackwardUse, Event, ForwardUse, PartialEdited

if TYPE_CHECKING:
    from backpropdbg.debugger.core import Debugger

_NAMES: dict[str, Callable[[Stop], object]] = {
    **{name: attrgetter(name) for name in ("partial", "running", "grad", "weight", "before", "after", "loss")},
    "carried": lambda stop: stop.run.carried if stop.run is not None else None,
    "use": lambda stop: _use(stop),
    "uses": attrgetter("uses"),
    "iteration": attrgetter("event.iteration"),
    "phase": attrgetter("phase"),
    "event": lambda stop: type(stop.event).__name__,
}
# Through these an expression reaches names that it does not spell.
_INDIRECT = {"eval", "exec", "locals", "globals", "vars"}
_ALWAYS_THERE = {*dir(builtins), "torch", "math"} - _INDIRECT


@lru_cache(maxsize=256)
def used_names(text: str) -> frozenset[str]:
    """The names that an expression takes from outside of itself; none where it is no expression."""
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return frozenset()
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    return frozenset(node.id for node in nodes) - {node.id for node in nodes if isinstance(node.ctx, ast.Store)}


def is_ours(name: str) -> bool:
    """True for a name that the trace knows: it means the same when the program has gone on."""
    return name in _NAMES or _is_use(name)


def _is_use(name: object) -> bool:
    return isinstance(name, str) and name[:1] == "A" and name[1:].isdecimal()


@lru_cache(maxsize=256)
def theirs(text: str) -> tuple[str, ...]:
    """The names in an expression that only the program itself could tell, as it was at that moment."""
    return tuple(sorted(name for name in used_names(text) if not is_ours(name) and name not in _ALWAYS_THERE))


class Values(Mapping[str, object]):
    """What the names stand for at a stop, found when an expression asks for it."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop

    @cached_property
    def _partials(self) -> dict[str, object]:
        """Of each use its partial; what fired in several runs is meant as of the newest."""
        found: dict[str, object] = {}
        for run in [*self._stop.ledger.runs, self._stop.run] if self._stop.run is not None else []:
            found |= {f"A{use.number}": None for use in run.uses}
            found |= {f"A{use.number}": partial for use, partial in run.arrived}
        return found

    def __getitem__(self, name: str) -> object:
        read = _NAMES.get(name)
        return read(self._stop) if read is not None else self._partials[name]

    def __contains__(self, name: object) -> bool:
        return name in _NAMES or (_is_use(name) and name in self._partials)

    def __iter__(self) -> Iterator[str]:
        return iter([*_NAMES, *self._partials])

    def __len__(self) -> int:
        return len(_NAMES) + len(self._partials)


def evaluate(d: "Debugger", text: str, stop: Stop, frame: FrameType | None = None) -> object:
    """Value of an expression at a stop. Raises CommandError, also for the program's own names in the past."""
    _refuse_theirs(d, text, stop)
    try:
        return d.program.evaluate(text, Values(stop), frame)
    except CommandError as e:
        raise _about_another(e, stop) from None


def holds(d: "Debugger", text: str, stop: Stop) -> bool:
    """Whether an expression is true at a stop. Raises CommandError as `evaluate` does."""
    if theirs(text):
        _refuse_theirs(d, text, stop)
    try:
        return d.program.holds(text, Values(stop))
    except CommandError as e:
        raise _about_another(e, stop) from None


def _refuse_theirs(d: "Debugger", text: str, stop: Stop) -> None:
    """Raise CommandError for the program's own names in the past: what they were then nobody knows."""
    unknown = theirs(text)
    if unknown and (d.recorded or stop.position < d.present):
        are = "is" if len(unknown) == 1 else "are"
        raise CommandError(f"{text.strip()}: {' and '.join(unknown)} of the program {are} not recorded")


def _about_another(error: CommandError, stop: Stop) -> CommandError:
    """The error, with a word on whose tensors are meant, where another parameter's are here."""
    other = subject(stop.event, stop.focus)
    if other == stop.focus or "None at this stop" not in str(error):
        return error
    return CommandError(f"{error}: names are about {stop.focus}; focus {other} is about what is here")


def _use(stop: Stop) -> int | None:
    match stop.event:
        case BackwardUse(use=use) | PartialEdited(use=use):
            return use.number
        case ForwardUse() as e if e.numbers:
            return e.numbers[e.parameters.index(stop.focus) if stop.focus in e.parameters else 0]
    return None


def subject(event: Event, focus: str) -> str:
    """The parameter whose tensors a condition at this event is about: its own, else the focused one."""
    match event:
        case BackwardUse(use=use) | PartialEdited(use=use):
            return use.parameter
        case Accumulated() as e:
            return e.parameter
        case ForwardUse() as e if e.parameters and focus not in e.parameters:
            return e.parameters[0]
    return focus
