"""The autograd nodes of a backward as a list, in its order: what each hands on to whom, and which of them have run."""

from typing import TYPE_CHECKING, NamedTuple

from backpropdbg.debugger import tables
from backpropdbg.debugger.course import Course, Graph
from backpropdbg.debugger.repeats import Stretch, cut, line_of
from backpropdbg.debugger.words import norm, state_of
from backpropdbg.errors import CommandError
from backpropdbg.events import BackwardFinished, BackwardStarted, Held, Use
from backpropdbg.nodes import unpack
from backpropdbg.questions import NodeLine, NodesOf, NodeState, NodeUse, Target
from backpropdbg.questions import Nodes as Answer

if TYPE_CHECKING:
    from backpropdbg.debugger.core import Debugger
    from backpropdbg.debugger.stop import Stop

NO_BACKWARD = "no backward has begun in this iteration: its nodes are read when it begins"
_NOT_ASKED = "not recorded: the nodes of this backward were not asked for"
NOT_RECORDED = f"{_NOT_ASKED} (`record --nodes` keeps those of all)"
FROM_NOW_ON = f"{_NOT_ASKED}; they are from the next backward on"
DAMAGED = "the nodes of this backward can't be read: the recording is damaged"
NONE = "this backward begins at leaves: there is no node before them"
_MOST_NAMES = 6
_MOST_TARGETS = 6
_MOST_LINES = 60


def current(stop: "Stop") -> BackwardStarted | None:
    """The newest backward that has not ended, else the one that ended last; None where none has begun."""
    begun, ended = stop.of(BackwardStarted), [e.run for e in stop.of(BackwardFinished)]
    going = [e for e in begun if e.run not in ended]
    return going[-1] if going else next((e for e in begun if e.run in ended[-1:]), None)


class Seen(NamedTuple):
    """How far a backward is at one stop.

    Attributes:
        line: that of the stop; else of the last node that is done, or -1.
    """

    course: Course
    position: int
    states: list[NodeState]
    parts: list[Stretch]
    line: int


def seen(course: Course) -> Seen:
    """Return how far it is."""
    states = course.states()
    parts = course.lines(states)
    last = next((n for n in range(len(states) - 1, -1, -1) if states[n] == "done"), -1)
    line = line_of(parts, course.here if course.here >= 0 else last)
    return Seen(course, course.position, states, parts, line)


class Lines:
    """Writes the lines of one stop, for one parameter."""

    def __init__(self, now: Seen, focus: str, partials: dict[int, Held | None]) -> None:
        self._now, self._graph, self._partials = now, now.course.graph, partials
        self._uses = now.course.uses(focus)

    def of(self, part: Stretch) -> NodeLine:
        """Return one line."""
        graph, nodes, first = self._graph, self._graph.nodes, part.first
        state = self._now.states[first]
        if part.times > 1:
            names = [nodes.name(n) for n in range(first, first + part.period)]
            label = ", ".join(names[:_MOST_NAMES]) + ", ..." * (len(names) > _MOST_NAMES)
            made = [use for n in range(first, part.end) for use in self._uses.get(n, {}).values()]
            ends = [NodeUse(f"A{use.number}") for use in (*made[:1], *made[1:][-1:])]
            return NodeLine(first + 1, part.end, label, state, part.times, uses=tuple(ends))
        uses = self._uses.get(first, {})
        targets = [
            Target(t + 1, nodes.name(t), f"A{uses[slot].number}" if slot in uses else "")
            for slot, t in enumerate(nodes.targets[first])
            if t >= 0
        ]
        more = max(0, len(targets) - _MOST_TARGETS)
        made = [uses[slot] for slot in sorted(uses)]
        sums, told = max(1, len(graph.users[first])), tuple(map(self._use, made))
        shown = tuple(targets[:_MOST_TARGETS])
        return NodeLine(first + 1, part.end, nodes.name(first), state, 1, sums, shown, more, told)

    def _use(self, use: Use) -> NodeUse:
        if use.number not in self._partials:
            return NodeUse(f"A{use.number}", "not computed" if self._now.course.ended else "pending")
        held = self._partials[use.number]
        return NodeUse(f"A{use.number}", state_of(held, "not computed"), norm(held) if held is not None else None)


class Graphs:
    """The graph that was looked at last, and how far its backward was then."""

    def __init__(self) -> None:
        self._late: tuple[tuple[int, int], bytes] = (0, 0), b""
        self._graph: tuple[bytes, Graph | None] = b"", None
        self._seen: Seen | None = None

    def page(self, d: "Debugger", asked: NodesOf) -> Answer:
        """Return some lines of the nodes of the newest backward."""
        position, begun = d.stop.position, current(d.stop)
        packed = b"" if begun is None else begun.nodes or self._read_late(d, begun)
        if begun is None or not packed:
            missing = NOT_RECORDED if d.recorded else FROM_NOW_ON
            return Answer(position, d.focus, NO_BACKWARD if begun is None else missing)
        if self._graph[0] != packed:
            nodes = unpack(packed)
            self._graph, self._seen = (packed, None if nodes is None else Graph(nodes)), None
        graph = self._graph[1]
        if graph is None or not len(graph.nodes):
            return Answer(position, d.focus, DAMAGED if graph is None else NONE)
        now = self._seen = self._at(d, graph, begun)
        count, first = sum(part.lines for part in now.parts), asked.first
        if asked.node:
            first = line_of(now.parts, asked.node - 1)
        elif asked.around:
            first = now.line - asked.count // 2
        first = max(0, min(first, count - asked.count))
        runs = [run for run in d.stop.ledger.runs if run.number == begun.run]
        lines = Lines(now, d.focus, {use.number: partial for run in runs for use, partial in run.arrived})
        page = tuple(map(lines.of, cut(now.parts, first, asked.count)))
        title = f"backward {begun.run} of iteration {begun.iteration}"
        return Answer(position, d.focus, "", title, len(graph.nodes), count, first, now.line, page)

    def _read_late(self, d: "Debugger", begun: BackwardStarted) -> bytes:
        """Those of a backward that is in progress, where nobody asked for them when it began."""
        key = begun.iteration, begun.run
        if self._late[0] != key:
            self._late = key, d.program.nodes(*key)
        return self._late[1]

    def _at(self, d: "Debugger", graph: Graph, begun: BackwardStarted) -> Seen:
        """How far a backward is at this stop; it goes on from what was seen last, where that was earlier."""
        position, events, now = d.stop.position, d.stop.events, self._seen
        start = position - len(events) + 1
        if now is not None and (now.course.begun.iteration, now.course.begun.run) == (begun.iteration, begun.run):
            if now.position == position:
                return now
            course = now.course if start <= now.position + 1 <= position else None
        else:
            course = None
        if course is None:
            first = start + next(n for n, event in enumerate(events) if event is begun)
            course = Course(graph, begun, first)
        course.follow(events, position, d.trace.names_at(position).keys())
        return seen(course)


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
