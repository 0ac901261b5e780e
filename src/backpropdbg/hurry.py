"""How far numbers may be computed now: all of them, or only those for which nobody has to wait.

What goes through a large tensor says so before (`passing`), and looks up between two stretches (`looking_up`). Where
it is too much for now it raises `Later`, and what was to be told of it is left out until there is time. Where somebody
wants something else meanwhile, all of it is given up.

Example: `with allowing(1000): held.norm()` raises `Later` where the tensor has more than 1,000 elements.
"""

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")
_FEW = 2**13  # elements that take no time


class Later(BaseException):
    """It would take too long now. No failure: whoever catches each Exception must not take it for one."""


class GivenUp(BaseException):
    """Somebody wants something else. No failure either."""


def _nobody() -> bool:
    return False


class Allowed(threading.local):
    """What is allowed in this thread.

    Attributes:
        numbers: how many elements may still be gone through. waits: tells that somebody wants something else.
        lacks: something was left out.
    """

    numbers: float = math.inf
    waits: Callable[[], bool] = staticmethod(_nobody)
    lacks = False


_allowed = Allowed()


def passing(count: int) -> None:
    """Say that so many elements are gone through next. Raises Later where there is no time for that."""
    if count < _FEW:
        return
    if count > _allowed.numbers:
        _allowed.lacks = True
        raise Later
    _allowed.numbers -= count
    looking_up()


def looking_up() -> None:
    """Look whether somebody wants something else. Raises GivenUp then."""
    if _allowed.waits():
        raise GivenUp


@contextmanager
def allowing(numbers: float = math.inf, waits: Callable[[], bool] = _nobody) -> Iterator[Allowed]:
    """Allow no more than this, within. waits: see `Allowed`."""
    before = _allowed.numbers, _allowed.waits, _allowed.lacks
    _allowed.numbers, _allowed.waits, _allowed.lacks = numbers, waits, False
    try:
        yield _allowed
    finally:
        _allowed.numbers, _allowed.waits, _allowed.lacks = before


def lacking() -> bool:
    """True where something was left out already."""
    return _allowed.lacks


def soon(value: Callable[[], T], otherwise: S) -> T | S:
    """Return a value, or what stands for it until there is time to compute it."""
    try:
        return value()
    except Later:
        return otherwise
