"""Act when the program has imported a module: it may want to set its environment up before that."""

import importlib.machinery
import sys
import types
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import importlib.abc


def when_imported(name: str, act: Callable[[], object]) -> Callable[[], None]:
    """Call `act` right after the import of a top-level module, in the thread that imports it; now, if it is imported.

    Returns what calls that off. Example: `when_imported("torch", install)`.
    """
    if name in sys.modules:
        act()
        return lambda: None
    finder = _Finder(name, act)
    sys.meta_path.insert(0, finder)
    return finder.call_off


class _Finder:
    """Finds one module as the others do, and adds to what its loader does."""

    def __init__(self, name: str, act: Callable[[], object]) -> None:
        self._name, self._act = name, act

    def call_off(self) -> None:
        """Let the module be imported without us."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find the module that we wait for, none else."""
        if fullname != self._name:
            return None
        for finder in [f for f in sys.meta_path if f is not self]:
            find = getattr(finder, "find_spec", None)
            spec: importlib.machinery.ModuleSpec | None = find(fullname, path, target) if find is not None else None
            if spec is not None:
                if spec.loader is not None:
                    self._watch(spec.loader)
                return spec
        return None

    def _watch(self, loader: "importlib.abc.Loader") -> None:
        original = loader.exec_module

        def exec_module(module: types.ModuleType) -> None:
            original(module)
            del loader.exec_module  # the instance's: the loader is itself again
            self.call_off()
            self._act()

        loader.exec_module = exec_module  # type: ignore[method-assign]
