"""The autograd nodes of one backward as numbers and names, and as few bytes: nothing here keeps a graph alive."""

import zlib
from typing import NamedTuple

import msgspec
from msgspec import Struct

_MOST_BYTES = 2**28  # of one graph that is unpacked


class UseEdge(NamedTuple):
    """Where a use is in the graph.

    Attributes:
        node, slot: the edge that its partial flows along. above: the last of the casts and views that it passes on its
            way to a parameter, or the node that computed a tensor that is followed; -1 where there is none.
    """

    node: int
    slot: int
    above: int = -1


class Nodes(Struct, frozen=True, gc=False):
    """The graph of one engine run, in the order in which the engine takes its nodes where one thread does it all.

    Attributes:
        names: those that nodes have. kinds: of each node, the index of its name.
        targets: of each node, by slot, what it hands its gradients on to; -1 where it hands none. All come later.
        uses: by parameter, in forward order. leaves: what an AccumulateGrad is of.
        unneeded: the nodes that this run does not compute.
    """

    names: tuple[str, ...]
    kinds: tuple[int, ...]
    targets: tuple[tuple[int, ...], ...]
    uses: dict[str, tuple[UseEdge, ...]]
    leaves: dict[int, str]
    unneeded: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.kinds)

    def name(self, node: int) -> str:
        """What a node is called; of an AccumulateGrad with its parameter."""
        leaf = self.leaves.get(node)
        return self.names[self.kinds[node]] + ("" if leaf is None else f" {leaf}")


def pack(nodes: Nodes) -> bytes:
    """Return a graph as bytes: targets as steps ahead, so that what repeats itself takes next to nothing."""
    steps = [tuple([0 if t < 0 else t - n for t in ahead]) for n, ahead in enumerate(nodes.targets)]
    return zlib.compress(msgspec.msgpack.encode(msgspec.structs.replace(nodes, targets=tuple(steps))), 1)


def unpack(packed: bytes) -> Nodes | None:
    """Return the graph again; None where these bytes, which may be of a damaged file, are none."""
    try:
        found = zlib.decompressobj().decompress(packed, _MOST_BYTES)
        steps = msgspec.msgpack.decode(found, type=Nodes)
    except (zlib.error, msgspec.MsgspecError, RecursionError, ValueError):
        return None
    targets = [tuple([n + step if step else -1 for step in ahead]) for n, ahead in enumerate(steps.targets)]
    nodes = msgspec.structs.replace(steps, targets=tuple(targets))
    return nodes if _makes_sense(nodes) else None


def _makes_sense(nodes: Nodes) -> bool:
    """True where every number in it means something, and nothing leads back."""
    count, edges = len(nodes), [edge for found in nodes.uses.values() for edge in found]
    return (
        len(nodes.targets) == count
        and all(0 <= kind < len(nodes.names) for kind in nodes.kinds)
        and all(t == -1 or n < t < count for n, targets in enumerate(nodes.targets) for t in targets)
        and all(0 <= node < count for node in (*nodes.leaves, *nodes.unneeded, *(edge.node for edge in edges)))
        and all(0 <= edge.slot < len(nodes.targets[edge.node]) and -1 <= edge.above < count for edge in edges)
    )
