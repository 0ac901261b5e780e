"""What the hooks of one program share: names, the iteration, the copies of weights and gradients, and the way out.

Nothing of ours may fail into the program: what a `guarded` hook body raises becomes an `Anomaly`.
"""

import os
import sys
import weakref
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from types import FrameType
from typing import Any

from msgspec import Struct
from torch import Tensor

from backpropdbg.events import Anomaly, Event, Held, IterationStarted, ManualUpdate
from backpropdbg.probe.here import Here, Thread
from backpropdbg.probe.holding import NotKept
from backpropdbg.probe.labels import Bearer
from backpropdbg.probe.names import Names
from backpropdbg.probe.optimizers import summary
from backpropdbg.probe.sketches import Answer, Copy, Sketch, told, without_room
from backpropdbg.probe.tensors import HeldTensor
from backpropdbg.probe.unseen import inert, quieted, unseen

_MOST_SHAPES = 1000


class Policy(Struct, frozen=True):
    """What the probe watches and keeps.

    Attributes:
        partials: references to every partial; without them only the iterations are counted (idle).
        snapshots: copies of the weights before and after, of `.grad`, and of the optimizer's state.
        bare: watch operations that take a parameter outside of a library module (slows small operations).
        graph: find which call feeds which.
        room: bytes for such copies and for partials; of the parameters that do not fit, only norms and checksums are
            kept. None: as many as there are.
        track: globs over names of parameters and paths of modules that narrow what is watched; empty: all.
        unfuse: have torch compute in parts what else would be one operation (the bits may differ).
        nodes: read the autograd nodes of each backward.
    """

    partials: bool = True
    snapshots: bool = True
    bare: bool = True
    graph: bool = True
    room: int | None = None
    track: tuple[str, ...] = ()
    unfuse: bool = False
    nodes: bool = False


class Watch:
    """One program under watch.

    Attributes:
        fresh: no forward has begun in this iteration. ran: a backward ended since the last forward began.
        stepped: an optimizer stepped, so the next forward, backward or zero_grad begins another iteration.
        runs: engine runs in this iteration. inside: how many of them are in progress.
        weights, grads: the newest copies, by parameter.
        large: parameters that there is no room for copies of.
        pending: parameters whose gradient was accumulated, and neither read by an optimizer nor cleared since.
        reached: as long as there is no optimizer, the leaves that the backwards of this iteration reached.
        replaces: without an optimizer, the program makes new leaves in the place of those that it has.
        asleep: nothing that is known is tracked, so only new leaves and the iterations are looked at.
        ranks: over how many processes the gradients are averaged.
        detach: lets the program go.
        will_step: whether what moved by hand belongs to an optimizer whose step is to come.
        on_new_root: a model is about to run for the first time.
        settle: falls asleep or wakes up, as the names that are known now demand.
        followed: names the tensors that are no leaves, and that somebody asked for.
    """

    def __init__(self, sink: Callable[[Event], None], policy: Policy) -> None:
        self.sink, self.policy = sink, policy
        self.names = Names(policy.track)
        self.names.on_new = self._renamed
        self.iteration = 1
        self._model: weakref.ref[Any] | None = None
        self._optimizer: weakref.ref[Any] | None = None
        self.pending: set[str] = set()
        self.reached: dict[int, Bearer] = {}
        self.here = Here()
        self.fresh, self.ran, self.stepped, self.replaces = True, False, False, False
        self.runs = self.inside = 0
        self.weights: dict[str, HeldTensor] = {}
        self.grads: dict[str, HeldTensor] = {}
        self.large: frozenset[str] = frozenset()
        self._not_kept: dict[tuple[int, ...], NotKept] = {}
        self._handed_out: tuple[dict[str, Held | None], dict[str, Held | None]] = {}, {}
        self.asleep = self.gone = False
        self.ranks = 1
        self.detach: Callable[[], None] = lambda: None
        self.settle: Callable[[], None] = lambda: None
        self.followed: Callable[[], tuple[str, ...]] = tuple
        self.will_step: Callable[[Iterable[str]], bool] = lambda moved: False
        self.on_new_root: Callable[[], None] = lambda: None
        self.on_new_iteration: list[Callable[[], None]] = []
        self._threads: weakref.WeakSet[Thread] = weakref.WeakSet()
        self._backward: weakref.WeakSet[Thread] = weakref.WeakSet()
        self._crossed = False
        self._reporting = False
        _watches.add(self)

    @property
    def model(self) -> Any:
        """The first model that was called, while it lives."""
        return self._model() if self._model is not None else None

    @model.setter
    def model(self, model: Any) -> None:
        self._model = weakref.ref(model)

    @property
    def optimizer(self) -> Any:
        """The first optimizer that was made, then the one that stepped last, while it lives."""
        return self._optimizer() if self._optimizer is not None else None

    @optimizer.setter
    def optimizer(self, optimizer: Any) -> None:
        self._optimizer = weakref.ref(optimizer)

    @property
    def off(self) -> bool:
        """True where a hook of this thread has to keep quiet."""
        return quieted.off or inert.count > 0 or self.gone

    def inert(self) -> AbstractContextManager[None]:
        """Let code run unseen by any probe, in whatever thread (expressions of the user at a stop)."""
        return inert

    def switch_off(self) -> None:
        """For good: in a forked worker, or where the debugger was detached."""
        self.gone = True

    def emit(self, event: Event) -> None:
        """Hand an event out, `unseen`; it may block there, or raise a BaseException to end the program."""
        if self.gone:
            return
        here = quieted
        before, here.off = here.off, True  # as `quiet` does, which takes longer
        try:
            self.sink(event)
        finally:
            here.off = before

    def show(self, event: Event, name: str, held: HeldTensor | None) -> None:
        """Hand out an event about a gradient of a parameter; where there is no room to keep that, let it go then."""
        if held is None or name not in self.large:
            self.emit(event)
            return
        held.in_memory = False
        try:
            self.emit(event)
        finally:
            held.drop(measure=True)

    def report(self, error: Exception) -> None:
        """Tell of a failure of ours."""
        if self._reporting:
            return
        self._reporting = True
        try:
            trace = error.__traceback__
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            line = "" if trace is None else f" ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})"
            text = str(error).splitlines()[0] if str(error) else ""
            with unseen():
                self.emit(Anomaly(self.iteration, f"{type(error).__name__}: {text}{line}"))
        except Exception:
            pass
        finally:
            self._reporting = False

    def refuse(self, why: str) -> None:
        """Let a program go that we can't follow, and say so."""
        self.emit(Anomaly(self.iteration, why))
        self.detach()

    def enter_thread(self, *, backward: bool = False) -> None:
        """The program runs forward or backward in this thread."""
        thread = self.here.thread
        if not thread.ran:
            thread.ran = True
            self._threads.add(thread)
        if backward and not thread.ran_backward:
            thread.ran_backward = True
            self._backward.add(thread)

    @property
    def alone(self) -> bool:
        """True while only one thread that trained is alive, or the others have waited whenever one ran the backward.

        Else only it may read its gradients: the engine writes them without the GIL, and `p.grad = None` frees one while
        others can see it. So no thread may that runs no backward itself. Iterations are counted together.
        """
        if len(self._threads) < 2:
            return True
        self._crossed |= self.inside > 0 and not self.here.runs
        owner = not self._backward or self.here.thread.ran_backward
        return owner and len(self._backward) < 2 and not self._crossed

    # -- iterations ------------------------------------------------------------------------------

    def maybe_new_iteration(self) -> None:
        """Begin another iteration where the last one had its update."""
        if self.stepped and not self.inside and not self.here.steps:
            self.new_iteration()

    def replaced(self, leaves: Iterable[Tensor]) -> bool:
        """True where, without an optimizer, new leaves stand in the place of all that the last backwards reached.

        leaves: those that enter a graph now: where none of them is new, nobody has to look.
        """
        may_be = self.reached and self.alone and self.optimizer is None and not self.inside
        if not may_be or all(map(self.names.knows, leaves)):
            return False
        after = self.names.succeed(list(self.reached.values()))
        if after and self.policy.snapshots:
            self.weights |= {name: self.keep(name, p) for name, p in after.items()}
            self.emit(ManualUpdate(self.iteration, tuple(after), {n: self.weights[n] for n in after}, replaced=True))
        self.replaces |= after is not None
        return after is not None

    def new_iteration(self) -> None:
        """Begin another iteration."""
        self.iteration += 1
        self.fresh, self.ran, self.stepped, self.runs = True, False, False, 0
        self.reached.clear()
        for tell in self.on_new_iteration:
            tell()
        if self.policy.partials:
            with unseen():
                self.emit(self.state())

    def state(self) -> IterationStarted:
        """What there is to start from."""
        weights: dict[str, Held] = {**self.weights}
        tracked = () if self.asleep else self.names.parameters()
        grads = self._as_before({name: self.grads.get(name) for name, _ in tracked})
        optimizer = self.optimizer
        settings = summary(optimizer) if optimizer is not None else ""
        return IterationStarted(self.iteration, weights, grads, settings, self.followed())

    def prune(self) -> None:
        """Forget calls and steps that a swallowed exception ended: torch calls no hook then."""
        here = self.here
        if not (here.calls or here.unwatched or here.steps):
            return
        alive: set[int] = set()
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            alive.add(id(frame))
            frame = frame.f_back
        here.calls = [call for call in here.calls if id(call.frame) in alive]
        here.unwatched = [f for f in here.unwatched if id(f) in alive]
        here.steps = [f for f in here.steps if id(f) in alive]

    # -- copies ----------------------------------------------------------------------------------

    def snapshot(self, parameters: Iterable[tuple[str, Tensor]] | None = None) -> tuple[str, ...]:
        """Bring the copies of the weights up to date; return the names that had moved since the last time.

        parameters: those of `names`, where they are at hand.
        """
        if not self.policy.snapshots:
            return ()
        moved, weights = [], self.weights
        alive = dict(self.names.parameters() if parameters is None else parameters)
        self.let_go(alive)
        if self.policy.room is not None:
            self.large = without_room(alive.items(), self.policy.room)
        unsure: list[Answer] = []
        for name, p in alive.items():
            held = weights.get(name)
            still = held.is_of(p) if held is not None else None
            if still is not True:
                unsure.append((name, p, still))
        for name, p, stays in told(unsure) if unsure else ():
            if stays:
                continue
            if stays is False:
                moved.append(name)
            weights[name] = self.keep(name, p)
        return tuple(moved)

    @property
    def compares(self) -> bool:
        """True where copies or sketches of weights tell whether they moved."""
        return self.policy.snapshots and not all(type(held) is NotKept for held in self.weights.values())

    def keep(self, name: str, t: Tensor) -> HeldTensor:
        """A copy of a parameter, or of its gradient; a sketch where there is no room for one."""
        if t.is_meta:
            return self._without(t)
        return Sketch(t) if name in self.large else Copy(t)

    def let_go(self, alive: Mapping[str, Tensor]) -> None:
        """Drop the copies of all others."""
        self._handed_out = {}, {}
        for copies in (self.weights, self.grads):
            if not copies.keys() <= alive.keys():
                for name in copies.keys() - alive.keys():
                    del copies[name]

    def _renamed(self, name: str) -> None:
        """A name stands for another tensor now: the copies are not its own."""
        self.weights.pop(name, None)
        self.grads.pop(name, None)
        self.pending.discard(name)

    def notice_moved(self, parameters: Iterable[tuple[str, Tensor]] | None = None) -> tuple[str, ...]:
        """Tell of weights that moved outside of any optimizer; return their names. parameters: see `snapshot`."""
        moved = self.snapshot(parameters)
        if moved and self.alone:  # else another thread's optimizer may have moved them
            self.emit(ManualUpdate(self.iteration, moved, {name: self.weights[name] for name in moved}))
        return moved

    def grads_of(self, parameters: Iterable[tuple[str, Tensor]]) -> dict[str, Held | None]:
        """`.grad` now of parameters; the copy that there is already, where it has the same bits."""
        found: dict[str, Held | None] = {}
        unsure: list[Answer] = []
        copies, snapshots = self.grads, self.policy.snapshots
        for name, p in parameters:
            grad, held = p.grad, copies.get(name)
            if grad is None:
                found[name] = None
                copies.pop(name, None)
            elif not snapshots:
                found[name] = self._without(grad)
            else:
                found[name] = held
                still = held.is_of(grad) if held is not None else None
                if still is not True:
                    unsure.append((name, grad, still))
        for name, grad, stays in told(unsure) if unsure else ():
            if not stays:
                found[name] = copies[name] = self.keep(name, grad)
        return self._as_before(found)

    def _as_before(self, grads: dict[str, Held | None]) -> dict[str, Held | None]:
        """The same gradients as they were handed out before: events that tell the same share one dict."""
        newest, other = self._handed_out
        if grads == newest:
            return newest
        if grads == other:
            grads = other
        self._handed_out = grads, newest
        return grads

    def took(self, name: str, grad: Tensor) -> HeldTensor:
        """`.grad` was accumulated into: a copy of it."""
        held = self.grads[name] = self.keep(name, grad) if self.policy.snapshots else self._without(grad)
        self.pending.add(name)
        return held

    def _without(self, t: Tensor) -> NotKept:
        """What stands for a tensor of which only the shape is known: for all of one shape the same."""
        shape = t.shape
        held = self._not_kept.get(shape)
        if held is None:
            if len(self._not_kept) >= _MOST_SHAPES:
                self._not_kept.clear()
            held = self._not_kept[shape] = NotKept(shape)
        return held


_watches: weakref.WeakSet[Watch] = weakref.WeakSet()


def _off_after_fork() -> None:
    """A forked worker inherits the hooks; they do nothing there."""
    for watch in _watches:
        watch.switch_off()


os.register_at_fork(after_in_child=_off_after_fork)
