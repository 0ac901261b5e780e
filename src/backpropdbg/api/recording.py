"""`record()`: what happened to the gradients inside a `with` block, as tensors. torch is imported on entering it."""

import difflib
import os
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from backpropdbg.api.recorded import Ledger, Update, updates_of
from backpropdbg.child.tracebacks import clean
from backpropdbg.errors import RecordingError, UsageError
from backpropdbg.events import (
    Anomaly,
    BackwardFinished,
    BackwardStarted,
    Event,
    ForwardUse,
    IterationStarted,
    LossComputed,
    ManualUpdate,
    StepFinished,
    StepStarted,
)
from backpropdbg.trace.format import Known
from backpropdbg.trace.history import Trace
from backpropdbg.trace.opening import Opened
from backpropdbg.trace.saving import save

_EVENTFUL = (ForwardUse, LossComputed, BackwardStarted, StepStarted, ManualUpdate)
_MOST_NAMES = 12


class Recorder:
    """The context manager that `record()` returns. Each time that it is entered it makes a new recording."""

    def __init__(self, model: Any, optimizer: Any, track: str | Sequence[str], keep: int) -> None:
        if model is not None and not callable(getattr(model, "named_parameters", None)):
            raise UsageError(f"record(model=…) takes a torch.nn.Module, not {_kind(model)}")
        if optimizer is not None and not isinstance(getattr(optimizer, "param_groups", None), list):
            raise UsageError(f"record(optimizer=…) takes a torch.optim.Optimizer, not {_kind(optimizer)}")
        globs = (track,) if isinstance(track, str) else tuple(track)
        if not all(isinstance(glob, str) and glob for glob in globs):
            raise UsageError(f"record(track=…) takes names or globs, not {track!r}")
        if not isinstance(keep, int) or keep < 0:
            raise UsageError(f"record(keep=…) takes a number of bytes, not {keep!r}")
        self._model, self._optimizer, self._track, self._keep = model, optimizer, globs, keep
        self._running: list[Running] = []

    def __enter__(self) -> "Recording":
        recording = Running(self._model, self._optimizer, self._track, self._keep)
        self._running.append(recording)
        return recording

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.pop()._stop()
        if error is not None:
            clean(error)


class Recording:
    """What was recorded so far. It can be read inside of the block and after it, and from a file."""

    def __init__(self, trace: Trace, aliases: dict[str, tuple[str, ...]], sure: frozenset[str]) -> None:
        self._trace, self._aliases = trace, aliases
        self._sure = sure  # compared with their copies when the block was left
        self._lock = threading.RLock()
        self._found: tuple[int, tuple[Iteration, ...]] | None = None

    @property
    def iterations(self) -> tuple["Iteration", ...]:
        """Those in which something happened, as far as they are still known."""
        with self._lock:
            if self._found is None or self._found[0] != len(self._trace):
                self._found = len(self._trace), self._find_iterations()
            return self._found[1]

    def _find_iterations(self) -> tuple["Iteration", ...]:
        trace = self._trace
        numbers = dict.fromkeys(number for _, number in trace.find(_EVENTFUL))
        backward, step = (trace.find((kind,))[-1:] for kind in (BackwardFinished, StepFinished))
        unsure = None
        if backward > step and backward[0][1] == trace.iterations()[-1]:
            unsure = backward[0][1]  # whoever moves weights by hand may just have done so
        return tuple([self._iteration(n, self._sure if n == unsure else None) for n in numbers])

    def _iteration(self, number: int, sure: frozenset[str] | None) -> "Iteration":
        events = tuple(self._trace.iteration(number))
        return Iteration(number, lambda: events, self._aliases, sure)

    def iteration(self, number: int) -> "Iteration":
        """One of them, from 1. Raises RecordingError where it is not there."""
        found = self.iterations
        for iteration in found:
            if iteration.number == number:
                return iteration
        there = "nothing was recorded" if not found else f"there are {_ranges([i.number for i in found])}"
        raise RecordingError(f"no iteration {number!r}: {there}")

    @property
    def problems(self) -> tuple[str, ...]:
        """Failures of our own, one line each: what they concern may be missing."""
        with self._lock:
            events = [self._trace[n] for n, _ in self._trace.find((Anomaly,))]
        return tuple([event.error for event in events if isinstance(event, Anomaly)])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file, which `open_trace` and `backpropdbg open` read.

        A recording that is there is replaced, nothing else is. Raises RecordingError.
        """
        with self._lock:
            save(self._trace, os.fspath(path), self._aliases, tuple(sorted(self._sure)), self._known())

    def page(self, focus: str = "") -> str:
        """Return an HTML page that steps through what happened to one parameter.

        Args:
            focus: its name; without one, the parameter that was used most in one backward.
        Raises: RecordingError where no such parameter was recorded.
        """
        from backpropdbg.pages.page import page

        return page(self._film(focus))

    def _repr_html_(self) -> str:
        from backpropdbg.api.notebook import inline

        return inline(self._film(""))

    def _film(self, focus: str) -> Any:
        from backpropdbg.api.notebook import film

        with self._lock:
            name = _find(self._aliases, focus) if focus else ""
            return film(self._trace, self._aliases, self._title(), name)

    def _title(self) -> str:
        return "recording"

    def _known(self) -> Known:
        return Known(self._aliases)


class Saved(Recording):
    """One that was read from a file."""

    def __init__(self, trace: Opened) -> None:
        last = trace.known(len(trace) - 1)
        super().__init__(trace, last.names, frozenset(trace.about.sure))
        self._last = last
        self._named = trace.about.title

    def _title(self) -> str:
        return self._named

    def _known(self) -> Known:
        return self._last

    def _iteration(self, number: int, sure: frozenset[str] | None) -> "Iteration":
        return Iteration(number, lambda: self._trace.iteration(number), self._aliases, sure)


class Running(Recording):
    """What a block records: hooks are in place until it is left."""

    def __init__(self, model: Any, optimizer: Any, track: tuple[str, ...], keep: int) -> None:
        from backpropdbg.probe.hooks import Policy, Probe
        from backpropdbg.probe.known import meet

        super().__init__(Trace(keep, statistics=False), {}, frozenset())
        self._probe: Any = Probe(self._append, Policy(track=track, graph=False))
        meet(self._probe, model, optimizer)
        self._probe.computed.settle()
        if track and model is not None and not (self._probe.names.all() or self._probe.computed.active):
            known = _some([name for name, _ in model.named_parameters()])
            name = type(model).__name__
            raise UsageError(f"record(track={list(track)}) matches nothing in {name}; there are: {known}")
        self._probe.install()

    def _append(self, event: Event) -> None:
        with self._lock:
            self._trace.append(event)
            if isinstance(event, (IterationStarted, BackwardStarted, StepStarted)):
                self._learn_names(event)

    def _learn_names(self, event: IterationStarted | BackwardStarted | StepStarted) -> None:
        """Remember them while their tensors live."""
        names = self._probe.names
        more = event.carried if isinstance(event, BackwardStarted) else event.grads
        followed = event.computed if isinstance(event, (IterationStarted, BackwardStarted)) else ()
        for name in dict.fromkeys((*names.all(), *more, *followed)):
            if name not in self._aliases:
                self._aliases[name] = names.aliases(name)

    def _stop(self) -> None:
        """The block is left: take every hook out."""
        from backpropdbg.probe.known import last_look

        try:
            if last_look(self._probe):
                self._sure, self._found = frozenset(self._probe.names.all()), None
        finally:
            self._probe.remove()

    def _known(self) -> Known:
        from backpropdbg.probe.optimizers import summary

        names, optimizer = self._probe.names, self._probe.optimizer
        shown = "" if optimizer is None else summary(optimizer)
        return Known(self._aliases, names.modules(), names.frozen(), shown)


class Iteration:
    """One iteration of the training loop."""

    def __init__(
        self,
        number: int,
        load: Callable[[], Sequence[Event]],
        aliases: dict[str, tuple[str, ...]],
        sure: frozenset[str] | None,
    ) -> None:
        self.number = number
        self._load, self._aliases, self._sure = load, aliases, sure

    @property
    def _events(self) -> Sequence[Event]:
        return self._load()

    def __repr__(self) -> str:
        return f"<iteration {self.number}: {len(self._events)} events>"

    @property
    def parameters(self) -> tuple[str, ...]:
        """Their canonical names."""
        return tuple(self._aliases)

    def ledger(self, name: str) -> Ledger:
        """The ledger of a parameter, by any of its names. Raises RecordingError where it is not known."""
        canonical = _find(self._aliases, name)
        return Ledger(canonical, self._aliases[canonical], self._events)

    def update(self, name: str) -> Update:
        """The update of a parameter, by any of its names. Raises RecordingError where it is not known."""
        canonical = _find(self._aliases, name)
        return Update(canonical, self._events, self._sure is None or canonical in self._sure)

    def updates(self, name: str) -> tuple[Update, ...]:
        """Its updates one by one, where several optimizers have it, or one steps twice. Raises RecordingError."""
        canonical = _find(self._aliases, name)
        return updates_of(canonical, self._events, self._sure is None or canonical in self._sure)


def _find(aliases: dict[str, tuple[str, ...]], name: str) -> str:
    """The parameter that has this name, tied or not. Raises RecordingError."""
    for canonical, names in aliases.items():
        if name == canonical or name in names:
            return canonical
    every = list(dict.fromkeys(n for names in aliases.values() for n in names))
    close = difflib.get_close_matches(str(name), every, 1)
    near = f" (is it {close[0]!r}?)" if close else ""
    raise RecordingError(f"no parameter {name!r} was recorded{near}; there are: {_some(every) or 'none'}")


def _kind(value: object) -> str:
    return repr(value) if isinstance(value, (str, int, float)) else f"{type(value).__name__}"


def _some(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _ranges(numbers: list[int]) -> str:
    """Say which iterations there are: "1 to 3, 5"."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]} to {part[-1]}" for part in parts)
