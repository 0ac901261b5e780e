"""The backward: a hook on each edge into a parameter hands out that use's partial.

Every hook closes over names and slots, never over a node or a loss, and is removed when its run ends.
"""

import sys
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from backpropdbg.events import (
    BackwardFinished,
    BackwardStarted,
    Followed,
    GroupSummed,
    Location,
    Use,
)
from backpropdbg.probe.arrival import Accumulation, Arrival, Arrivals, Gradients
from backpropdbg.probe.computed import Computed, Found
from backpropdbg.probe.forward import Forward, Made
from backpropdbg.probe.frames import user_location
from backpropdbg.probe.holding import copy, hold
from backpropdbg.probe.inside import Inside, count_consumers
from backpropdbg.probe.nodes import Reading
from backpropdbg.probe.numbers import Numbers
from backpropdbg.probe.unseen import guarded, is_compiling, transforming
from backpropdbg.probe.update import Update
from backpropdbg.probe.uses import Edge, find_edges, find_leaves, is_fused, kind_of, leaf_of, node_name
from backpropdbg.probe.watch import Watch

_FEW = 3
_READ = 11  # a prime: of several backwards in each iteration none is left out for ever, but where there are 11
_GRAPHS = 8
_through_of = attrgetter("through")
Handles = dict[str, list[RemovableHandle | Accumulation]]  # by the parameter that a hook is for


class Backward:
    """The runs of the autograd engine."""

    def __init__(self, watch: Watch, forward: Forward, update: Update, computed: Computed) -> None:
        self.watch, self._forward, self._update, self._computed = watch, forward, update, computed
        self._watched: dict[int, frozenset[str]] = {}
        self._handles: list[Handles] = []
        self._reach: dict[int, set[str]] = {}  # of each run in progress: what it accumulates into
        self._numbers = Numbers()
        self._known_uses: dict[tuple[tuple[object, ...], ...], tuple[Use, ...]] = {}  # by all that tells of them
        self.inside = Inside(watch.names)
        self.reading = Reading(watch, computed)
        self._unread = 0

    def new_iteration(self) -> None:
        """Count uses from 1 again."""
        self._numbers.new_iteration()

    def run(self, original: Callable[..., Any], outputs: Sequence[Any], *args: Any, **kwargs: Any) -> Any:
        """Stand in for `torch.autograd._engine_run_backward`."""
        watch = self.watch
        if watch.off or is_compiling() or transforming():
            return original(outputs, *args, **kwargs)
        watch.enter_thread(backward=True)
        watch.prune()
        watch.maybe_new_iteration()
        if watch.asleep and not (self._is_due() and self._wakes(outputs)):
            return original(outputs, *args, **kwargs)
        watch.runs += 1
        run, handles, where = watch.runs, Handles(), user_location(sys._getframe(1))
        self._handles.append(handles)
        accumulates, inputs = bool(kwargs.get("accumulate_grad", False)), args[3] if len(args) > 3 else ()
        self._begin(outputs, run, accumulates, handles, inputs, where)
        watch.inside += 1
        watch.here.runs += 1
        try:
            result = original(outputs, *args, **kwargs)
        except Exception:
            self._leave(run, handles)
            self._end(run, where, failed=True)
            raise
        except BaseException:
            self._leave(run, handles)
            self._watched.pop(run, None)
            raise
        self._leave(run, handles)
        self._end(run, where, failed=False)
        return result

    def _is_due(self) -> bool:
        """Asleep: True where this run is read. After a few without a leaf that was unknown, only some are."""
        self._unread += 1
        return self._unread <= _FEW or self._unread % _READ == 0

    @guarded
    def _wakes(self, outputs: Sequence[Any]) -> bool:
        """Asleep: True where a leaf that was unknown is tracked."""
        watch = self.watch
        unknown = [leaf for leaf in find_leaves(outputs) if not watch.names.knows(leaf)]
        for leaf in unknown:
            watch.names.of(leaf)
        if unknown:
            self._unread = 0
            watch.settle()
        return not watch.asleep

    def _leave(self, run: int, handles: Handles) -> None:
        self.watch.inside -= 1
        self.watch.here.runs -= 1
        self._handles = [others for others in self._handles if others is not handles]
        self._reach.pop(run, None)
        self.reading.end(run)
        for hooks in handles.values():
            for hook in hooks:
                hook.remove()

    def unhook(self, but: Collection[str] = ()) -> None:
        """Take out the hooks of the runs that are in progress, but for those of some parameters."""
        for handles in self._handles:
            for hook in [hook for name, hooks in handles.items() if name not in but for hook in hooks]:
                hook.remove()

    @guarded
    def _begin(
        self,
        outputs: Sequence[Any],
        run: int,
        accumulates: bool,
        handles: Handles,
        inputs: Sequence[Any],
        where: Location | None,
    ) -> None:
        watch = self.watch
        roots = [t for t in outputs if isinstance(t, Tensor)]
        edges = find_edges(outputs)
        if watch.names.narrowed:
            edges = [edge for edge in edges if watch.names.tracks(edge.leaf)]
        taken = list(map(leaf_of, edges))
        known = {key: watch.names.of(leaf) for key, leaf in dict(zip(map(id, taken), taken, strict=True)).items()}
        names = list(map(known.__getitem__, map(id, taken)))
        cached = count_consumers(roots, self._forward.cached) if self._forward.cached else {}
        uses = self._number(edges, names, list(cached.values()))
        leaves = dict(zip(names, taken, strict=True))
        found = self._computed.find(roots) if self._computed.active else []
        further = [(one, self._number(one.edges, [one.name] * len(one.edges))) for one in found]
        reached = set(names)
        alone = [t for t in roots if t.grad_fn is None and t.requires_grad and watch.names.tracks(t)]
        reached |= {watch.names.of(t) for t in alone}
        if watch.optimizer is None and watch.alone:
            wanted = [t for t in inputs if isinstance(t, Tensor) and t.is_leaf] or leaves.values()
            watch.reached.update((id(t), watch.names.bearer(t)) for t in wanted if watch.names.tracks(t))
        parameters = watch.names.parameters()
        if not watch.inside and not watch.here.steps:
            watch.notice_moved(parameters)
        else:
            watch.snapshot(parameters)
        if watch.alone:
            leaves = {**leaves, **dict(parameters)}
        self._watched[run] = frozenset(watch.weights)
        loss = copy(roots[0]) if len(roots) == 1 and roots[0].dim() == 0 else None
        carried = watch.grads_of(leaves.items())
        hooked = tuple([name for name in reached if leaves[name]._backward_hooks])
        started = BackwardStarted(
            watch.iteration,
            run,
            loss,
            (*uses, *(use for _, more in further for use in more)),
            carried,
            dict(watch.weights) | {one.name: one.value for one in found if one.value is not None},
            where,
            self._forward.feeds(roots),
            accumulates,
            hooked,
            self._update.maximized(),
            not watch.alone,
            {one.name: self._told(one) for one in found},
            self.reading.begin(run, outputs, inputs, accumulates),
        )
        groups: dict[Any, list[Use]] = {}
        for name in reached:
            handles[name] = []
        arrivals = {n: Arrivals(watch, run, n, leaves[n].shape, n in hooked) for n in reached}
        for name, use, edge in zip(names, uses, edges, strict=True):
            through = edge.through
            arrival = Arrival(arrivals[name], edge.slot, use, through)
            handles[name].append(edge.node.register_hook(arrival))
            if through:
                groups.setdefault(through[-1], []).append(use)
        for node, members in groups.items():
            hook = node.register_hook(self._group_hook(node_name(node), members, run))
            handles[members[0].parameter].append(hook)
        if accumulates:
            self._reach[run] = reached
            for name in reached:
                handles[name].append(Accumulation(watch, leaves[name], name, run, self._reach))
        for one, more in further:
            self._hook_computed(one, more, run, handles)
        del edges, taken, roots, alone, found, further, groups
        watch.emit(started)
        if watch.names.narrowed:
            watch.settle()

    def _number(self, edges: list[Edge], names: list[str], cached: Sequence[int] = ()) -> tuple[Use, ...]:
        """The uses that edges are. A loop repeats: where all that tells of them was so before, they are those again."""
        numbers, made = self._numbers.of(names, edges), self._forward.made(edges)
        kinds = tuple(map(kind_of, edges))
        of_a_node = any(map(is_fused, set(kinds))) or any(map(_through_of, edges))  # which tells more
        if of_a_node or cached or self._forward.has_batches:
            return self._uses(edges, names, numbers, made, cached)
        key = tuple(names), tuple(numbers), tuple(made), kinds
        uses = self._known_uses.get(key)
        if uses is None:
            for oldest in list(self._known_uses)[: 1 - _GRAPHS]:
                self._known_uses.pop(oldest, None)
            uses = self._known_uses[key] = self._uses(edges, names, numbers, made)
        return uses

    def _uses(
        self,
        edges: list[Edge],
        names: list[str],
        numbers: list[int],
        made: list[tuple[Made, int]],
        cached: Sequence[int] = (),
    ) -> tuple[Use, ...]:
        totals, places = Counter(names), Counter[str]()
        groups: dict[Any, int] = {}
        uses, makers = [], [maker for maker, count in made for _ in range(count)]
        for edge, name, number, by in zip(edges, names, numbers, makers, strict=True):
            places[name] += 1
            group = groups.setdefault(edge.through[-1], len(groups) + 1) if edge.through else 0
            fused, batch = is_fused(edge.kind), self._forward.batched(edge.number)
            inside = self.inside.of(edge.node, edge.slot, edge.leaf, totals[name]) if fused else batch or 0
            inside = (cached[-1 - inside] if -inside <= len(cached) else 0) if inside < 0 else inside
            hidden = (fused or batch is not None) and inside != 1
            shared = not fused and batch is not None and batch < 0
            where = by.module, by.call, edge.kind, by.where, by.place
            uses.append(Use(name, number, totals[name], *where, group, hidden, places[name], inside, shared))
        return tuple(uses)

    def _told(self, one: Found) -> Followed:
        leaves = tuple([self.watch.names.of(leaf) for leaf in one.leaves])
        return Followed(node_name(one.node), leaves, one.many, one.mixed, one.retained)

    def _hook_computed(self, one: Found, uses: Sequence[Use], run: int, handles: Handles) -> None:
        """On the uses of a tensor that is no leaf, and on the node that gets their sum."""
        shape = torch.Size(one.node._input_metadata[one.output].shape)
        arrivals = Arrivals(self.watch, run, one.name, shape, one.mixed)
        for edge, use in zip(one.edges, uses, strict=True):
            hook = Arrival(arrivals, edge.slot, use, edge.through)
            handles.setdefault(one.name, []).append(edge.node.register_hook(hook))
        name, output, numbers, node = one.name, one.output, tuple([use.number for use in uses]), node_name(one.node)

        def all_arrived(grad_outputs: Gradients) -> None:
            total = grad_outputs[output]
            if not self.watch.off and total is not None:
                self._group_arrived(total, total, name, 0, numbers, node, run)

        handles.setdefault(one.name, []).append(one.node.register_prehook(all_arrived))

    # -- hooks -----------------------------------------------------------------------------------

    def _group_hook(self, node: str, members: list[Use], run: int) -> Callable[[Gradients, Gradients], None]:
        name, group = members[0].parameter, members[0].group
        numbers = tuple([use.number for use in members])

        def group_arrived(grad_inputs: Gradients, grad_outputs: Gradients) -> None:
            if not self.watch.off:
                self._group_arrived(grad_inputs[0], grad_outputs[0], name, group, numbers, node, run)

        return group_arrived

    @guarded
    def _group_arrived(
        self,
        total: Tensor | None,
        added: Tensor | None,
        name: str,
        group: int,
        numbers: tuple[int, ...],
        node: str,
        run: int,
    ) -> None:
        if total is None or added is None:
            return
        dtype = str(added.dtype).removeprefix("torch.")
        held = hold(total.detach() if total.requires_grad else total)
        event = GroupSummed(self.watch.iteration, run, name, group, numbers, node, dtype, held)
        self.watch.show(event, name, held)

    @guarded
    def _end(self, run: int, where: Location | None, failed: bool) -> None:
        watch = self.watch
        watch.ran = True
        known = self._watched.pop(run, None)  # None where its beginning could not be told: nothing to compare with
        moved = tuple([name for name in watch.snapshot() if known is not None and watch.alone and name in known])
        compared = known is not None and watch.alone and watch.compares
        watch.emit(BackwardFinished(watch.iteration, run, moved, compared, where, failed))
        if not watch.inside:
            if watch.ranks > 1:
                self._update.averaged()
            self._update.run_ended(where)
