"""Install hooks into torch and turn what they see into events.

Every hook closes over names and slots, never over a node or a loss, and is removed when its run ends.
"""

import bisect
import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import MethodWrapperType
from typing import Any

import torch
from msgspec import Struct
from torch import Tensor
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.overrides import TorchFunctionMode

from backpropdbg.events import (
    Accumulated,
    BackwardFinished,
    BackwardStarted,
    BackwardUse,
    Event,
    ForwardUse,
    GradChanged,
    GradCleared,
    GroupSummed,
    Held,
    Location,
    LossComputed,
    ManualUpdate,
    ModelSeen,
    StepFinished,
    StepStarted,
    Use,
)
from backpropdbg.probe.frames import user_location
from backpropdbg.probe.names import Names
from backpropdbg.probe.optimizers import OptimizerRecipe, summary
from backpropdbg.probe.tensors import HeldTensor, copy, not_kept, same_bits
from backpropdbg.probe.uses import Edge, feeders, find_edges

_sequence = torch._C._autograd._get_sequence_nr
# Around our own look at tensors: else each attribute would pass through our own and the user's function modes.
_unseen = torch._C.DisableTorchFunction


class Policy(Struct, frozen=True):
    """What the probe watches and keeps.

    Attributes:
        partials: references to every partial; without them only the iterations are counted (idle).
        snapshots: copies of the weights before and after, of `.grad`, and of the optimizer's state.
        bare: watch operations that take a parameter outside of a library module (slows small operations).
        graph: find which call feeds which.
    """

    partials: bool = True
    snapshots: bool = True
    bare: bool = True
    graph: bool = True


class _Call:
    """A module call that has not returned yet."""

    __slots__ = ("bare", "direct", "low", "module", "where")

    def __init__(self, module: torch.nn.Module, direct: bool) -> None:
        self.module, self.direct, self.bare = module, direct, False
        self.low = _sequence()
        self.where = user_location() if direct else None


class Probe:
    """Watches one training program.

    Args:
        sink: gets each event in the thread where it happens; it may block, or raise a BaseException to end the program.
        policy: what to keep.
    """

    def __init__(self, sink: Callable[[Event], None], policy: Policy | None = None) -> None:
        self.policy = policy or Policy()
        self.names = Names()
        self.iteration = 1
        self.optimizer: Any = None
        self.model: Any = None
        self._sink = sink
        self._off = False
        self._runs = 0
        self._steps = 0
        self._active: list[_Call] = []
        self._brackets: list[tuple[int, int, int]] = []
        self._calls: list[ForwardUse] = []
        self._counts: dict[str, int] = {}
        self._floor = _sequence()
        self._weights: dict[str, HeldTensor] = {}
        self._grads: dict[str, HeldTensor] = {}
        self._fresh = True
        self._ran = False
        self._unwatched = 0
        self._undo: list[Callable[[], object]] = []
        _off_after_fork(self)

    # -- installing ------------------------------------------------------------------------------

    def install(self) -> None:
        """Hook torch for this process; the bare-parameter watch covers the calling thread."""
        if self._undo:
            return
        self._undo = [
            self._wrap(Optimizer, "__init__", self._new_optimizer),
            register_optimizer_step_pre_hook(self._before_step).remove,
            register_optimizer_step_post_hook(self._after_step).remove,
        ]
        if not self.policy.partials:
            return
        self._undo += [
            register_module_forward_pre_hook(self._before_call).remove,
            register_module_forward_hook(self._after_call, always_call=True).remove,
            self._wrap(torch.autograd, "_engine_run_backward", self._backward),
            self._wrap(Optimizer, "zero_grad", self._zero_grad),
            self._wrap(torch.nn.Module, "zero_grad", self._zero_grad),
        ]
        if self.policy.bare:
            mode = _BareUses(self)
            mode.__enter__()  # type: ignore[no-untyped-call]
            self._undo.append(lambda: mode.__exit__(None, None, None))  # type: ignore[no-untyped-call]

    def remove(self) -> None:
        """Take every hook out again; safe to call twice."""
        while self._undo:
            self._undo.pop()()

    def _wrap(self, owner: Any, name: str, replacement: Callable[..., Any]) -> Callable[[], object]:
        original = getattr(owner, name)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            return replacement(original, *args, **kwargs)

        wrapped.__wrapped__ = original  # type: ignore[attr-defined]
        setattr(owner, name, wrapped)
        return lambda: setattr(owner, name, original)

    @contextmanager
    def inert(self) -> Iterator[None]:
        """Let code run unseen (expressions of the user at a stop)."""
        before, self._off = self._off, True
        try:
            yield
        finally:
            self._off = before

    def _emit(self, event: Event) -> None:
        before, self._off = self._off, True
        try:
            with _unseen():
                self._sink(event)
        finally:
            self._off = before

    # -- forward ---------------------------------------------------------------------------------

    def _before_call(self, module: torch.nn.Module, args: Any) -> None:
        if torch.compiler.is_compiling() or self._off or torch._C._current_graph_task_id() != -1:
            return
        if not self._active:
            if self._unwatched or not torch.is_grad_enabled():
                self._unwatched += 1  # no parameter enters a graph here
                return
            with _unseen():
                self._enter_root(module)
        self._active.append(_Call(module, bool(module._parameters)))

    def _enter_root(self, module: torch.nn.Module) -> None:
        new = self.names.add_root(module) and any(True for _ in module.parameters())
        if new and self.model is None:
            self.model = module
        self._begin(_sequence(), new)
        if new:
            self._emit(ModelSeen(self.iteration, dict(self._weights)))

    def _begin(self, low: int, new: bool = False) -> None:
        """A forward begins: notice what moved since the last backward or update."""
        if self._fresh or self._ran or new:
            self._notice_manual_update()
        if self._fresh:
            self._floor = low
        self._fresh = self._ran = False

    def _notice_manual_update(self) -> None:
        if not self.policy.snapshots:
            return
        moved = self._snapshot()
        if moved:
            self._emit(ManualUpdate(self.iteration, moved, {n: self._weights[n] for n in moved}))
            if self._ran:
                self._end_iteration()

    def _snapshot(self) -> tuple[str, ...]:
        """Bring the copies of the weights up to date; return the names that had moved since the last time."""
        moved = []
        alive = dict(self.names.parameters())
        for name in self._weights.keys() - alive.keys():
            del self._weights[name]
        for name, p in alive.items():
            held = self._weights.get(name)
            if held is None or held.tensor is None or not same_bits(held.tensor, p.detach()):
                if held is not None and held.tensor is not None:
                    moved.append(name)
                self._weights[name] = copy(p)
        return tuple(moved)

    def _after_call(self, module: torch.nn.Module, args: Any, output: Any) -> None:
        if torch.compiler.is_compiling() or self._off or torch._C._current_graph_task_id() != -1:
            return
        if self._unwatched:
            self._unwatched -= 1
            return
        while self._active:
            call = self._active.pop()
            if call.module is module:
                break
        else:
            return
        with _unseen():
            if call.direct and not call.bare:
                self._forward_use(call, output)
            if not self._active and isinstance(output, Tensor) and output.dim() == 0 and output.requires_grad:
                name = type(module).__name__
                held = HeldTensor(output.detach())
                self._emit(LossComputed(self.iteration, name, held, user_location(), self._feeds(output)))

    def _forward_use(self, call: _Call, output: Any) -> None:
        used = tuple([self.names.of(p) for p in call.module._parameters.values() if p is not None])
        if used:
            self._add_use(self.names.module(call.module), used, call.low, _sequence(), call.where, output, bare=False)

    def bare_use(self, parameters: list[Tensor], low: int, result: Any) -> None:
        """An operation outside of a library module took these parameters."""
        nodes = _nodes(result)
        taken = [p for p in parameters if _reaches(nodes, p, low)]
        if not taken:
            return
        owner = ""
        if not self._active:
            self._begin(low)
        else:
            self._active[-1].bare = True
            owner = self.names.module(self._active[-1].module)
        names = tuple(self.names.of(p) for p in taken)
        self._add_use(owner, names, low, _sequence(), user_location(), result, bare=True)

    def _add_use(
        self,
        module: str,
        used: tuple[str, ...],
        low: int,
        high: int,
        where: Location | None,
        output: Any,
        bare: bool,
    ) -> None:
        feeds = self._feeds(output)
        index = len(self._calls)
        call = 0 if bare else self._count("module " + module)
        numbers = tuple(self._count(name) for name in used)
        event = ForwardUse(self.iteration, index, module, call, used, numbers, where, feeds, bare)
        self._calls.append(event)
        self._brackets.append((low, high, index))
        self._emit(event)

    def _count(self, name: str) -> int:
        self._counts[name] = self._counts.get(name, 0) + 1
        return self._counts[name]

    def _feeds(self, output: Any) -> tuple[int, ...]:
        return feeders(_nodes(output), self._bracket, self._floor) if self.policy.graph else ()

    def _bracket(self, number: int) -> int | None:
        """The call whose forward made the node with this sequence number: the innermost, so the last to begin."""
        at = bisect.bisect_right(self._brackets, (number, 1 << 62, 0)) - 1
        if at >= 0 and self._brackets[at][0] <= number < self._brackets[at][1]:
            return self._brackets[at][2]
        return None

    # -- backward --------------------------------------------------------------------------------

    def _backward(self, original: Callable[..., Any], outputs: Sequence[Any], *args: Any, **kwargs: Any) -> Any:
        if self._off or torch.compiler.is_compiling():
            return original(outputs, *args, **kwargs)
        self._runs += 1
        run = self._runs
        accumulates = bool(kwargs.get("accumulate_grad", False))
        with _unseen():
            removers = self._hook_run(outputs, run, accumulates)
        try:
            result = original(outputs, *args, **kwargs)
        finally:
            for remove in removers:
                remove()
        with _unseen():
            self._end_run(run)
        return result

    def _hook_run(self, outputs: Sequence[Any], run: int, accumulates: bool) -> list[Callable[[], object]]:
        edges = find_edges(outputs)
        uses = self._number(edges)
        leaves = {self.names.of(e.leaf): e.leaf for e in edges}
        for name, p in self.names.parameters():
            leaves.setdefault(name, p)
        if self.policy.snapshots and (self._fresh or not self._weights):
            self._snapshot()
        roots = [t for t in outputs if isinstance(t, Tensor)]
        loss = HeldTensor(roots[0].detach()) if len(roots) == 1 and roots[0].dim() == 0 else None
        feeds = self._feeds(roots)
        carried = {n: None if p.grad is None else copy(p.grad) for n, p in leaves.items()}
        started = BackwardStarted(
            self.iteration,
            run,
            loss,
            tuple(uses),
            carried,  # type: ignore[arg-type]
            dict(self._weights),
            user_location(),
            feeds,
            accumulates,
        )
        arrivals: dict[str, int] = {}
        removers: list[Callable[[], object]] = []
        for edge, use in zip(edges, uses, strict=True):
            hook = self._edge_hook(edge, use, run, arrivals)
            removers.append(edge.node.register_hook(hook).remove)
        for node, members in _groups(edges, uses).items():
            removers.append(node.register_hook(self._group_hook(node.name(), members, run)).remove)
        if accumulates:
            hooked = {use.parameter for use in uses}
            for name in hooked:
                leaf: Any = leaves[name]
                removers.append(leaf.register_post_accumulate_grad_hook(self._accumulate_hook(name, run)).remove)
        del edges, roots
        self._emit(started)
        return removers

    def _number(self, edges: list[Edge]) -> list[Use]:
        names = [self.names.of(e.leaf) for e in edges]
        totals = {name: names.count(name) for name in set(names)}
        groups: dict[Any, int] = {}
        seen: dict[str, int] = {}
        uses = []
        for edge, name in zip(edges, names, strict=True):
            seen[name] = seen.get(name, 0) + 1
            index = self._bracket(edge.node._sequence_nr())
            call = self._calls[index] if index is not None else None
            uses.append(
                Use(
                    name,
                    seen[name],
                    totals[name],
                    call.module if call else "",
                    call.call if call else 0,
                    edge.node.name(),
                    call.where if call else None,
                    -1 if index is None else index,
                    groups.setdefault(edge.through[-1], len(groups) + 1) if edge.through else 0,
                )
            )
        return uses

    def _edge_hook(
        self, edge: Edge, use: Use, run: int, arrivals: dict[str, int]
    ) -> Callable[[Sequence[Tensor | None], Sequence[Tensor | None]], None]:
        slot, through, shape = edge.slot, edge.through, edge.leaf.shape
        changes_in_place = bool(edge.leaf._backward_hooks)

        plain = not through and not changes_in_place

        def mapped(grad: Tensor) -> HeldTensor:
            with self.inert(), torch.no_grad():
                for node in through:
                    grad = node(grad)
                grad = grad.detach()
                if grad.shape != shape:
                    grad = grad.sum_to_size(shape)
                return copy(grad) if changes_in_place else HeldTensor(grad)

        def partial_arrived(grad_inputs: Sequence[Tensor | None], grad_outputs: Sequence[Tensor | None]) -> None:
            if self._off:
                return
            grad = grad_inputs[slot]
            held: HeldTensor | None = None
            if grad is not None:
                # The very tensor, not an alias: while we hold it the engine neither adds into it nor makes it `.grad`.
                with _unseen():
                    alone = plain and grad.shape == shape and not grad.requires_grad
                    held = HeldTensor(grad) if alone else mapped(grad)
            arrivals[use.parameter] = order = arrivals.get(use.parameter, 0) + 1
            self._emit(BackwardUse(self.iteration, run, use, held, order))

        return partial_arrived

    def _group_hook(
        self, node: str, members: list[Use], run: int
    ) -> Callable[[Sequence[Tensor | None], Sequence[Tensor | None]], None]:
        name, group = members[0].parameter, members[0].group
        numbers = tuple(use.number for use in members)

        def group_arrived(grad_inputs: Sequence[Tensor | None], grad_outputs: Sequence[Tensor | None]) -> None:
            total, added = grad_inputs[0], grad_outputs[0]
            if self._off or total is None or added is None:
                return
            dtype = str(added.dtype).removeprefix("torch.")
            held = HeldTensor(total.detach())
            self._emit(GroupSummed(self.iteration, run, name, group, numbers, node, dtype, held))

        return group_arrived

    def _accumulate_hook(self, name: str, run: int) -> Callable[[Tensor], None]:
        def accumulated(leaf: Tensor) -> None:
            if self._off or leaf.grad is None:
                return
            with _unseen():
                held = copy(leaf.grad) if self.policy.snapshots else not_kept(leaf.grad)
            self._grads[name] = held
            self._emit(Accumulated(self.iteration, run, name, held))

        return accumulated

    def _end_run(self, run: int) -> None:
        self._ran = True
        moved = self._snapshot() if self.policy.snapshots else ()
        self._emit(BackwardFinished(self.iteration, run, moved, self.policy.snapshots, user_location()))

    # -- update ----------------------------------------------------------------------------------

    def _new_optimizer(self, original: Callable[..., Any], optimizer: Any, *args: Any, **kwargs: Any) -> None:
        original(optimizer, *args, **kwargs)
        if not self._off and self.optimizer is None:
            self.optimizer = optimizer

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if torch.compiler.is_compiling() or self._off:
            return
        self._steps += 1
        if self._steps > 1:
            return
        self.optimizer = optimizer
        if self.policy.partials:
            with _unseen():
                self._step_begins(optimizer)

    def _step_begins(self, optimizer: Optimizer) -> None:
        grads: dict[str, Held | None] = {}
        before: dict[str, Held] = {}
        recipes: dict[str, Any] = {}
        if self.policy.snapshots:
            self._snapshot()
        for group in optimizer.param_groups:
            for p in group["params"]:
                name = self.names.of(p)
                grads[name] = self._grad_now(name, p)
                if self.policy.snapshots:
                    held = self._weights.setdefault(name, copy(p))
                    before[name] = held
                    recipes[name] = OptimizerRecipe(optimizer, group, p, held, grads[name])
        title = summary(optimizer)
        self._emit(StepStarted(self.iteration, title, grads, before, recipes, user_location()))

    def _grad_now(self, name: str, p: Tensor) -> HeldTensor | None:
        """`.grad` as the optimizer will see it; an event says so where it is not what the backward left."""
        left = self._grads.get(name)
        if p.grad is None:
            if left is not None:
                self._emit(GradChanged(self.iteration, name, None))
            return None
        if not self.policy.snapshots:
            return not_kept(p.grad)
        if left is not None and left.tensor is not None and same_bits(left.tensor, p.grad.detach()):
            return left
        now = copy(p.grad)
        if left is not None:
            self._emit(GradChanged(self.iteration, name, now))
        self._grads[name] = now
        return now

    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if torch.compiler.is_compiling() or self._off:
            return
        self._steps = max(0, self._steps - 1)
        if self._steps:
            return
        if self.policy.snapshots:
            with _unseen():
                self._snapshot()
        if self.policy.partials:
            after: dict[str, Held] = {n: h for n, h in self._weights.items() if self.policy.snapshots}
            self._emit(StepFinished(self.iteration, after, user_location()))
        self._end_iteration()

    def _end_iteration(self) -> None:
        self.iteration += 1
        self._fresh, self._ran = True, False
        self._calls, self._brackets, self._counts, self._runs = [], [], {}, 0
        self._floor = _sequence()

    def _zero_grad(self, original: Callable[..., Any], owner: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(owner, *args, **kwargs)
        if not self._off and not torch.compiler.is_compiling():
            to_none = bool(args[0] if args else kwargs.get("set_to_none", True))
            self._grads.clear()
            self._emit(GradCleared(self.iteration, to_none, user_location()))
        return result


class _BareUses(TorchFunctionMode):
    """Sees operations that take a parameter outside of a library module's own call."""

    def __init__(self, probe: Probe) -> None:
        super().__init__()
        self._probe = weakref.ref(probe)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        probe = self._probe()
        kwargs = kwargs or {}
        if type(func) is MethodWrapperType or probe is None or probe._off or not torch.is_grad_enabled():
            return func(*args, **kwargs)  # an attribute, or nobody looks
        if torch._C._current_graph_task_id() != -1:
            return func(*args, **kwargs)
        if probe._active and type(probe._active[-1].module).__module__.startswith("torch.nn."):
            return func(*args, **kwargs)
        taken = [t for t in _tensors((args, kwargs)) if t.requires_grad and t.is_leaf]
        if not taken:
            return func(*args, **kwargs)
        low = _sequence()
        result = func(*args, **kwargs)
        probe.bare_use(taken, low, result)
        return result


def _tensors(value: Any) -> list[Tensor]:
    """The tensors in a nest of lists, tuples and dicts."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return []
    return [t for v in value for t in _tensors(v)]


def _nodes(output: Any) -> list[Any]:
    """The autograd nodes behind what a call returned."""
    return [t.grad_fn for t in _tensors(output) if t.grad_fn is not None]


def _off_after_fork(probe: Probe) -> None:
    """A forked worker inherits the hooks; they do nothing there."""
    reference = weakref.ref(probe)

    def switch_off() -> None:
        alive = reference()
        if alive is not None:
            alive._off = True
            alive._sink = lambda event: None

    os.register_at_fork(after_in_child=switch_off)


def _groups(edges: list[Edge], uses: list[Use]) -> dict[Any, list[Use]]:
    """The uses that share a cast or view, by its node."""
    found: dict[Any, list[Use]] = {}
    for edge, use in zip(edges, uses, strict=True):
        if use.group:
            found.setdefault(edge.through[-1], []).append(use)
    return found


def _reaches(nodes: list[Any], leaf: Tensor, low: int) -> bool:
    """True where a node made since `low` has an edge to the leaf."""
    stack, seen = list(nodes), set()
    while stack:
        node = stack.pop()
        if node in seen or node._sequence_nr() < low:
            continue
        seen.add(node)
        for target, _ in node.next_functions:
            if target is None:
                continue
            if getattr(target, "variable", None) is leaf:
                return True
            stack.append(target)
    return False
