"""The forward: which call took which parameter, what it feeds, and which autograd nodes it made."""

import bisect
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from types import MethodWrapperType
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from backpropdbg.events import ForwardUse, GradChanged, GradCleared, Held, Location, LossComputed
from backpropdbg.probe.computed import Computed
from backpropdbg.probe.frames import user_location
from backpropdbg.probe.here import Call, sequence
from backpropdbg.probe.holders import parameters
from backpropdbg.probe.inside import in_vmap, is_cached, samples
from backpropdbg.probe.ranks import UNSUPPORTED, is_sharded, ranks
from backpropdbg.probe.tensors import HeldTensor, PassingTensor
from backpropdbg.probe.uses import feeders, node_number
from backpropdbg.probe.watch import Watch, guarded, transforming

_running = torch._C._current_graph_task_id
_tracing = torch._C._get_tracing_state
_is_wrapped = torch._C._functorch.is_functorch_wrapped_tensor
_DEEPEST, _MOST = 16, 100_000


def _elsewhere() -> bool:
    """True where a call is none of the forward's: in a backward, while tracing, inside of a transform."""
    return _running() != -1 or _tracing() is not None or transforming()


Segments = list[tuple[int, int, int]]


class Forward:
    """The module calls and bare uses of this iteration."""

    def __init__(self, watch: Watch, computed: Computed) -> None:
        self.watch, self.computed = watch, computed
        self.calls: dict[int, ForwardUse] = {}
        self._made = 0
        self._segments: Segments = []
        self._batched: Segments = []
        self._cached: list[tuple[int, int]] = []
        self._before: tuple[Segments, dict[int, ForwardUse]] = ([], {})
        self._counts: dict[str, int] = {}
        self._floor = sequence()

    def new_iteration(self) -> None:
        """Count from 1 again."""
        self._before = self._segments, self.calls
        self.calls, self._segments, self._counts, self._batched, self._cached = {}, [], {}, [], []
        self._made = 0
        self._floor = sequence()

    # -- module calls ----------------------------------------------------------------------------

    def before_call(self, module: torch.nn.Module, args: Any) -> None:
        """Global forward pre-hook."""
        if torch.compiler.is_compiling() or self.watch.off or _elsewhere():
            return
        here, frame = self.watch.here, sys._getframe(1)
        if not here.calls:
            if here.unwatched or not torch.is_grad_enabled() or not self.watch.names.is_registered(module):
                here.unwatched.append(frame)  # no parameter enters a graph here
                return
            self._enter_root(module, args)
        here.calls.append(Call(module, frame, user_location(frame) if module._parameters else None))

    @guarded
    def _enter_root(self, module: torch.nn.Module, args: Any) -> None:
        watch = self.watch
        watch.enter_thread()
        new = watch.names.enter(module)
        if new and watch.model is None:
            watch.model = module
        if new and is_sharded(module):
            watch.refuse(UNSUPPORTED)
            return
        if new:
            watch.ranks = max(watch.ranks, ranks(module))
        if new:
            watch.on_new_root()
        self.begin(sequence(), new, _leaves(module, args))
        if new:
            watch.emit(watch.state())

    def begin(self, low: int, new: bool = False, leaves: Iterable[Tensor] = ()) -> None:
        """A forward begins, which takes these leaves: notice what changed since the last backward or update."""
        watch = self.watch
        watch.maybe_new_iteration()
        moved: tuple[str, ...] = ()
        if (watch.fresh or watch.ran or new) and not watch.here.steps and watch.policy.snapshots:
            self._notice_grads()
            moved = watch.notice_moved()
        if (moved and watch.ran and not watch.will_step(moved)) or watch.replaced(leaves):
            watch.new_iteration()
        if watch.fresh:
            self._floor = low
        watch.fresh = watch.ran = False

    def _notice_grads(self) -> None:
        """Tell of gradients that were cleared or changed by hand."""
        watch = self.watch
        cleared: dict[str, Held | None] = {}
        changed: dict[str, Held | None] = {}
        for name, p in watch.names.parameters():
            if not watch.alone:
                return
            left = watch.grads.get(name)
            now = watch.grad_of(name, p)
            if left is not None and now is None:
                cleared[name] = None
            elif left is not None and now is not left:
                changed[name] = now
        if cleared:
            watch.emit(GradCleared(watch.iteration, cleared, None))
        if changed:
            watch.emit(GradChanged(watch.iteration, changed))

    def after_call(self, module: torch.nn.Module, args: Any, output: Any) -> None:
        """Global forward hook, also called where the forward raised."""
        if torch.compiler.is_compiling() or self.watch.off or _elsewhere():
            return
        here = self.watch.here
        if here.unwatched:
            here.unwatched.pop()
            return
        while here.calls:
            call = here.calls.pop()
            if call.module is module:
                self._leave(call, output, not here.calls)
                return

    @guarded
    def _leave(self, call: Call, output: Any, outermost: bool) -> None:
        if self.computed.active:
            self.computed.after_call(call.module, output)
        if call.module._parameters and torch.is_grad_enabled():
            self._use(call, output)
        if outermost and isinstance(output, Tensor) and output.dim() == 0 and output.requires_grad:
            held = HeldTensor(output.detach())
            name = type(call.module).__name__
            self.watch.emit(LossComputed(self.watch.iteration, name, held, user_location(), self.feeds(output)))

    def _use(self, call: Call, output: Any) -> None:
        own = [p for p in call.module._parameters.values() if p is not None and p.requires_grad and p.is_leaf]
        replaced = self.watch.names.replaced(call.module)
        if own and (in_vmap() or is_cached(call.module)):
            self._in_batches(call.low, output if is_cached(call.module) else None)
        if self.watch.names.narrowed:
            own = [p for p in own if self.watch.names.tracks(p)]
        nodes = _nodes(output)
        if own and nodes and not _is_library(call.module):
            # Its own code may hand a parameter to a call inside, which counts there, or take none at all.
            own = [p for p in own if self._takes(nodes, p, call.low)]
        if (own or replaced) and nodes:
            self._add(self.watch.names.module(call.module), own, call.low, call.where, output, replaced, bare=False)

    # -- bare uses -------------------------------------------------------------------------------

    def is_inside_library(self) -> bool:
        """True where a module of torch's own is running, whose call is the use, or one that nobody looks at."""
        here = self.watch.here
        return _is_library(here.calls[-1].module) if here.calls else bool(here.unwatched)

    @guarded
    def see_variables(self) -> None:
        """An operation is about to run: look at the variables that are followed."""
        self.computed.look_at_variables()

    @guarded
    def bare_use(self, parameters: list[Tensor], low: int, result: Any) -> None:
        """An operation outside of a library module took these parameters."""
        if in_vmap():
            self._in_batches(low)
        nodes, names = _nodes(result), self.watch.names
        taken = [p for p in parameters if self._takes(nodes, p, low) and (not names.narrowed or names.tracks(p))]
        if not taken:
            return
        calls, owner = self.watch.here.calls, ""
        if calls:
            owner = self.watch.names.module(calls[-1].module)
        else:
            self.begin(low, leaves=taken)
        self._add(owner, taken, low, user_location(), result, bare=True)

    def _takes(self, nodes: list[Any], leaf: Tensor, low: int) -> bool:
        """True where a node made since `low`, outside of the calls that are known, has an edge to the leaf."""
        stack, seen = list(nodes), set()
        while stack:
            node = stack.pop()
            number = node_number(node)
            if node in seen or number < low:
                continue
            seen.add(node)
            for target, _ in node.next_functions:
                if target is None:
                    continue
                if getattr(target, "variable", None) is not leaf:
                    stack.append(target)
                elif self.call_of(number) is None:
                    return True
        return False

    # -- both ------------------------------------------------------------------------------------

    def _add(
        self,
        module: str,
        taken: Sequence[Tensor],
        low: int,
        where: Location | None,
        output: Any,
        replaced: tuple[str, ...] = (),
        *,
        bare: bool,
    ) -> None:
        used = tuple([self.watch.names.of(p) for p in taken])
        feeds, index = self.feeds(output), self._made
        self._made += 1
        call = 0 if bare else self._count("module " + module)
        numbers = tuple([self._count(name) for name in used])
        held = _floating(output)
        event = ForwardUse(self.watch.iteration, index, module, call, used, numbers, where, feeds, bare, held, replaced)
        self.calls[index] = event
        if len(self.calls) > _MOST:
            self._forget(index - _MOST // 2)
        self._own_nodes(low, sequence(), index)
        try:
            self.watch.emit(event)
        finally:
            if held is not None:
                held.drop()

    def _count(self, name: str) -> int:
        self._counts[name] = self._counts.get(name, 0) + 1
        return self._counts[name]

    def feeds(self, output: Any) -> tuple[int, ...]:
        """Indices of the calls whose output flows directly into `output`."""
        return feeders(_nodes(output), self.call_of, self._floor) if self.watch.policy.graph else ()

    def _forget(self, before: int) -> None:
        """Of a forward without end, forget the calls up to an index: nobody runs backward through them any more."""
        self.calls = {index: call for index, call in self.calls.items() if index >= before}
        self._segments = [segment for segment in self._segments if segment[2] >= before]

    def _own_nodes(self, low: int, high: int, index: int) -> None:
        """Give the nodes from `low` to before `high` to a call, but for those of the calls inside it."""
        inside = []
        while self._segments and self._segments[-1][0] >= low:
            inside.append(self._segments.pop())
        for start, end, owner in reversed(inside):
            if low < start:
                self._segments.append((low, start, index))
            self._segments.append((start, end, owner))
            low = end
        if low < high:
            self._segments.append((low, high, index))

    def call_of(self, number: int) -> int | None:
        """The index of the innermost call whose forward made the node with this sequence number."""
        return _owner(self._segments, number)

    def batched(self, number: int) -> int | None:
        """How many uses a node stands for: inside of vmap one by each sample; None where it is one.

        Where the parameter is that of a cached weight, -1 - the place of that weight in `cached`.
        """
        return _owner(self._batched, number) if self._batched else None

    @property
    def cached(self) -> list[tuple[int, int]]:
        """The parametrized weights that were computed once for all their uses: by node, and output of it."""
        return self._cached

    def _in_batches(self, low: int, cached: Any = None) -> None:
        while self._batched and self._batched[-1][0] >= low:
            self._batched.pop()
        inside = samples()
        if isinstance(cached, Tensor) and cached.grad_fn is not None:
            self._cached.append((node_number(cached.grad_fn), cached.output_nr))
            inside = -len(self._cached)
        self._batched.append((low, sequence(), inside))

    def use_of(self, number: int) -> tuple[ForwardUse | None, int]:
        """The call that made a node and its index; -1 for a call of the iteration before, or where none is known."""
        index = self.call_of(number)
        if index is not None:
            return self.calls.get(index), index
        segments, calls = self._before
        earlier = _owner(segments, number)
        return (None if earlier is None else calls.get(earlier)), -1


def _owner(segments: Segments, number: int) -> int | None:
    at = bisect.bisect_right(segments, (number, sys.maxsize, 0)) - 1
    return segments[at][2] if at >= 0 and number < segments[at][1] else None


_GRAD: Any = vars(torch._C.TensorBase)["grad"].__get__


def _grad_of(t: Tensor) -> Any:
    """`t.grad`; torch's warning about a tensor that is no leaf names the user's line, not ours."""
    if t.is_leaf or t.retains_grad:
        return _GRAD(t)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        grad = _GRAD(t)
    for warning in caught:
        warnings.warn(warning.message, stacklevel=3)
    return grad


class BareUses(TorchFunctionMode):
    """Sees operations that take a parameter outside of a library module's own call. idle: no more."""

    idle = False

    def __init__(self, forward: Forward) -> None:
        super().__init__()
        self._forward = forward

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func == _GRAD:
            return _grad_of(args[0])
        taken = self._taken(func, args, kwargs)
        low = sequence() if taken else 0
        result = func(*args, **kwargs)  # the only call: torch.jit.trace compares the lines that operations come from
        if taken and not (type(func) is MethodWrapperType and _no_operation(result)):
            self._forward.bare_use(taken, low, result)
        return result

    def _taken(self, func: Any, args: Any, kwargs: Any) -> list[Tensor]:
        """The leaves that an operation takes, where anybody wants to know."""
        if torch.compiler.is_compiling():
            return []
        forward = self._forward
        if self.idle or forward.watch.off or not torch.is_grad_enabled() or _elsewhere():
            return []
        if forward.computed.variables:
            forward.see_variables()
        if forward.is_inside_library():
            return []
        if type(func) is MethodWrapperType:  # an attribute; some, such as `.T`, are operations
            return [t for t in args[:1] if t.requires_grad and t.is_leaf]
        return [t for t in _tensors((args, kwargs)) if t.requires_grad and t.is_leaf]


def _leaves(module: torch.nn.Module, args: Any) -> Iterator[Tensor]:
    """What may enter a graph with a call: inputs that are leaves, then parameters."""
    yield from (t for t in _tensors(args) if t.requires_grad and t.is_leaf)
    yield from (p for _, p in parameters(module))


def _no_operation(result: Any) -> bool:
    """True for what an attribute such as `.grad` or `.shape` returned."""
    return not isinstance(result, Tensor) or result.grad_fn is None


_library: dict[type, bool] = {}


def _is_library(module: torch.nn.Module) -> bool:
    """True for a module of torch's own."""
    kind = type(module)
    known = _library.get(kind)
    if known is None:
        known = _library[kind] = kind.__module__.startswith("torch.nn.")
    return known


def _tensors(value: Any, depth: int = 0) -> list[Tensor]:
    """The tensors in a nest of lists, tuples and dicts, which may contain itself."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return []
    return [t for v in value for t in _tensors(v, depth + 1)] if depth < _DEEPEST else []


def _floating(output: Any) -> PassingTensor | None:
    """A handle on what a call returned, where that is one tensor of floating numbers that can be read."""
    if not isinstance(output, Tensor) or not output.is_floating_point() or _is_wrapped(output):
        return None
    return PassingTensor(output)


def _nodes(output: Any) -> list[Any]:
    """The autograd nodes behind what a call returned."""
    return [t.grad_fn for t in _tensors(output) if t.grad_fn is not None]
