"""Which of the frames on the stack is the user's."""

import inspect
import os
import sys
from types import FrameType
from typing import Any

import torch

from backpropdbg.events import Location

_TORCH = os.path.dirname(torch.__file__) + os.sep
_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_DEMO = os.path.join(_OURS, "demo") + os.sep


class _Lines(dict[int, Location]):
    """The lines of a file that were asked for: one object each, however many events tell of it."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __missing__(self, line: int) -> Location:
        self[line] = found = Location(self._path, line)
        return found


class _Files(dict[str, _Lines | None]):
    """The files of the user's by path; None for those of torch, ours (the demo is the user's) and the interpreter."""

    def __missing__(self, path: str) -> _Lines | None:
        theirs = path.startswith(_DEMO) or not path.startswith((_TORCH, _OURS, "<frozen", "<eval_with_key>"))
        self[path] = lines = _Lines(path) if theirs else None
        return lines


_files = _Files()


def is_users(path: str) -> bool:
    """True for a file of the user's."""
    return _files[path] is not None


def user_frame(start: FrameType | None = None) -> FrameType | None:
    """Return the innermost frame of the user's program in this thread; start: where to begin, if not here."""
    frame: FrameType | None = start or sys._getframe(1)
    files = _files
    while frame is not None and files[frame.f_code.co_filename] is None:
        frame = frame.f_back
    return frame


def locals_of(frame: FrameType) -> dict[str, Any]:
    """A copy of a frame's variables that the frame does not keep."""
    found = frame.f_locals
    copied = dict(found)
    # Before Python 3.13 a function's frame keeps what it hands out, and with it a loss and its graph: not where we
    # alone asked for it.
    if frame.f_code.co_flags & inspect.CO_OPTIMIZED and type(found) is dict and sys.getrefcount(found) == 3:
        found.clear()
    return copied


def user_location(start: FrameType | None = None) -> Location | None:
    """Return file and line of `user_frame()`."""
    frame: FrameType | None = start or sys._getframe(1)
    files = _files
    while frame is not None:
        lines = files[frame.f_code.co_filename]
        if lines is not None:
            return lines[frame.f_lineno]
        frame = frame.f_back
    return None


def user_stack() -> list[FrameType]:
    """Return the user's frames, innermost first."""
    found, frame = [], user_frame()
    while frame is not None:
        if is_users(frame.f_code.co_filename) and not frame.f_code.co_filename.endswith("runpy.py"):
            found.append(frame)
        frame = frame.f_back
    return found
