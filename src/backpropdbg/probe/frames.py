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


class _Users(dict[str, bool]):
    """By path, whether a file is the user's: neither torch's, ours (the demo is the user's), nor the interpreter's."""

    def __missing__(self, path: str) -> bool:
        theirs = path.startswith(_DEMO) or not path.startswith((_TORCH, _OURS, "<frozen", "<eval_with_key>"))
        self[path] = theirs
        return theirs


_users = _Users()


def is_users(path: str) -> bool:
    """True for a file of the user's."""
    return _users[path]


def user_frame(start: FrameType | None = None) -> FrameType | None:
    """Return the innermost frame of the user's program in this thread; start: where to begin, if not here."""
    frame: FrameType | None = start or sys._getframe(1)
    users = _users
    while frame is not None and not users[frame.f_code.co_filename]:
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
    frame = user_frame(start)
    return None if frame is None else Location(frame.f_code.co_filename, frame.f_lineno)


def user_stack() -> list[FrameType]:
    """Return the user's frames, innermost first."""
    found, frame = [], user_frame()
    while frame is not None:
        if is_users(frame.f_code.co_filename) and not frame.f_code.co_filename.endswith("runpy.py"):
            found.append(frame)
        frame = frame.f_back
    return found
