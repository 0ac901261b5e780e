"""Install hooks into torch, and take them out again. What they see becomes events in forward, backward and update."""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from backpropdbg.events import Event
from backpropdbg.probe.backward import Backward
from backpropdbg.probe.forward import BareUses, Forward
from backpropdbg.probe.names import Names
from backpropdbg.probe.update import Update
from backpropdbg.probe.watch import Policy, Watch, off_after_fork

__all__ = ["Policy", "Probe"]


class Probe:
    """Watches one training program.

    Args:
        sink: gets each event in the thread where it happens; it may block, or raise a BaseException to end the program.
        policy: what to keep.
    """

    def __init__(self, sink: Callable[[Event], None], policy: Policy | None = None) -> None:
        self.watch = watch = Watch(sink, policy or Policy())
        self._forward, self._update = Forward(watch), Update(watch)
        self._backward = Backward(watch, self._forward, self._update)
        watch.on_new_iteration = [self._forward.new_iteration, self._update.new_iteration]
        self._undo: list[Callable[[], object]] = []
        off_after_fork(watch)

    @property
    def names(self) -> Names:
        """Names of modules and parameters."""
        return self.watch.names

    @property
    def model(self) -> Any:
        """The first model that was called."""
        return self.watch.model

    @property
    def optimizer(self) -> Any:
        """The first optimizer that was made, then the one that stepped last."""
        return self.watch.optimizer

    @property
    def iteration(self) -> int:
        """Of the next event."""
        return self.watch.iteration

    def install(self) -> None:
        """Hook torch for this process; the bare-parameter watch covers the calling thread."""
        if self._undo:
            return
        forward, update = self._forward, self._update
        self._undo = [
            _stand_in(Optimizer, "__init__", update.new_optimizer),
            register_optimizer_step_pre_hook(update.before_step).remove,
            register_optimizer_step_post_hook(update.after_step).remove,
        ]
        if not self.watch.policy.partials:
            return
        self._undo += [
            register_module_forward_pre_hook(forward.before_call).remove,
            register_module_forward_hook(forward.after_call, always_call=True).remove,
            _stand_in(torch.autograd, "_engine_run_backward", self._backward.run),
            _stand_in(Optimizer, "zero_grad", update.zero_grad),
            _stand_in(torch.nn.Module, "zero_grad", update.zero_grad),
        ]
        if self.watch.policy.bare:
            mode = BareUses(forward)
            mode.__enter__()  # type: ignore[no-untyped-call]
            self._undo.append(lambda: mode.__exit__(None, None, None))  # type: ignore[no-untyped-call]

    def remove(self) -> None:
        """Take every hook out again; safe to call twice."""
        while self._undo:
            self._undo.pop()()

    def inert(self) -> AbstractContextManager[None]:
        """Let code run unseen (expressions of the user at a stop)."""
        return self.watch.inert()


def _stand_in(owner: Any, name: str, replacement: Callable[..., Any]) -> Callable[[], object]:
    """Put `replacement` in the place of a function, which it gets as its first argument."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return replacement(original, *args, **kwargs)

    setattr(owner, name, wrapped)
    return lambda: setattr(owner, name, original)
