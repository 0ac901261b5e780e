"""Install hooks into torch, and take them out again. What they see becomes events in forward, backward and update."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import torch
from msgspec.structs import replace
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from backpropdbg.errors import CommandError
from backpropdbg.events import Event
from backpropdbg.probe.backward import Backward
from backpropdbg.probe.bare import BareUses
from backpropdbg.probe.computed import Computed
from backpropdbg.probe.edit import fit
from backpropdbg.probe.forward import Forward
from backpropdbg.probe.holding import hold
from backpropdbg.probe.names import Names
from backpropdbg.probe.places import Stacked, stand_in
from backpropdbg.probe.tensors import HeldTensor
from backpropdbg.probe.unfuse import unfuse
from backpropdbg.probe.unseen import unseen
from backpropdbg.probe.update import Update
from backpropdbg.probe.watch import Policy, Watch

__all__ = ["Policy", "Probe"]


class Probe:
    """Watches one training program.

    Args:
        sink: gets each event in the thread where it happens; it may block, or raise a BaseException to end the program.
        policy: what to keep.
    """

    def __init__(self, sink: Callable[[Event], None], policy: Policy | None = None) -> None:
        self.watch = watch = Watch(sink, policy or Policy())
        self.computed = Computed(watch, watch.policy.track)
        self.forward, self.update = Forward(watch, self.computed), Update(watch)
        self.backward = Backward(watch, self.forward, self.update, self.computed)
        rooms = (self.computed, self.forward, self.backward, self.update)
        watch.on_new_iteration = [room.new_iteration for room in rooms]
        watch.followed = self.computed.names
        watch.on_new_root, watch.will_step = self._new_root, self.update.will_step
        watch.settle, watch.detach = self._settle, self.detach
        self._undo: list[Callable[[], object]] = []
        self._seeing: list[Callable[[], object]] = []
        self._compiling = False
        self._mode = Stacked(BareUses(self.forward))

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
        if self._undo or self.watch.gone:
            return
        if self.watch.policy.unfuse:
            unfuse()
        update = self.update
        self._undo = [
            stand_in(Optimizer, "__init__", update.new_optimizer),
            register_optimizer_step_pre_hook(update.before_step).remove,
            register_optimizer_step_post_hook(update.after_step).remove,
        ]
        if not self.watch.policy.partials:
            return
        self._undo += [
            stand_in(torch.autograd, "_engine_run_backward", self.backward.run),
            stand_in(Optimizer, "zero_grad", update.zero_grad),
            stand_in(torch.nn.Module, "zero_grad", update.zero_grad),
        ]
        self._new_root()
        self._see()

    def _see(self) -> None:
        """Watch the forward."""
        forward = self.forward
        self._seeing = [
            register_module_forward_pre_hook(forward.before_call).remove,
            register_module_forward_hook(forward.after_call, always_call=True).remove,
        ]
        if self.watch.policy.bare:
            self._mode.enter()
            self._seeing.append(self._mode.leave)

    def remove(self) -> None:
        """Take every hook out again; safe to call twice."""
        for hooks in (self._seeing, self._undo):
            while hooks:
                hooks.pop()()
        self.watch.asleep = self._compiling = False

    def _new_root(self) -> None:
        """Names may have become known; and torch.compile may be loaded, which most programs don't need."""
        if self.computed.active:
            self.computed.settle()
        if not self._compiling and self._undo:
            undo = self.backward.inside.watch_compiler()
            if undo is not None:
                self._compiling = True
                self._undo.append(undo)

    def detach(self) -> None:
        """Let the program go for good, also from inside a hook: nothing of ours acts any more."""
        self.watch.switch_off()
        self.backward.unhook()
        self.remove()

    def track(self, globs: Iterable[str]) -> None:
        """Narrow from now on to the parameters, or those of the modules, whose names match; all without a glob."""
        watch = self.watch
        globs = tuple(globs)
        watch.names.track(globs)
        self.computed.track(globs)
        tracked = dict(watch.names.parameters())
        watch.let_go(tracked)
        self.backward.unhook(but=tracked)
        self._settle()

    def _settle(self) -> None:
        """See the forward only while something that is known is tracked, or nothing is known."""
        if not self._undo or not self.watch.policy.partials:
            return
        idle = self.watch.names.idle and not self.computed.active
        self.watch.asleep = asleep = self.watch.names.narrowed and idle
        if asleep:
            while self._seeing:
                self._seeing.pop()()
        elif not self._seeing:
            self.watch.prune()
            self._see()

    def want_nodes(self, wanted: bool) -> None:
        """From the next backward on, read its nodes, or don't."""
        self.watch.policy = replace(self.watch.policy, nodes=wanted)

    def edit(self, value: object) -> HeldTensor:
        """Let another value flow on in the place of the partial that this thread is stopped at; the last one counts.

        Returns what flows on. Raises CommandError, in one line, where there is none or the value does not fit.
        """
        here = self.watch.here
        if here.arrived is None:
            raise CommandError("there is no partial here: only at a backward use can it be edited")
        with self.watch.inert(), unseen():
            here.edited = fit(value, here.arrived)
        return hold(here.edited)

    def inert(self) -> AbstractContextManager[None]:
        """Let code run unseen (expressions of the user at a stop)."""
        return self.watch.inert()
