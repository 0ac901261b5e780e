"""What a face may ask about a stop beside its situation, and the answers: frozen values that travel on the wire.

A face asks for what it shows and no more: one story, a page of parameters, the histogram of one matrix.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from backpropdbg.situation import Number, Row, State

Scope = Literal["element", "row", "parameter"]
Few = Annotated[int, Meta(ge=0, le=1_000)]
Index = Annotated[int, Meta(ge=0, lt=2**53)]


class StoryOf(Struct, frozen=True, tag="story"):
    """What each use adds to the selected element, its row or the whole parameter; and that over `count` iterations."""

    scope: Scope
    count: Few


class Turn(Struct, frozen=True):
    """One iteration of a story: of an element its values, else norms.

    Attributes:
        grad: what the optimizer read, before that what the backward left; not what one of an earlier
            iteration left. before, after: the weight around the update.
        change: after - before, or the norm of that.
        skipped: how many iterations between the one before and this one are not told.
    """

    iteration: int
    grad: Number | None = None
    grad_state: State = "pending"
    before: Number | None = None
    before_state: State = "none"
    after: Number | None = None
    after_state: State = "pending"
    change: Number | None = None
    skipped: int = 0


class Story(Struct, frozen=True, tag="story"):
    """The answer.

    Attributes:
        name: e.g. "W[3,0]", "W[3,:]", "W".
        terms: rows of the ledger and of the update. Of a row or a parameter, `norm` is its own, and `element` is how
            far it goes the way of the sum (in the update: of the difference, the weights too), so that the terms add
            up to that.
        updates: how many of them, at the end, are of the update.
        turns: the newest iterations up to the stop, some of those before, and the one with the largest gradient; the
            oldest first.
    """

    position: int
    focus: str
    element: tuple[int, ...]
    scope: Scope
    name: str
    terms: tuple[Row, ...]
    updates: int
    turns: tuple[Turn, ...]


class Moment(Struct, frozen=True):
    """One iteration in the timeline, where there is no room for all: for those up to `until`.

    Attributes:
        position: of its first event that one can stop at.
        loss: the last one. None where there is none, or it is not kept.
        uses: of the focused parameter: partials that arrived; before the backward, forward uses.
        norm, state: of the gradient that the optimizer read, before that of what the backward left.
        breaks: numbers of the breakpoints that stopped, in any of those that it stands for.
        anomaly: "" or what went wrong, e.g. "the loss is not finite".
    """

    iteration: int
    position: int
    loss: Number | None = None
    uses: int = 0
    norm: Number | None = None
    state: State = "pending"
    anomaly: str = ""
    until: int = 0
    breaks: tuple[int, ...] = ()


class TimelineOf(Struct, frozen=True, tag="timeline"):
    """The iterations from `first` to `last`, as many as there are columns."""

    first: Index
    last: Index
    columns: Few


class Timeline(Struct, frozen=True, tag="timeline"):
    """The iterations side by side.

    Attributes:
        first, last: of all that are known; 0 where none is. here: of the stop. now: of the newest event.
    """

    first: int
    last: int
    here: int
    now: int
    moments: tuple[Moment, ...] = ()


class ParametersOf(Struct, frozen=True, tag="parameters"):
    """A page of the tree of parameters.

    Attributes:
        find: words that all must be in the name, "" for all parameters. first, count: which lines.
        around: the lines around the focused parameter, in place of those from `first` on.
    """

    find: str = ""
    first: Index = 0
    count: Few = 20
    around: bool = False


# In the order in which they stand behind a parameter.
BADGES = {
    "T": "tied: several names",
    "F": "frozen",
    "S": "shared: several uses",
    "-": "its gradient is None",
    "!": "not finite",
    "C": "a gradient was carried in",
    "L": "its .grad is left by an earlier backward",
    "X": "its partials cancel each other by more than 90 %",
    "~": "the sum is not .grad, bit for bit",
    "?": "one operation may hide several uses",
}


class Line(Struct, frozen=True):
    """One line of the tree: a module, or (with a name) a parameter.

    Attributes:
        uses: in this iteration. norm, state: of `.grad` now.
        ratio, ratio_state: norm of the update by the norm of the weight before it.
        badges: letters of `BADGES`.
    """

    depth: int
    label: str
    name: str = ""
    uses: int = 0
    norm: Number | None = None
    state: State = "pending"
    ratio: Number | None = None
    ratio_state: State = "pending"
    badges: str = ""


class Parameters(Struct, frozen=True, tag="parameters"):
    """The answer.

    Attributes:
        known, found: how many parameters there are, and how many were found.
        lines: how many lines the tree has. first: which one the first of `page` is. here: the focused one, or -1.
    """

    position: int
    find: str
    known: int
    found: int
    lines: int
    first: int
    here: int
    page: tuple[Line, ...]


class StopsOf(Struct, frozen=True, tag="stops"):
    """All breakpoints, watchpoints and displays."""


class Mark(Struct, frozen=True):
    """One of them.

    Attributes:
        kind: "breakpoint" (watchpoints are among them, with one count) or "display". text: as it is listed.
    """

    kind: Literal["breakpoint", "display"]
    number: int
    text: str
    enabled: bool = True


class Stops(Struct, frozen=True, tag="stops"):
    """The answer: breakpoints as they are now, displays with their values at this stop."""

    position: int
    marks: tuple[Mark, ...]


class OptimizerOf(Struct, frozen=True, tag="optimizer"):
    """What the optimizer has for the focused parameter, and its last update."""


class Optimizer(Struct, frozen=True, tag="optimizer"):
    """The answer, as `info optimizer` prints it."""

    position: int
    focus: str
    text: str


class NodesOf(Struct, frozen=True, tag="nodes"):
    """A page of the autograd nodes of a backward.

    Attributes:
        first, count: which lines. around: the lines around this stop, in place of those from `first` on. node: those
            from the line of the node with this number on.
    """

    first: Index = 0
    count: Few = 20
    around: bool = False
    node: Index = 0


NodeState = Literal["done", "here", "pending", "not known", "not computed"]


class Target(Struct, frozen=True):
    """What a node hands a gradient on to. use: of the focused parameter that goes along there, e.g. "A2"; or ""."""

    number: int
    label: str
    use: str = ""


class NodeUse(Struct, frozen=True):
    """A use of the focused parameter, e.g. "A2", and its partial."""

    label: str
    state: State = "pending"
    norm: Number | None = None


class NodeLine(Struct, frozen=True):
    """One node; or one repetition of a few nodes that stands for many, which are alike.

    Attributes:
        number: of the node, or of the first one, from 1 in the order of backward. last: of the last one.
        label: its name; of several, those of one repetition. times: how many repetitions.
        state: "done" and "pending" only where that is certain.
        sums: how many gradients it gets and adds up.
        targets: the first of what it hands gradients on to. more: how many others there are.
        uses: that it makes; of many, the first and the last.
    """

    number: int
    last: int
    label: str
    state: NodeState
    times: int = 1
    sums: int = 1
    targets: tuple[Target, ...] = ()
    more: int = 0
    uses: tuple[NodeUse, ...] = ()

    @property
    def place(self) -> str:
        """Its number, or "8-172"."""
        return f"{self.number}-{self.last}" if self.last > self.number else f"{self.number}"

    @property
    def name(self) -> str:
        """Its label; of many with how often they come, of a sum with how many gradients it adds."""
        if self.times > 1:
            return f"{self.times} x ({self.label})"
        return f"{self.label} (sum of {self.sums})" if self.sums > 1 else self.label


class Nodes(Struct, frozen=True, tag="nodes"):
    """The answer.

    Attributes:
        why: "" or, where there are no nodes to show, the reason in one sentence.
        title: of which backward they are. known: how many nodes it has.
        lines: how many lines that makes. first: which one the first of `page` is. here: the one of this stop, else the
            last that is done, or -1.
    """

    position: int
    focus: str
    why: str = ""
    title: str = ""
    known: int = 0
    lines: int = 0
    first: int = 0
    here: int = -1
    page: tuple[NodeLine, ...] = ()


Question = StoryOf | TimelineOf | ParametersOf | StopsOf | OptimizerOf | NodesOf
Answer = Story | Timeline | Parameters | Stops | Optimizer | Nodes
