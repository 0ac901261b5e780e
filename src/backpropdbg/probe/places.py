"""Where hooks go that torch has no registry for: in the place of a function, and on the stack of function modes.

Several probes share both, and leave them in any order.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch._C import _len_torch_function_stack, _pop_torch_function_stack, _push_on_torch_function_stack
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_pre_hook

_places: dict[tuple[int, str], "_Place"] = {}


class _Place:
    """A function of torch that stand-ins take the place of; each gets the next one as its first argument."""

    def __init__(self, owner: Any, name: str) -> None:
        self.owner, self.name = owner, name
        self.original = getattr(owner, name)
        self.replacements: list[Callable[..., Any]] = []
        self.call = self.original

        @functools.wraps(self.original)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            return self.call(*args, **kwargs)

        self.wrapped = wrapped
        setattr(owner, name, wrapped)

    def chain(self) -> None:
        """Put the calls together anew."""
        self.call = self.original
        for replacement in self.replacements:
            self.call = functools.partial(replacement, self.call)


def stand_in(owner: Any, name: str, replacement: Callable[..., Any]) -> Callable[[], object]:
    """Put `replacement` in the place of a function, which it gets as its first argument; return what undoes it."""
    key = id(owner), name
    place = _places.get(key)
    if place is None:
        place = _places[key] = _Place(owner, name)
    place.replacements.append(replacement)
    place.chain()

    def undo() -> None:
        place.replacements.remove(replacement)
        place.chain()
        # Where the program has put something of its own over ours, that calls ours, which calls the original.
        if not place.replacements and getattr(owner, name) is place.wrapped:
            setattr(owner, name, place.original)
            del _places[key]

    return undo


class Stacked:
    """A function mode that may go at any moment, whatever lies above it and whoever runs.

    Where it can't, since it is at work itself, it goes when the next module is called or the next optimizer steps;
    until then its attribute `idle` tells it to do nothing.
    """

    def __init__(self, mode: Any) -> None:
        self._mode = mode
        self._waiting: list[Callable[[], object]] = []

    def enter(self) -> None:
        """Put the mode below all others: a program that leaves its own mode takes the topmost."""
        self._mode.idle = False
        if self._waiting:  # it is still there
            self._wait_no_more()
            return
        others = _take_all()
        _push_on_torch_function_stack(self._mode)
        _put_back(others)

    def leave(self) -> None:
        """Take it out of this thread's stack, now or as soon as it can."""
        self._mode.idle = True
        if not self._take() and not self._waiting:
            self._waiting = [
                register_module_forward_pre_hook(lambda module, args: self._retry()).remove,
                register_optimizer_step_pre_hook(lambda optimizer, args, kwargs: self._retry()).remove,
            ]

    def _retry(self) -> None:
        if not torch.compiler.is_compiling() and self._take():
            self._wait_no_more()

    def _take(self) -> bool:
        others = _take_all()
        found = any(mode is self._mode for mode in others)
        _put_back([mode for mode in others if mode is not self._mode])
        return found

    def _wait_no_more(self) -> None:
        while self._waiting:
            self._waiting.pop()()


def _take_all() -> list[Any]:
    return [_pop_torch_function_stack() for _ in range(_len_torch_function_stack())]


def _put_back(modes: list[Any]) -> None:
    for mode in reversed(modes):
        _push_on_torch_function_stack(mode)
