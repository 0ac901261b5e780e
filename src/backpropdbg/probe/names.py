"""The names that a program's owner gave to its modules and parameters."""

from collections.abc import Iterator

from torch import Tensor, nn


class Names:
    """Names of modules and parameters, by identity. The first root's names stand as they are; a later root
    whose names would collide is prefixed with its class.
    """

    def __init__(self) -> None:
        self._roots: set[int] = set()
        self._modules: dict[int, str] = {}
        self._kept: list[nn.Module] = []
        self._leaves: dict[int, tuple[str, Tensor]] = {}
        self._taken: set[str] = set()

    def add_root(self, module: nn.Module) -> bool:
        """Learn the names below an outermost module; return False where it was known."""
        if id(module) in self._roots or id(module) in self._modules:
            return False
        self._roots.add(id(module))
        self._kept.append(module)
        found = list(module.named_parameters(remove_duplicate=True))
        clash = any(name in self._taken for name, _ in found)
        prefix = self._free(type(module).__name__) + "." if clash else ""
        for path, child in module.named_modules():
            self._modules.setdefault(id(child), (prefix + path) or type(module).__name__)
        for name, p in found:
            if id(p) not in self._leaves:
                self._leaves[id(p)] = (prefix + name, p)
                self._taken.add(prefix + name)
        return True

    def _free(self, wish: str) -> str:
        name, n = wish, 1
        while any(taken == name or taken.startswith(name + ".") for taken in self._taken):
            n += 1
            name = f"{wish}{n}"
        return name

    def of(self, leaf: Tensor) -> str:
        """Return the leaf's name; a leaf in no module is named after its shape and the order of its appearance."""
        known = self._leaves.get(id(leaf))
        if known is None:
            shape = "x".join(map(str, leaf.shape)) or "scalar"
            known = (f"leaf{len(self._leaves)}[{shape}]", leaf)
            self._leaves[id(leaf)] = known
            self._taken.add(known[0])
        return known[0]

    def module(self, module: nn.Module) -> str:
        """Return the module's path; its class name where it belongs to no known root."""
        return self._modules.get(id(module)) or type(module).__name__

    def parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Every known leaf that requires a gradient, in the owner's order."""
        yield from (pair for pair in self._leaves.values() if pair[1].requires_grad)

    def all(self) -> tuple[str, ...]:
        """Names of all parameters."""
        return tuple(name for name, _ in self.parameters())

    def modules(self) -> tuple[str, ...]:
        """Paths of all modules."""
        return tuple(dict.fromkeys(self._modules.values()))
