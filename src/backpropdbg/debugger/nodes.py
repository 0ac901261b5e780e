"""The autograd nodes of a backward as a list, in its order: what each hands on to whom, and which of them have run.

A hook sees a node that makes a use, and the AccumulateGrad of a parameter. What comes before such a node has run once
it has, and what comes after one that has not run has not. Of all others nobody knows, and so it is said.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from backpropdbg.debugger import tables
from backpropdbg.debugger.repeats import Block, blocks, repeats
from backpropdbg.debugger.words import norm, state_of
from backpropdbg.errors import CommandError
from backpropdbg.events import (
    Accumulated,
    BackwardFinished,
    BackwardStarted,
    BackwardUse,
    Event,
    GroupSummed,
    Held,
    PartialEdited,
    Use,
)
from backpropdbg.nodes import Nodes, UseEdge, unpack
from backpropdbg.questions import NodeLine, NodesOf, NodeState, NodeUse, Target
from backpropdbg.questions import Nodes as Answer

if TYPE_CHECKING:
    from backpropdbg.debugger.core import Debugger

NO_BACKWARD = "no backward has begun in this iteration: its nodes are read when it begins"
NOT_RECORDED = "not recorded: the nodes of this backward were not asked for"
FROM_NOW_ON = f"{NOT_RECORDED}; they are from the next backward on"
DAMAGED = "the nodes of this backward can't be read: the recording is damaged"
NONE = "this backward begins at leaves: there is no node before them"
_MOST_NAMES = 6
_MOST_TARGETS = 6
_MOST_LINES = 60


class Graph:
    """One graph, with what does not depend on a stop."""

    def __init__(self, nodes: Nodes) -> None:
        self.nodes = nodes
        self.sums = [0] * len(nodes)
        for targets in nodes.targets:
            for target in targets:
                if target >= 0:
                    self.sums[target] += 1
        self.leaf = {name: node for node, name in nodes.leaves.items()}
        self.repeats = repeats([self._mark(n) for n in range(len(nodes))])

    def _mark(self, node: int) -> tuple[object, ...]:
        """What makes two nodes alike: their names, and where they hand what; leaves are the same or not."""
        leaves = self.nodes.leaves
        ahead = [(t, 0) if t in leaves or t < 0 else (t - node, 1) for t in self.nodes.targets[node]]
        return self.nodes.kinds[node], self.sums[node], leaves.get(node), *ahead

    def edge(self, use: Use) -> UseEdge | None:
        """Where a use is."""
        edges = self.nodes.uses.get(use.parameter, ())
        return edges[use.place - 1] if use.place <= len(edges) else None


class Progress:
    """How far a backward is at a stop, and the lines that this makes.

    Args:
        events: of the iteration, up to the stop. known: the parameters that are tracked then, if that is known.

    Attributes:
        here: the node that the stop is at, -1 where it is at none. line: its line; else the last that is done, or -1.
    """

    def __init__(self, graph: Graph, begun: BackwardStarted, events: Sequence[Event], known: Collection[str]) -> None:
        self.graph, self.begun = graph, begun
        mine = [e for e in events if getattr(e, "run", 0) == begun.run]
        self.ended = next((e for e in mine if isinstance(e, BackwardFinished)), None)
        ran = {node for e in mine if (node := self._node(e)) >= 0 and not _is_before(e)}
        at_mine = bool(mine) and mine[-1] is events[-1]
        self.here = self._node(events[-1]) if at_mine else -1
        edges = [graph.edge(use) for use in begun.uses if not known or use.parameter in known]
        waiting = {edge.node for edge in edges if edge is not None} - ran
        self.states = self._states(ran, waiting, events[-1] is begun)
        self.blocks = blocks(self.states, graph.repeats, self.here)
        last = max((n for n, state in enumerate(self.states) if state == "done"), default=-1)
        self.line = self.line_of(last if self.here < 0 else self.here)

    def _node(self, event: Event) -> int:
        """The node that an event of this run is about; -1 where it is about none."""
        match event:
            case BackwardUse(use=use) | PartialEdited(use=use):
                edge = self.graph.edge(use)
                return edge.node if edge is not None else -1
            case GroupSummed():
                uses = [u for u in self.begun.uses if u.parameter == event.parameter and u.number in event.numbers]
                edge = self.graph.edge(uses[0]) if uses else None
                return edge.above if edge is not None else -1
            case Accumulated():
                return self.graph.leaf.get(event.parameter, -1)
        return -1

    def _states(self, ran: set[int], waiting: set[int], begins: bool) -> list[NodeState]:
        """What is certain of each node. waiting: those that were seen if they had run. begins: nothing has run yet."""
        targets, count = self.graph.nodes.targets, len(self.graph.nodes)
        finished, failed = self.ended is not None and not self.ended.failed, self.ended is not None
        done, ahead = [finished] * count, [begins] * count
        for node in range(count - 1, -1, -1) if not finished else ():
            done[node] = node in ran or any(t >= 0 and done[t] for t in targets[node])
        for node in range(count) if not (finished or begins) else ():
            ahead[node] = ahead[node] or node in waiting
            if ahead[node] or node == self.here:
                for target in targets[node]:
                    if target >= 0:
                        ahead[target] = True
        later: NodeState = "not computed" if failed else "pending"
        states: list[NodeState] = [
            "done" if over else later if comes else "not known" for over, comes in zip(done, ahead, strict=True)
        ]
        for node in self.graph.nodes.unneeded:
            states[node] = "not computed"
        if self.here >= 0:
            states[self.here] = "here"
        return states

    def line_of(self, node: int) -> int:
        """The line that a node is on; -1 for a node that there is not."""
        return next((n for n, b in enumerate(self.blocks) if b.first <= node < b.first + b.period * b.times), -1)


def _is_before(event: Event) -> bool:
    """True for an event that comes before its node runs, not after it."""
    return isinstance(event, GroupSummed) and not event.group


def current(events: Iterable[Event]) -> BackwardStarted | None:
    """The newest backward that has not ended, else the one that ended last; None where none has begun."""
    begun: list[BackwardStarted] = []
    last = None
    for event in events:
        if isinstance(event, BackwardStarted):
            begun.append(event)
        elif isinstance(event, BackwardFinished):
            last = next((one for one in begun if one.run == event.run), last)
            begun = [one for one in begun if one.run != event.run]
    return begun[-1] if begun else last


class Lines:
    """Writes the lines of one stop, for one parameter."""

    def __init__(self, progress: Progress, focus: str, partials: dict[int, Held | None]) -> None:
        self._progress, self._partials = progress, partials
        self._uses: dict[int, dict[int, Use]] = {}  # by node, then by slot
        for use in progress.begun.uses:
            edge = progress.graph.edge(use) if use.parameter == focus else None
            if edge is not None:
                self._uses.setdefault(edge.node, {})[edge.slot] = use

    def of(self, block: Block) -> NodeLine:
        """Return one line."""
        graph, nodes = self._progress.graph, self._progress.graph.nodes
        first, state = block.first, self._progress.states[block.first]
        last = first + block.period * block.times
        if block.times > 1:
            names = [nodes.name(n) for n in range(first, first + block.period)]
            label = ", ".join(names[:_MOST_NAMES]) + ", ..." * (len(names) > _MOST_NAMES)
            made = [use for n in range(first, last) for use in self._uses.get(n, {}).values()]
            ends = [NodeUse(f"A{use.number}") for use in (*made[:1], *made[1:][-1:])]
            return NodeLine(first + 1, last, label, state, block.times, uses=tuple(ends))
        uses = self._uses.get(first, {})
        targets = [
            Target(t + 1, nodes.name(t), f"A{uses[slot].number}" if slot in uses else "")
            for slot, t in enumerate(nodes.targets[first])
            if t >= 0
        ]
        more = max(0, len(targets) - _MOST_TARGETS)
        made = [uses[slot] for slot in sorted(uses)]
        sums = max(1, graph.sums[first])
        told = tuple(map(self._use, made))
        return NodeLine(first + 1, last, nodes.name(first), state, 1, sums, tuple(targets[:_MOST_TARGETS]), more, told)

    def _use(self, use: Use) -> NodeUse:
        if use.number not in self._partials:
            return NodeUse(f"A{use.number}", "not computed" if self._progress.ended is not None else "pending")
        held = self._partials[use.number]
        return NodeUse(f"A{use.number}", state_of(held, "not computed"), norm(held) if held is not None else None)


class Graphs:
    """The graph that was looked at last, and how far its backward was then."""

    def __init__(self) -> None:
        self._late: tuple[tuple[int, int], bytes] = (0, 0), b""
        self._graph: tuple[bytes, Graph | None] = b"", None
        self._progress: tuple[tuple[int, int], Progress] | None = None

    def page(self, d: "Debugger", asked: NodesOf) -> Answer:
        """Return some lines of the nodes of the newest backward."""
        position, begun = d.stop.position, current(d.stop.events)
        packed = b"" if begun is None else begun.nodes or self._read_late(d, begun)
        if begun is None or not packed:
            return Answer(
                position, d.focus, NO_BACKWARD if begun is None else NOT_RECORDED if d.recorded else FROM_NOW_ON
            )
        if self._graph[0] != packed:
            nodes = unpack(packed)
            self._graph, self._progress = (packed, None if nodes is None else Graph(nodes)), None
        graph = self._graph[1]
        if graph is None or not len(graph.nodes):
            return Answer(position, d.focus, DAMAGED if graph is None else NONE)
        progress = self._at(d, graph, begun)
        count, first = len(progress.blocks), asked.first
        if asked.node:
            first = progress.line_of(asked.node - 1)
        elif asked.around:
            first = progress.line - asked.count // 2
        first = max(0, min(first, count - asked.count))
        runs = [run for run in d.stop.ledger.runs if run.number == begun.run]
        lines = Lines(progress, d.focus, {use.number: partial for run in runs for use, partial in run.arrived})
        page = tuple(map(lines.of, progress.blocks[first : first + asked.count]))
        title = f"backward {begun.run} of iteration {begun.iteration}"
        return Answer(position, d.focus, "", title, len(graph.nodes), count, first, progress.line, page)

    def _read_late(self, d: "Debugger", begun: BackwardStarted) -> bytes:
        """Those of a backward that is in progress, where nobody asked for them when it began."""
        key = begun.iteration, begun.run
        if self._late[0] != key:
            self._late = key, d.program.nodes(*key)
        return self._late[1]

    def _at(self, d: "Debugger", graph: Graph, begun: BackwardStarted) -> Progress:
        key = d.stop.position, begun.run
        if self._progress is None or self._progress[0] != key:
            known = d.trace.names_at(d.stop.position)
            self._progress = key, Progress(graph, begun, d.stop.events, known)
        return self._progress[1]


def as_text(d: "Debugger", number: int) -> str:
    """The lines around this stop, or from that of a node on, as a table."""
    told = d.graphs.page(d, NodesOf(0, _MOST_LINES, around=True, node=number))
    if told.why:
        return told.why
    if number > told.known:
        raise CommandError(f"graph nodes {number}: {told.title} has {told.known} nodes")
    cells = [_cells(each) for each in told.page]
    widths = [max(len(row[n]) for row in cells) for n in range(5)]
    rows = ["  ".join(f"{text:<{width}}" for text, width in zip(row, (*widths, 0), strict=True)) for row in cells]
    before, after = told.first, told.lines - told.first - len(told.page)
    gaps = [f"... {count} lines {where}" if count else "" for count, where in ((before, "before"), (after, "after"))]
    lines = [f"{told.title}: {told.known} nodes", gaps[0], *(row.rstrip() for row in rows), gaps[1]]
    return "\n".join(filter(None, lines))


def _cells(line: NodeLine) -> tuple[str, ...]:
    uses = [f"{use.label} {tables.shown(use.norm) or tables.word(use.state)}" for use in line.uses]
    told = ", ".join(uses) if line.times == 1 else " .. ".join(use.label for use in line.uses)
    targets = [f"{t.number} {t.label}" for t in line.targets] + [f"{line.more} more"] * bool(line.more)
    ahead = f"-> {', '.join(targets)}" if targets else ""
    return ">" * (line.state == "here"), line.place, line.state, line.name, told, ahead
