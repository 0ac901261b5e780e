"""Hear what the program prints through Python's own streams. Nothing else about them changes."""

import os
import sys
from collections.abc import Callable
from typing import Any

from backpropdbg.trace.printed import Printed


def tee(note: Callable[[str, str], object]) -> Callable[[], None]:
    """Tell `note` of each (stream, text) from now on, in whatever thread; return what ends that.

    A forked worker tells nothing. What C code or another process writes to the same file is not heard.
    """
    ends = [_hear(name, note) for name in ("stdout", "stderr")]

    def end_all() -> None:
        for end in ends:
            end()

    return end_all


def _hear(name: str, note: Callable[[str, str], object]) -> Callable[[], object]:
    stream: Any = getattr(sys, name)
    own = getattr(stream, "__dict__", None)
    if own is None or "write" in own:
        return lambda: None
    pid, write = os.getpid(), stream.write

    def written(text: str) -> int:
        count: int = write(text)
        if os.getpid() == pid:
            note(name, text)
        return count

    stream.write = written
    return lambda: own.pop("write", None)


class Heard:
    """What the program prints: before torch is there, it does so before the first event."""

    def __init__(self) -> None:
        self._printed = Printed()
        self._trace: Any = None
        self.end = tee(self._note)

    def _note(self, stream: str, text: str) -> None:
        if self._trace is None:
            self._printed.note(0, stream, text)
        else:
            self._trace.note_output(stream, text)

    def by(self, trace: Any) -> None:
        """From now on the trace hears it."""
        trace.hear(self._printed)
        self._trace = trace
