"""A trace in memory, or of another file, is written to a file as a whole."""

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from backpropdbg.errors import RecordingError
from backpropdbg.events import Event, handles
from backpropdbg.held import Facts, Held, Packed, Stored
from backpropdbg.keep import EVERYTHING
from backpropdbg.trace.file import Names
from backpropdbg.trace.format import About, Known
from backpropdbg.trace.history import Trace
from backpropdbg.trace.lay import versions
from backpropdbg.trace.writer import InFile, Writer


class _Copier(Writer):
    """Leaves the tensors as they are: what they are in the file, it knows itself."""

    def __init__(self, path: str, about: About, say: Callable[[str], None], known: Known) -> None:
        self._seen: dict[int, tuple[Held, InFile]] = {}
        super().__init__(path, about, EVERYTHING, say, lambda: known, _unread, _unmeasured)

    def add(self, position: int, event: Event, shown: Iterable[Held]) -> None:
        """Take an event, and the tensors that it shows."""
        fresh = [held for held in shown if id(held) not in self._seen]
        self._seen.update({id(held): (held, InFile(self)) for held in fresh})
        self._put(position, event, sum(held.nbytes for held in fresh))

    def _marks(self) -> Callable[[Held], Any]:
        return lambda held: self._seen[id(held)][1] if id(held) in self._seen else None


def save(trace: Trace, path: str, names: Names, sure: tuple[str, ...], known: Known) -> None:
    """Write a trace; its first event gets the position 0. Raises RecordingError.

    names: of the parameters. sure: those that nothing moved after the last event. known: what else there is.
    """
    failed: list[str] = []
    about = About("record()", command=tuple(sys.argv), versions=versions(), sure=sure)
    file = _Copier(os.path.abspath(path), about, failed.append, known)
    file.learn(0, names)
    for position in range(trace.first, len(trace)):
        event = trace[position]
        file.add(position - trace.first, event, handles(event))
    file.close("the block ended", None)
    if failed:
        raise RecordingError(failed[0])


def _unread(stored: Stored) -> Held:
    """Nobody reads from a file that is only written."""
    return Held()


def _unmeasured(tensors: Sequence[Packed]) -> list[Facts]:
    """Of tensors that are all kept nothing needs to be measured."""
    return [Facts(packed.form) for packed in tensors]
