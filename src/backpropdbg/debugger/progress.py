"""How far a running program has come, or a look through what is recorded: told from another thread, without a lock."""

from typing import TYPE_CHECKING

from backpropdbg.events import BackwardStarted, LossComputed
from backpropdbg.situation import Number, Progress, number

if TYPE_CHECKING:
    from backpropdbg.debugger.core import Debugger

_FAR = 2_000


def progress(d: "Debugger") -> Progress | None:
    """Return how far it is; None at a stop, and before the first event."""
    at, newest = d.looking, d.present
    try:
        if at is not None:
            return Progress(at, newest, d.trace[at].iteration, looking=True)
        if newest < 0 or not d.running:
            return None
        return Progress(newest, newest, d.trace[newest].iteration, _loss(d, newest))
    except Exception:  # what was there a moment ago may be forgotten by now: the next look finds something else
        return None


def _loss(d: "Debugger", newest: int) -> Number | None:
    """The newest loss, where it is not far."""
    for n in range(newest, max(d.trace.first, newest - _FAR), -1):
        event = d.trace[n]
        held = event.loss if isinstance(event, (LossComputed, BackwardStarted)) else None
        if held is not None:
            return number(held.at(())) if held.kept else None
    return None
