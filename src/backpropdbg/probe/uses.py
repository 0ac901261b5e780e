"""The edges of an autograd graph into its leaves: each one is a use.

Source: `Node.next_functions`; an edge whose target is a leaf's AccumulateGrad carries that use's partial. Where the
node on the edge only casts or re-views the leaf and several nodes consume its output, the uses are those consumers'
edges, and the node itself maps each partial back to the leaf's shape and dtype.
"""

import functools
from collections.abc import Callable, Iterable
from itertools import chain
from operator import attrgetter
from typing import Any

import torch
from msgspec import Struct
from torch import Tensor

_Accumulate = torch._C._functions.AccumulateGrad  # type: ignore[attr-defined]
_next_functions = attrgetter("next_functions")
# Nodes that only cast or re-view: their backward is linear, elementwise and needs no saved tensor.
_SEE_THROUGH = (
    "ToCopyBackward",
    "TBackward",
    "TransposeBackward",
    "PermuteBackward",
    "ViewBackward",
    "UnsafeViewBackward",
    "ReshapeAliasBackward",
    "ExpandBackward",
    "AliasBackward",
    "UnsqueezeBackward",
    "SqueezeBackward",
)


# Nodes that may stand for many operations of the program's, with several uses of a parameter inside.
_FUSED = (
    "CompiledFunctionBackward",  # torch.compile
    "DifferentiableGraphBackward",  # torch.jit
    "MkldnnRnnLayerBackward",
    "CudnnRnnBackward",
    "MiopenRnnBackward",
    "LstmMpsBackward",
    "ScaledDotProduct",
    "FlashAttention",
    "EfficientAttention",
    "CudnnAttention",
    "FlexAttention",
    "ScanAutogradOp",
)


@functools.cache
def is_fused(node: str) -> bool:
    """True where a node of this name may hide several uses."""
    return any(kind in node for kind in _FUSED)


def node_name(node: Any) -> str:
    """The name of a node. `node.name()` is not it where a function of the program's sets `ctx.name`."""
    name: str = type(node).name(node)
    return name


def node_number(node: Any) -> int:
    """The number of a node in the order in which its thread's forward made them; see `node_name`."""
    number: int = type(node)._sequence_nr(node)
    return number


def node_of(output: Any) -> Any:
    """The node that a backward from a tensor or an edge begins at; None for a leaf, which has none of its own."""
    return output.grad_fn if isinstance(output, Tensor) else getattr(output, "node", None)


class Edge(Struct, frozen=True, gc=False):
    """One use: the node and slot that deliver the partial.

    Attributes:
        number, slot: of the node; edges in this order are in forward order, and where one node hands several partials
            to a leaf, in the order in which the engine adds them.
        kind: the node's name. through: the casts or views that it passes.
    """

    number: int
    slot: int
    kind: str
    node: Any
    leaf: Tensor
    through: tuple[Any, ...] = ()


number_of, slot_of, kind_of, leaf_of = map(attrgetter, ("number", "slot", "kind", "leaf"))


def edge(node: Any, slot: int, leaf: Tensor, through: tuple[Any, ...] = ()) -> Edge:
    """The edge from a slot of a node."""
    kind = type(node)
    return Edge(kind._sequence_nr(node), slot, kind.name(node), node, leaf, through)


def find_edges(roots: Iterable[Tensor]) -> list[Edge]:
    """Return the uses of every leaf that the roots depend on, in forward order.

    The caller must let the result go before the backward ends: nodes that are kept keep the graph.
    """
    found: list[Edge] = []
    nodes = list({node: None for node in map(node_of, roots) if node is not None and type(node) is not _Accumulate})
    seen, again, accumulate = {None, *nodes}, [], _Accumulate
    for node in nodes:  # it grows while we walk
        slot = -1  # counted by hand: `enumerate` makes the walk a quarter longer
        for target, _ in node.next_functions:
            slot += 1
            if type(target) is accumulate:
                found.append(edge(node, slot, target.variable))
            elif target in seen:
                again.append(target)
            else:
                seen.add(target)
                nodes.append(target)
    shared = dict(zip(map(type, again), again, strict=True))  # one of each type: that of a cast or view tells its name
    if any(node is not None and node_name(node).startswith(_SEE_THROUGH) for node in shared.values()):
        consumers = _consumers(nodes)
        found = [use for direct in found for use in _look_through(direct, consumers)]
        found.sort(key=slot_of)
    found.sort(key=number_of)  # in the order of the slots where the numbers are the same
    return found


def find_leaves(roots: Iterable[Any]) -> list[Tensor]:
    """Return every leaf that the roots depend on, each once."""
    return leaves_below([t.grad_fn for t in roots if isinstance(t, Tensor) and t.grad_fn is not None])


def leaves_below(nodes: Iterable[Any]) -> list[Tensor]:
    """Return every leaf that the nodes were computed from, each once, the nearest first."""
    walked = list(nodes)
    seen = {None, *walked}
    for target, _ in chain.from_iterable(map(_next_functions, walked)):  # which grows while we walk
        if target not in seen:
            seen.add(target)
            walked.append(target)
    return [node.variable for node in walked if type(node) is _Accumulate]


def _consumers(nodes: Iterable[Any]) -> dict[Any, list[tuple[Any, int]]]:
    """Which nodes take each node's output, and in which slot."""
    found: dict[Any, list[tuple[Any, int]]] = {}
    for node in nodes:
        for slot, (target, _) in enumerate(node.next_functions):
            if target is not None:
                found.setdefault(target, []).append((node, slot))
    return found


def _look_through(direct: Edge, consumers: dict[Any, list[tuple[Any, int]]]) -> list[Edge]:
    """Replace an edge that several nodes share through a cast or view by those nodes' edges."""
    using = consumers.get(direct.node, [])
    if not direct.kind.startswith(_SEE_THROUGH) or not using:
        return [direct]
    behind = [edge(node, slot, direct.leaf, (direct.node, *direct.through)) for node, slot in using]
    deeper = [found for e in behind for found in _look_through(e, consumers)]
    return deeper if len(deeper) > 1 else [direct]


def feeders(roots: Iterable[Any], bracket: Callable[[int], int | None], floor: int, newest: int) -> tuple[int, ...]:
    """Return the indices of the calls whose output flows directly into `roots` (autograd nodes).

    bracket: maps a node's sequence number to the call that made it, or None; none made those from `newest` on. Nodes
    older than `floor` (made before this iteration) end the walk.
    """
    found: set[int] = set()
    nodes = list(roots)
    seen = {None, *nodes}
    for node in nodes:  # it grows while we walk
        number = type(node)._sequence_nr(node)
        call = bracket(number) if number < newest else None
        if call is not None:
            found.add(call)
        elif number >= floor:
            for target, _ in node.next_functions:
                if target not in seen:
                    seen.add(target)
                    nodes.append(target)
    return tuple(sorted(found))
