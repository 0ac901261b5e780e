"""Labels of things that live elsewhere: what is known of a leaf, of a module."""

import weakref
from typing import Any, Generic, NamedTuple, TypeVar

from torch import Tensor

V = TypeVar("V")


class Labels(Generic[V]):
    """What is known of things, by identity (a module may have no hash); it keeps no thing alive."""

    def __init__(self) -> None:
        self.found: dict[int, tuple[V, weakref.ref[Any]]] = {}
        self._full = 64

    def get(self, thing: object) -> V | None:
        known = self.found.get(id(thing))
        return known[0] if known is not None and known[1]() is thing else None

    def set(self, thing: object, label: V) -> None:
        if len(self.found) >= self._full:
            self.found = {key: pair for key, pair in self.found.items() if pair[1]() is not None}
            self._full = 64 + 2 * len(self.found)
        self.found[id(thing)] = (label, weakref.ref(thing))

    def drop(self, thing: object) -> None:
        del self.found[id(thing)]

    def pairs(self) -> list[tuple[V, Any]]:
        """Those that are alive, in the order in which they were labelled."""
        return [(label, thing) for label, reference in self.found.values() if (thing := reference()) is not None]


class Known(NamedTuple):
    """A leaf: its names, the first of which stands for it; what else finds it; whether a module gave them."""

    names: tuple[str, ...]
    also: tuple[str, ...]
    tracked: bool
    given: bool


class Bearer(NamedTuple):
    """A leaf that may be gone by now, with its names."""

    known: Known
    shape: tuple[int, ...]
    leaf: weakref.ref[Tensor]
