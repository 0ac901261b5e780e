"""The names that a program's owner gave to its modules and parameters."""

import weakref
from typing import Any, Generic, TypeVar

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

T = TypeVar("T")
_STRANGER = "leaf"


class _Labels(Generic[T]):
    """Names by identity (a module may have no hash); they keep nothing alive."""

    def __init__(self) -> None:
        self.found: dict[int, tuple[str, weakref.ref[Any]]] = {}
        self._full = 64

    def get(self, thing: T) -> str | None:
        known = self.found.get(id(thing))
        return known[0] if known is not None and known[1]() is thing else None

    def set(self, thing: T, name: str) -> None:
        if len(self.found) >= self._full:
            self.found = {key: pair for key, pair in self.found.items() if pair[1]() is not None}
            self._full = 64 + 2 * len(self.found)
        self.found[id(thing)] = (name, weakref.ref(thing))

    def pairs(self) -> list[tuple[str, T]]:
        """Those that are alive, in the order in which they were named."""
        return [(name, thing) for name, reference in self.found.values() if (thing := reference()) is not None]


class Names:
    """Names of modules and parameters. The first root's names stand as they are; a later root whose names would
    collide is prefixed with its class.
    """

    def __init__(self) -> None:
        self._modules: _Labels[nn.Module] = _Labels()
        self._leaves: _Labels[Tensor] = _Labels()
        self._strangers = 0

    def add_root(self, module: nn.Module) -> bool:
        """Learn the names below an outermost module; return False where it was known."""
        if self._modules.get(module) is not None:
            return False
        found = list(module.named_parameters(remove_duplicate=True))
        taken = {name for name, _ in self._leaves.pairs()}
        prefix = _free(type(module).__name__, taken) + "." if any(name in taken for name, _ in found) else ""
        for path, child in module.named_modules():
            if self._modules.get(child) is None:
                self._modules.set(child, (prefix + path).rstrip(".") or type(module).__name__)
        for name, p in found:
            known = self._leaves.get(p)
            if known is None or known.startswith(_STRANGER):
                self._leaves.set(p, prefix + name)
        return True

    def of(self, leaf: Tensor) -> str:
        """Return the leaf's name; a leaf in no module is named after its shape and the order of its appearance."""
        known = self._leaves.get(leaf)
        if known is not None:
            return known
        name = f"{_STRANGER}{self._strangers}[{'x'.join(map(str, leaf.shape)) or 'scalar'}]"
        self._strangers += 1
        self._leaves.set(leaf, name)
        return name

    def module(self, module: nn.Module) -> str:
        """Return the module's path; its class name where it belongs to no known root."""
        return self._modules.get(module) or type(module).__name__

    def parameters(self) -> list[tuple[str, Tensor]]:
        """Every known leaf that requires a gradient, in the owner's order."""
        return [pair for pair in self._leaves.pairs() if pair[1].requires_grad and not is_lazy(pair[1])]

    def all(self) -> tuple[str, ...]:
        """Names of all parameters."""
        return tuple(name for name, _ in self.parameters())

    def modules(self) -> tuple[str, ...]:
        """Paths of all modules."""
        return tuple(dict.fromkeys(name for name, _ in self._modules.pairs()))


def _free(wish: str, taken: set[str]) -> str:
    name, n = wish, 1
    while any(other == name or other.startswith(name + ".") for other in taken):
        n += 1
        name = f"{wish}{n}"
    return name
