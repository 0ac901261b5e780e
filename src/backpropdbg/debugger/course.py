"""How far a backward is among its nodes, event by event: what has certainly run, and what has certainly not.

A hook sees a node that makes a use, and the AccumulateGrad of a parameter. What comes before such a node has run once
it has, and what comes after one that has not run has not. Of all others nobody knows, and so it is said.
"""

from collections.abc import Sequence, Set

from backpropdbg.debugger.repeats import Stretch, repeats, stretches
from backpropdbg.events import (
    Accumulated,
    BackwardFinished,
    BackwardStarted,
    BackwardUse,
    Event,
    GroupSummed,
    PartialEdited,
    Use,
)
from backpropdbg.nodes import Nodes, UseEdge
from backpropdbg.questions import NodeState


class Graph:
    """One graph, with what does not depend on a stop.

    Attributes:
        users: of each node, those that hand gradients on to it, once for each.
    """

    def __init__(self, nodes: Nodes) -> None:
        self.nodes = nodes
        self.users: list[list[int]] = [[] for _ in range(len(nodes))]
        for node, targets in enumerate(nodes.targets):
            for target in targets:
                if target >= 0:
                    self.users[target].append(node)
        self.leaf = {name: node for node, name in nodes.leaves.items()}
        self.repeats = repeats([self._mark(n) for n in range(len(nodes))])

    def _mark(self, node: int) -> tuple[object, ...]:
        """What makes two nodes alike: their names, and where they hand what; leaves are the same or not."""
        leaves = self.nodes.leaves
        ahead = [(t, 0) if t in leaves or t < 0 else (t - node, 1) for t in self.nodes.targets[node]]
        return self.nodes.kinds[node], len(self.users[node]), leaves.get(node), *ahead

    def edge(self, use: Use) -> UseEdge | None:
        """Where a use is."""
        edges = self.nodes.uses.get(use.parameter, ())
        return edges[use.place - 1] if use.place <= len(edges) else None


class Course:
    """One backward on its way; it is told of each event once, in order.

    Attributes:
        position: of the newest event that it was told of.
        here: the node that this event is about, -1 where it is about none. ended: the end of the backward.
    """

    def __init__(self, graph: Graph, begun: BackwardStarted, position: int) -> None:
        self.graph, self.begun, self.position = graph, begun, position
        self.here, self.ended = -1, False
        count = len(graph.nodes)
        self._tracked: dict[str, set[int]] = {}
        for use in begun.uses:
            edge = graph.edge(use)
            if edge is not None:
                self._tracked.setdefault(use.parameter, set()).add(edge.node)
        self._waits = set().union(*self._tracked.values())  # hooks will tell of these
        self._done = bytearray(count)
        self._past = bytearray(count)  # nothing that we know of keeps what comes after such a node from running
        self._holds = [len(users) for users in graph.users]  # how many nodes before it are not past
        self._begins, self._failed, self._fresh = True, False, -1
        self._made: dict[str, dict[int, dict[int, Use]]] = {}

    def uses(self, focus: str) -> dict[int, dict[int, Use]]:
        """The uses of a parameter, by node and slot."""
        if focus not in self._made:
            found: dict[int, dict[int, Use]] = {}
            for use in self.begun.uses:
                edge = self.graph.edge(use) if use.parameter == focus else None
                if edge is not None:
                    found.setdefault(edge.node, {})[edge.slot] = use
            self._made[focus] = found
        return self._made[focus]

    def follow(self, events: Sequence[Event], position: int, known: Set[str]) -> None:
        """Take the events after the newest one, up to that at a position. known: the parameters that are tracked then.

        Of one that no longer is, no hook tells.
        """
        for event in events[len(events) - (position - self.position) :]:
            self._take(event)
        self.position = position
        if known and not self._tracked.keys() <= known:
            gone = {node for name in self._tracked.keys() - known for node in self._tracked.pop(name)}
            gone -= {node for nodes in self._tracked.values() for node in nodes}
            self._waits -= gone
            self._pass([] if self._begins else [*gone])

    def _take(self, event: Event) -> None:
        if self._begins:
            self._begins = False
            self._pass([n for n, hold in enumerate(self._holds) if not hold])
        mine = getattr(event, "run", 0) == self.begun.run
        self.here = self._node(event) if mine else -1
        if self._fresh not in (-1, self.here):  # its hooks are over
            self._waits.discard(self._fresh)
            self._pass([self._fresh])
            self._fresh = -1
        if self.here >= 0 and not (isinstance(event, GroupSummed) and not event.group):  # that comes before its node
            self._ran(self.here)
        if mine and isinstance(event, BackwardFinished):
            self.ended, self._failed = True, event.failed

    def _node(self, event: Event) -> int:
        """The node that an event of this run is about; -1 where it is about none."""
        edge = None
        match event:
            case BackwardUse(use=use) | PartialEdited(use=use):
                edge = self.graph.edge(use)
                return edge.node if edge is not None else -1
            case GroupSummed():
                uses = (u for u in self.begun.uses if u.parameter == event.parameter and u.number in event.numbers)
                edge = next(map(self.graph.edge, uses), None)
                return edge.above if edge is not None else -1
            case Accumulated():
                return self.graph.leaf.get(event.parameter, -1)
        return -1

    def _ran(self, node: int) -> None:
        """A node has run, and so have all before it."""
        self._fresh, stack, before = node, [node], []
        while stack:
            one = stack.pop()
            if not self._done[one]:
                self._done[one] = True
                stack += self.graph.users[one]
                before.append(one)
        self._waits.difference_update(before[1:])
        self._pass(before[1:])

    def _pass(self, stack: list[int]) -> None:
        """Nothing that we know of keeps what comes after these from running; nor then what comes after that."""
        while stack:
            one = stack.pop()
            if self._past[one] or one in self._waits or (self._holds[one] and not self._done[one]):
                continue
            self._past[one] = True
            for target in self.graph.nodes.targets[one]:
                if target >= 0:
                    self._holds[target] -= 1
                    if not self._holds[target]:
                        stack.append(target)

    def states(self) -> list[NodeState]:
        """What is certain of each node."""
        count, unneeded = len(self.graph.nodes), self.graph.nodes.unneeded
        if self.ended and not self._failed:
            found: list[NodeState] = ["done"] * count
        elif self._begins:
            found = ["pending"] * count
        else:
            later: NodeState = "not computed" if self._failed else "pending"
            words: tuple[NodeState, ...] = (later, "not known", "done", "done")
            free = [not hold for hold in self._holds]
            for node in self._waits:
                free[node] = False
            found = [words[2 * over + may] for over, may in zip(self._done, free, strict=True)]
        for node in unneeded:
            found[node] = "not computed"
        if self.here >= 0:
            found[self.here] = "here"
        return found

    def lines(self, states: Sequence[NodeState]) -> list[Stretch]:
        """The lines that these states make."""
        return stretches(states, self.graph.repeats, self.here)
