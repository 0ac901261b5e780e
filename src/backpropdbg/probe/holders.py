"""Who holds a model or a tensor: the variables of the user's frames, and what lies in them.

Nothing of the program's runs while we look: only the exact types dict, list and tuple are opened, and the instance
dictionaries of other objects, by the interpreter's own descriptors. What one look visits is bounded.
"""

import sys
import sysconfig
from collections.abc import Iterable, Iterator
from itertools import islice
from types import FrameType, GetSetDescriptorType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer

from backpropdbg.probe.frames import locals_of, user_stack

_DEEPEST = 4
_WIDEST = 1000
_MOST_A_VARIABLE = 3000
_MOST = 20_000
_PATHS = 8
_PLAIN = {int, float, complex, bool, str, bytes, bytearray, range, type, type(None), type(sys)}
_LIBRARIES = tuple({sysconfig.get_paths()[kind] for kind in ("stdlib", "platstdlib", "purelib", "platlib")})
_NOTEBOOK = {"In", "Out"}

_bases = type.__dict__["__mro__"].__get__
_namespace = type.__dict__["__dict__"].__get__
_wants_gradient: Any = torch._C.TensorBase.__dict__["requires_grad"].__get__
_is_leaf: Any = torch._C.TensorBase.__dict__["is_leaf"].__get__
Named = list[tuple[str, Any]]


def attributes(thing: object) -> dict[str, Any]:
    """The instance dictionary; empty where there is none, or one that the program's code would have to answer for."""
    for kind in _bases(type(thing)):
        descriptor = _namespace(kind).get("__dict__")
        if descriptor is not None:
            if type(descriptor) is not GetSetDescriptorType or descriptor.__objclass__ is not kind:
                return {}
            found = descriptor.__get__(thing)
            return found if type(found) is dict else {}
    return {}


def part(module: nn.Module, kind: str) -> Named:
    """Its own parameters or modules, by kind "_parameters" or "_modules"."""
    if type(module) is torch.jit._script.RecursiveScriptModule:
        return list(getattr(module, kind).items())
    found: Any = attributes(module).get(kind)
    return list(dict.items(found)) if issubclass(type(found), dict) else []


def walk(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Every module in it by path, itself first, in the owner's order; a shared one by each of its paths (up to 8)."""
    visits: dict[int, int] = {}
    stack: list[tuple[str, nn.Module, frozenset[int]]] = [("", module, frozenset())]
    while stack:
        path, found, above = stack.pop()
        visits[id(found)] = count = visits.get(id(found), 0) + 1
        if count > _PATHS:
            continue
        yield path, found
        above |= {id(found)}
        children = [(n, m) for n, m in part(found, "_modules") if issubclass(type(m), nn.Module)]
        stack += [(f"{path}.{n}" if path else n, m, above) for n, m in reversed(children) if id(m) not in above]


def own_parameters(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Those of one module alone; a computed tensor that `functional_call` put in the place of one is none."""
    for name, p in part(module, "_parameters"):
        if issubclass(type(p), Tensor) and not is_computed(p):
            yield name, p


def parameters(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Every parameter by name; a shared one by each of its names."""
    for path, found in walk(module):
        for name, p in own_parameters(found):
            yield (f"{path}.{name}" if path else name), p


def is_computed(thing: Any) -> bool:
    """True for a tensor that requires a gradient and is no leaf."""
    with torch._C.DisableTorchFunction():
        return issubclass(type(thing), Tensor) and _wants_gradient(thing) and not _is_leaf(thing)


def outermost(held: Named) -> Named:
    """Those of the modules that have parameters and are no part of another of them."""
    inside = {id(child) for _, module in held for path, child in walk(module) if path}
    return [(name, m) for name, m in held if id(m) not in inside and any(True for _ in parameters(m))]


class Look:
    """One look through frames.

    Attributes:
        modules, tensors: what was found, with the expression that gives it; of tensors, leaves that want a gradient.
    """

    def __init__(self, frames: Iterable[FrameType], deepest: int = _DEEPEST) -> None:
        self.modules: Named = []
        self.tensors: Named = []
        self._deepest, self._seen = deepest, set[int]()
        self._left = 0
        left = _MOST
        with torch._C.DisableTorchFunction():
            for name, thing in _variables(frames):
                self._left = share = min(left, _MOST_A_VARIABLE)
                self._open(name, thing, 0)
                left -= share - self._left

    def _open(self, name: str, thing: Any, depth: int) -> None:
        kind = type(thing)
        if kind in _PLAIN or id(thing) in self._seen or self._left <= 0:
            return
        self._left -= 1
        if issubclass(kind, Tensor):
            self._seen.add(id(thing))
            if _wants_gradient(thing) and _is_leaf(thing):
                self.tensors.append((name, thing))
            return
        if issubclass(kind, nn.Module):
            self._seen.add(id(thing))
            self.modules.append((name, thing))
            self._open_module(name, thing, depth)
        elif depth < self._deepest and not issubclass(kind, Optimizer) and not _is_ours(kind):
            self._seen.add(id(thing))
            for part, inside in _inside(name, thing):
                self._open(part, inside, depth + 1)

    def _open_module(self, name: str, module: nn.Module, depth: int) -> None:
        """Tensors that it holds as plain attributes; its parameters and modules have their own names."""
        for path, child in walk(module):
            self._left -= 1
            if depth >= self._deepest or self._left <= 0:
                return
            owner = f"{name}.{path}" if path else name
            for key, inside in islice(list(attributes(child).items()), _WIDEST):
                if type(key) is str and not key.startswith("_"):
                    self._open(f"{owner}.{key}", inside, depth + 1)


def _is_ours(kind: type) -> bool:
    """True for what a recording or a debugger of ours consists of: it holds the program's tensors, too."""
    home = _namespace(kind).get("__module__")
    return type(home) is str and home.startswith("backpropdbg.")


def _inside(name: str, thing: Any) -> Iterator[tuple[str, Any]]:
    kind = type(thing)
    if kind is list or kind is tuple:
        for n, inside in enumerate(thing[:_WIDEST]):
            yield f"{name}[{n}]", inside
    elif kind is dict:
        for key, inside in _items(thing):
            if type(key) in (str, int):
                yield f"{name}[{key!r}]", inside
    else:
        for key, inside in _items(attributes(thing)):
            if type(key) is str and not key.startswith("__"):
                yield f"{name}.{key}", inside


def _items(found: dict[Any, Any]) -> Named:
    try:
        return list(islice(found.items(), _WIDEST))
    except RuntimeError:  # another thread changed it meanwhile
        return []


def _variables(frames: Iterable[FrameType]) -> Iterator[tuple[str, Any]]:
    """Local, then global variables of each frame; those that begin with _ belong to tools and are left out."""
    known: set[int] = set()
    for frame in frames:
        for scope in (_locals(frame), None):
            if scope is None:
                if id(frame.f_globals) in known:
                    continue
                known.add(id(frame.f_globals))
                scope = _items(frame.f_globals)
            for name, thing in scope:
                if type(name) is str and name.isidentifier() and name[0] != "_" and name not in _NOTEBOOK:
                    yield name, thing


def _locals(frame: FrameType) -> Named:
    return [] if frame.f_locals is frame.f_globals else list(locals_of(frame).items())


def user_frames() -> tuple[list[FrameType], list[FrameType]]:
    """The user's frames from the outermost inwards, and apart from them those of libraries."""
    theirs: list[FrameType] = []
    libraries: list[FrameType] = []
    for frame in reversed(user_stack()):
        path = frame.f_code.co_filename
        main = frame.f_globals.get("__name__") == "__main__"
        is_library = not main and (path.startswith(_LIBRARIES) or "site-packages" in path)
        (libraries if is_library else theirs).append(frame)
    return theirs, libraries
