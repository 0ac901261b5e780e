"""The nodes of a graph that a backward is about to run through: read once, and let go at once."""

import heapq
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Any

import torch
from torch import Tensor

from backpropdbg.nodes import Nodes, UseEdge, pack
from backpropdbg.probe.computed import Computed
from backpropdbg.probe.unseen import unseen
from backpropdbg.probe.uses import Edge, find_edges, node_name, node_number, node_of
from backpropdbg.probe.watch import Watch

_Accumulate = torch._C._functions.AccumulateGrad  # type: ignore[attr-defined]
_LAST = 2**64 - 1  # the sequence number of what has none: the engine takes it as soon as it is ready

Targets = dict[Any, tuple[Any, ...]]  # by node, and by slot: the node that gets the gradient, or None


class Reading:
    """Reads the graphs of the runs that are in progress, where somebody wants to see them.

    What a run begins at is known for as long as it runs: its own frame holds that, too.
    """

    def __init__(self, watch: Watch, computed: Computed) -> None:
        self._watch, self._computed = watch, computed
        self._runs: dict[int, tuple[int, Sequence[Any], Sequence[Any], bool]] = {}
        self._newest = b""

    def begin(self, run: int, outputs: Sequence[Any], inputs: Sequence[Any], accumulates: bool) -> bytes:
        """A run begins; return its nodes, none where nobody wants them. A failure to read them is told, and no more."""
        self._runs[run] = self._watch.iteration, outputs, inputs, accumulates
        try:
            return self._read(outputs, inputs, accumulates) if self._watch.policy.nodes else b""
        except Exception as error:
            self._watch.report(error)
            return b""

    def end(self, run: int) -> None:
        """Let go of a run."""
        self._runs.pop(run, None)

    def late(self, iteration: int, run: int) -> bytes:
        """The nodes of a run that is in progress; none of another."""
        began, outputs, inputs, accumulates = self._runs.get(run, (0, (), (), False))
        if began != iteration:
            return b""
        with self._watch.inert(), unseen():
            return self._read(outputs, inputs, accumulates)

    def _read(self, outputs: Sequence[Any], inputs: Sequence[Any], accumulates: bool) -> bytes:
        names, found = self._watch.names, self._computed.find(outputs) if self._computed.active else []
        edges = [(names.of(e.leaf), e, e.through[-1] if e.through else None) for e in find_edges(outputs)]
        edges += [(one.name, edge, one.node) for one in found for edge in one.edges]
        read_now = read(outputs, edges, names.of, inputs, accumulates)
        if read_now != self._newest:  # a graph that stays the same is kept once
            self._newest = read_now
        return self._newest


def read(
    outputs: Iterable[Any],
    edges: Iterable[tuple[str, Edge, Any]],
    name_of: Callable[[Tensor], str],
    inputs: Sequence[Any] = (),
    accumulates: bool = True,
) -> bytes:
    """Return the graph below `outputs`, as bytes; no node is kept.

    Args:
        edges: of each use the parameter, the edge, and the node above the leaf that the edge passes, or None.
        inputs: what alone the backward computes gradients of; none: of all leaves.
    """
    roots = [node_of(t) for t in outputs]
    begin = [node for node in roots if node is not None]
    targets = _walk(begin)
    order = _in_order(begin, targets)
    place = {node: n for n, node in enumerate(order)}
    names: dict[str, int] = {}
    kinds = tuple([names.setdefault(node_name(node).removeprefix("torch::autograd::"), len(names)) for node in order])
    ahead = tuple([tuple([-1 if t is None else place[t] for t in targets[node]]) for node in order])
    leaves = {n: name_of(node.variable) for n, node in enumerate(order) if type(node) is _Accumulate}
    uses: dict[str, list[UseEdge]] = {}
    for name, edge, above in edges:
        uses.setdefault(name, []).append(UseEdge(place[edge.node], edge.slot, place.get(above, -1)))
    needed = _needed(order, targets, inputs, accumulates)
    skipped = tuple([] if needed is None else [n for n, node in enumerate(order) if node not in needed])
    return pack(Nodes(tuple(names), kinds, ahead, {name: tuple(some) for name, some in uses.items()}, leaves, skipped))


def _walk(begin: Iterable[Any]) -> Targets:
    found: Targets = {}
    stack = list(begin)
    while stack:
        node = stack.pop()
        if node not in found:
            found[node] = targets = tuple([target for target, _ in node.next_functions])
            stack += [target for target in targets if target is not None]
    return found


def _in_order(begin: Sequence[Any], targets: Targets) -> list[Any]:
    """As the engine does: of the nodes that have all of their gradients, the one that was made last comes first."""
    waits = dict.fromkeys(targets, 0)
    for node in [*begin, *(t for some in targets.values() for t in some if t is not None)]:
        waits[node] += 1
    ready: list[tuple[int, int, Any]] = []
    arrival = count()
    found: list[Any] = []

    def hand_to(node: Any) -> None:
        waits[node] -= 1
        if not waits[node]:
            number = _LAST if type(node) is _Accumulate else node_number(node)
            heapq.heappush(ready, (-number, next(arrival), node))

    for node in begin:
        hand_to(node)
    while ready:
        node = heapq.heappop(ready)[2]
        found.append(node)
        for target in targets[node]:
            if target is not None:
                hand_to(target)
    return found


def _needed(order: Sequence[Any], targets: Targets, inputs: Sequence[Any], accumulates: bool) -> set[Any] | None:
    """The nodes that a run for these inputs computes; None: all of them.

    Where it does not accumulate, the node of an input is not run: what would have been handed to it is returned.
    """
    if not inputs:
        return None
    own = {node_of(t) for t in inputs} - {None}
    leaves = {id(t) for t in inputs if isinstance(t, Tensor)}
    wanted = {node for node in order if node in own or (type(node) is _Accumulate and id(node.variable) in leaves)}
    found: set[Any] = set()
    for node in reversed(order):
        through = any(target in found or target in wanted for target in targets[node] if target is not None)
        if through or (accumulates and node in wanted):
            found.add(node)
    return found
