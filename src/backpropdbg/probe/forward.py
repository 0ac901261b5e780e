"""The forward: which call took which parameter, what it feeds, and which autograd nodes it made."""

import bisect
import sys
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any, TypeVar

import torch
from msgspec import Struct
from torch import Tensor

from backpropdbg.events import ForwardUse, GradChanged, GradCleared, Held, Location, LossComputed
from backpropdbg.probe.computed import Computed
from backpropdbg.probe.frames import user_location
from backpropdbg.probe.here import Call, sequence
from backpropdbg.probe.holders import parameters
from backpropdbg.probe.holding import copy
from backpropdbg.probe.inside import in_vmap, is_batched, is_cached, samples
from backpropdbg.probe.ranks import UNSUPPORTED, is_sharded, ranks
from backpropdbg.probe.tensors import PassingTensor
from backpropdbg.probe.unseen import guarded, is_compiling, transforming, transforms, unseen
from backpropdbg.probe.uses import Edge, feeders, node_number, number_of
from backpropdbg.probe.watch import Watch

_start = itemgetter(0)
_running = torch._C._current_graph_task_id
_tracing = torch._C._get_tracing_state
_is_wrapped = torch._C._functorch.is_functorch_wrapped_tensor
_DEEPEST, _MOST = 16, 100_000


def elsewhere() -> bool:
    """True where a call is none of the forward's: in a backward, while tracing, inside of a transform."""
    return _running() != -1 or _tracing() is not None or (transforms() is not None and transforming())


T = TypeVar("T")
_Used = tuple[tuple[str, ...], tuple[int, ...]]  # the parameters that a call takes, and which use of each it is
Segments = list[tuple[int, int, T]]  # of the nodes from a number to before another: what they belong to


class Made(Struct, frozen=True, gc=False):
    """Of the call that made a node: its module, which call of that, its line; -1 for one of the iteration before."""

    module: str = ""
    call: int = 0
    where: Location | None = None
    place: int = -1


class Forward:
    """The module calls and bare uses of this iteration."""

    def __init__(self, watch: Watch, computed: Computed) -> None:
        self.watch, self.computed = watch, computed
        self._made = 0
        self._segments: Segments[ForwardUse] = []
        self._before: Segments[ForwardUse] = []
        self._batched: Segments[int] = []
        self._cached: list[tuple[int, int]] = []
        self._times: dict[str, int] = {}  # by module
        self._uses: dict[str, int] = {}  # by parameter
        self._told: dict[_Used, _Used] = {}  # a loop repeats: one object each, however many events tell of it
        self._floor = sequence()

    def new_iteration(self) -> None:
        """Count from 1 again."""
        self._before, self._segments = self._segments, []
        self._times, self._uses, self._batched, self._cached = {}, {}, [], []
        self._made = 0
        self._floor = sequence()

    # -- module calls ----------------------------------------------------------------------------

    def before_call(self, module: torch.nn.Module, args: Any) -> None:
        """Global forward pre-hook."""
        watch = self.watch
        if is_compiling() or watch.off or elsewhere():
            return
        here, frame = watch.here, sys._getframe(1)
        if not here.calls:
            if here.unwatched or not torch.is_grad_enabled() or not watch.names.is_registered(module):
                here.unwatched.append(frame)  # no parameter enters a graph here
                return
            self._enter_root(module, args)
        here.calls.append(Call(module, frame, sequence()))

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
            parameters = watch.names.parameters()
            self._notice_grads(parameters)
            moved = watch.notice_moved(parameters)
        if (moved and watch.ran and not watch.will_step(moved)) or watch.replaced(leaves):
            watch.new_iteration()
        if watch.fresh:
            self._floor = low
        watch.fresh = watch.ran = False

    def _notice_grads(self, parameters: Iterable[tuple[str, Tensor]]) -> None:
        """Tell of gradients that were cleared or changed by hand."""
        watch = self.watch
        left = dict(watch.grads)
        now = watch.grads_of((name, p) for name, p in parameters if watch.alone)
        if not watch.alone:
            return
        differs = {name: grad for name, grad in now.items() if name in left and grad is not left[name]}
        cleared: dict[str, Held | None] = {name: grad for name, grad in differs.items() if grad is None}
        changed: dict[str, Held | None] = {name: grad for name, grad in differs.items() if grad is not None}
        if cleared:
            watch.emit(GradCleared(watch.iteration, cleared, None))
        if changed:
            watch.emit(GradChanged(watch.iteration, changed))

    def after_call(self, module: torch.nn.Module, args: Any, output: Any) -> None:
        """Global forward hook, also called where the forward raised."""
        watch = self.watch
        if is_compiling():
            return
        here = watch.here
        calls = here.calls
        if not calls or calls[-1].frame is not sys._getframe(1):  # else it is the call that `before_call` saw last
            if watch.off or elsewhere():
                return
            if here.unwatched:
                here.unwatched.pop()
                return
            while calls and calls[-1].module is not module:
                calls.pop()
            if not calls:
                return
        call = calls.pop()
        try:  # as `guarded` does, which takes longer
            with unseen():
                self._leave(call, output, not calls)
        except Exception as error:
            watch.report(error)

    def _leave(self, call: Call, output: Any, outermost: bool) -> None:
        if self.computed.active:
            self.computed.after_call(call.module, output)
        if call.module._parameters and torch.is_grad_enabled():
            self._use(call, output)
        if outermost and isinstance(output, Tensor) and output.dim() == 0 and output.requires_grad:
            held = copy(output)
            name = type(call.module).__name__
            where = user_location(call.frame)
            self.watch.emit(LossComputed(self.watch.iteration, name, held, where, self.feeds(output)))

    def _use(self, call: Call, output: Any) -> None:
        module, names = call.module, self.watch.names
        own = [p for p in module._parameters.values() if p is not None and p.requires_grad and p.is_leaf]
        replaced = names.replaced(module)
        if own and is_batched(module):
            self._in_batches(call.low, output if is_cached(module) else None)
        if names.narrowed:
            own = [p for p in own if names.tracks(p)]
        nodes = _nodes(output) if own or replaced else []
        if own and nodes and not _library[type(module)]:
            # Its own code may hand a parameter to a call inside, which counts there, or take none at all.
            own = [p for p in own if self._takes(nodes, p, call.low)]
        if (own or replaced) and nodes:
            path, where = names.module(module), user_location(call.frame)
            self._times[path] = times = self._times.get(path, 0) + 1
            self._add(path, times, own, call.low, where, output, nodes, replaced)

    # -- bare uses -------------------------------------------------------------------------------

    def is_inside_library(self) -> bool:
        """True where a module of torch's own is running, whose call is the use, or one that nobody looks at."""
        here = self.watch.here
        calls = here.calls
        return _library[type(calls[-1].module)] if calls else bool(here.unwatched)

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
        self._add(owner, 0, taken, low, user_location(), result, nodes)

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
        call: int,
        taken: Sequence[Tensor],
        low: int,
        where: Location | None,
        output: Any,
        nodes: list[Any],
        replaced: tuple[str, ...] = (),
    ) -> None:
        """Tell of a use; call: which one of the module it is, 0 for a bare use."""
        watch, index, uses, numbers = self.watch, self._made, self._uses, []
        self._made = index + 1
        names = tuple(map(watch.names.of, taken))
        for name in names:
            uses[name] = number = uses.get(name, 0) + 1
            numbers.append(number)
        if len(self._told) > _MOST:
            self._told.clear()
        used = self._told.setdefault(found := (names, tuple(numbers)), found)
        feeds, held = self._feeds(nodes), _floating(output)
        event = ForwardUse(watch.iteration, index, module, call, *used, where, feeds, not call, held, replaced)
        self._own_nodes(low, sequence(), event)
        try:
            watch.emit(event)
        finally:
            if held is not None:
                held.drop()

    def feeds(self, output: Any) -> tuple[int, ...]:
        """Indices of the calls whose output flows directly into `output`."""
        return self._feeds(_nodes(output))

    def _feeds(self, nodes: list[Any]) -> tuple[int, ...]:
        if not self.watch.policy.graph:
            return ()
        newest = self._segments[-1][1] if self._segments else 0
        return feeders(nodes, self.call_of, self._floor, newest)

    def _own_nodes(self, low: int, high: int, call: ForwardUse) -> None:
        """Give the nodes from `low` to before `high` to a call, but for those of the calls inside it."""
        segments = self._segments
        if segments and segments[-1][0] >= low:
            inside = []
            while segments and segments[-1][0] >= low:
                inside.append(segments.pop())
            for segment in reversed(inside):
                if low < segment[0]:
                    segments.append((low, segment[0], call))
                segments.append(segment)
                low = segment[1]
        if low < high:
            segments.append((low, high, call))
        if len(segments) > _MOST:  # of a forward without end: nobody runs backward through the older half any more
            del segments[: _MOST // 2]

    def call_of(self, number: int) -> int | None:
        """The index of the innermost call whose forward made the node with this sequence number."""
        found = _segment(self._segments, number)
        return found[2].index if found is not None else None

    def made(self, edges: Iterable[Edge]) -> list[tuple[Made, int]]:
        """The calls that made the nodes of edges, in their order, with how many of them in a row each made."""
        numbers, found, at = list(map(number_of, edges)), [], 0
        while at < len(numbers):
            call, end = self._maker(numbers[at])
            after = bisect.bisect_left(numbers, end, at)
            found.append((call, after - at))
            at = after
        return found

    def _maker(self, number: int) -> tuple[Made, int]:
        """The call that made a node, and up to before which number the nodes are surely its own."""
        found = _segment(self._segments, number)
        if found is not None:
            call = found[2]
            return Made(call.module, call.call, call.where, call.index), found[1]
        earlier = _segment(self._before, number)
        if earlier is None:
            return Made(), number + 1
        return Made(earlier[2].module, earlier[2].call, earlier[2].where), number + 1

    @property
    def has_batches(self) -> bool:
        """True where a node of this iteration may stand for several uses."""
        return bool(self._batched)

    def batched(self, number: int) -> int | None:
        """How many uses a node stands for: inside of vmap one by each sample; None where it is one.

        Where the parameter is that of a cached weight, -1 - the place of that weight in `cached`.
        """
        found = _segment(self._batched, number)
        return found[2] if found is not None else None

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


def _segment(segments: Segments[T], number: int) -> tuple[int, int, T] | None:
    """The one that has this number in it."""
    at = bisect.bisect_right(segments, number, key=_start) - 1
    return segments[at] if at >= 0 and number < segments[at][1] else None


def _leaves(module: torch.nn.Module, args: Any) -> Iterator[Tensor]:
    """What may enter a graph with a call: inputs that are leaves, then parameters."""
    yield from (t for t in tensors_in(args) if t.requires_grad and t.is_leaf)
    yield from (p for _, p in parameters(module))


class _Library(dict[type, bool]):
    """By the type of a module, whether it is torch's own."""

    def __missing__(self, kind: type) -> bool:
        self[kind] = known = kind.__module__.startswith("torch.nn.")
        return known


_library = _Library()


def tensors_in(value: Any, depth: int = 0) -> list[Tensor]:
    """The tensors in a nest of lists, tuples and dicts, which may contain itself."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return []
    found = []
    for inside in value if depth < _DEEPEST else ():
        if isinstance(inside, Tensor):
            found.append(inside)
        elif isinstance(inside, (list, tuple, dict)):
            found += tensors_in(inside, depth + 1)
    return found


def _floating(output: Any) -> PassingTensor | None:
    """A handle on what a call returned, where that is one tensor of floating numbers that can be read."""
    if not isinstance(output, Tensor) or output.is_meta or not output.is_floating_point() or _is_wrapped(output):
        return None
    return PassingTensor(output)


def _nodes(output: Any) -> list[Any]:
    """The autograd nodes behind what a call returned."""
    if isinstance(output, Tensor):
        return [output.grad_fn] if output.grad_fn is not None else []
    return [t.grad_fn for t in tensors_in(output) if t.grad_fn is not None]
