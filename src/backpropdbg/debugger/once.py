"""A value that is found when it is asked for, and then remembered."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")


class once(Generic[T]):
    """As `functools.cached_property`, which takes a lock before Python 3.12, and ten times as long."""

    def __init__(self, find: Callable[[Any], T]) -> None:
        self._find = find
        self.__doc__ = find.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, thing: None, owner: type) -> "once[T]": ...
    @overload
    def __get__(self, thing: object, owner: type) -> T: ...
    def __get__(self, thing: Any, owner: type) -> "once[T] | T":
        if thing is None:
            return self
        found = thing.__dict__[self._name] = self._find(thing)
        return found
