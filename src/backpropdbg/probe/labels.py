"""Labels of things that live elsewhere: what is known of a leaf, of a module."""

import weakref
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

from torch import Tensor

V = TypeVar("V")


class Labels(Generic[V]):
    """What is known of things, by identity (a module may have no hash); it keeps no thing alive."""

    def __init__(self) -> None:
        self.found: dict[int, tuple[V, weakref.ref[Any]]] = {}

    def get(self, thing: object) -> V | None:
        known = self.found.get(id(thing))
        return known[0] if known is not None else None

    def set(self, thing: object, label: V) -> None:
        key = id(thing)  # another thing gets it only after this one is gone, and with it what is known of it
        self.found[key] = (label, weakref.ref(thing, partial(self.found.pop, key)))

    def drop(self, thing: object) -> None:
        del self.found[id(thing)]

    def pairs(self) -> list[tuple[V, Any]]:
        """Those that are alive, in the order in which they were labelled."""
        found = list(self.found.values())  # a thing may die meanwhile
        return [(label, thing) for label, reference in found if (thing := reference()) is not None]


class Known(NamedTuple):
    """A leaf: its names, the first of which stands for it; what else finds it; whether a module gave them."""

    names: tuple[str, ...]
    also: tuple[str, ...]
    tracked: bool
    given: bool


class Own(NamedTuple):
    """What a module has for parameters of its own, and the identities of all that is in their place, None too."""

    parameters: dict[str, weakref.ref[Tensor]]
    identities: list[int]


class Bearer(NamedTuple):
    """A leaf that may be gone by now, with its names."""

    known: Known
    shape: tuple[int, ...]
    leaf: weakref.ref[Tensor]
