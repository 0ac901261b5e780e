"""A scripted session: three stops of a small dynamic net, and answers at once from another thread."""

import queue
import threading
from collections.abc import Callable

from msgspec.structs import replace

from backpropdbg.questions import (
    Line,
    Mark,
    Moment,
    NodeLine,
    Nodes,
    NodesOf,
    NodeUse,
    Optimizer,
    OptimizerOf,
    Parameters,
    ParametersOf,
    Question,
    Stops,
    StopsOf,
    Story,
    StoryOf,
    Target,
    Timeline,
    TimelineOf,
    Turn,
)
from backpropdbg.situation import GraphNode, Matrix, Row, Situation, Source, Window
from backpropdbg.wire.session import Answered, Cells, Ended, Message, Printed, Result, Running, Stopped

PARTIAL = ((0.726, 0.081, -0.316), (0.00003, 0.0, -1.253), (-0.086, "NaN", "Infinity"))
LABELS = ("x", "input_linear", "middle#1", "middle#2", "middle#3", "output_linear", "loss")
BACK = ("pending", "pending", "pending", "here", "done", "done", "done")
GRAPH = tuple(
    GraphNode(label, n, "done", state, "#" in label, f"A{n - 1}" if "#" in label else "", *norm)
    for n, (label, state, norm) in enumerate(
        zip(LABELS, BACK, ((), (), (), ("value", 2.4075), ("value", 2.3307), (), ()), strict=True)
    )
)
LEDGER = (
    Row("carried", "carried in", state="none"),
    Row("partial", "A3", "use #3", norm=2.3307, cosine=0.72, element=0.0772, note="pulls it down"),
    Row("partial", "A2", "use #2", norm=2.4075, cosine=0.74, element=-0.0864, note="pulls up, cancels 89 %", here=True),
    Row("partial", "A1", "use #1", "pending"),
    Row("running", "running sum", norm=3.4727, cosine=1.0, element=-0.00003),
    Row("grad", ".grad", state="none", note="AccumulateGrad has not run yet"),
)
SOURCE = Source(
    "/home/me/dynamic_net.py", 32, 29, tuple(f"    h{n} = self.lin(h[{n}])" for n in range(29, 36)), "use #2"
)
STOP = Situation(
    position=17, iteration=1, phase="backward", event="BackwardUse", where="middle_linear#2 of 3", program="DynamicNet",
    loss=59.92, seed=1816, optimizer="SGD lr=0.01", focus="middle_linear.weight", shape=(3, 3), element=(2, 0),
    parameters=("input_linear.weight", "middle_linear.weight", "middle_linear.bias"), graph=GRAPH, ledger=LEDGER,
    update=(), cosine_to="running sum", source=SOURCE, proof="No weight moves in backward.",
    matrices=(
        Matrix("partial", "A2  partial", (3, 3)), Matrix("running", "running sum", (3, 3)),
        Matrix("weight", "weight [now]", (3, 3), note="bit for bit as before", scale="weight"),
    ),
    explanation=("Use #2's gradient arrived, the 2nd of 3.", ".grad is still None: [bold]AccumulateGrad[/bold] adds."),
)  # fmt: skip
MOMENTS = Timeline(
    1, 6, 3, 6,
    (
        Moment(1, 0, 59.92, 3, 3.4727, "value", until=1), Moment(2, 20, 41.87, 0, None, "none", until=2),
        Moment(3, 40, 30.0, 12, 0.0, "value", until=3, breaks=(1, 2)),
        Moment(4, 60, 2.5, 1, "NaN", "value", "the gradient is not finite", 4),
        Moment(5, 80, "NaN", 2, 1.0, "value", "the loss is not finite", 5, (1,)), Moment(6, 99, None, 1, until=6),
    ),
)  # fmt: skip

MARKS = (
    Mark("breakpoint", 1, "breakpoint 1: backward middle_linear if loss > 3 hit 2 times\n    print loss"),
    Mark("breakpoint", 2, "watchpoint 2: [bold]weight (disabled)", enabled=False),
    Mark("display", 1, "1: loss = 59.92"),
)
OPTIMIZER = "\n".join(["SGD lr=0.01", *(f"  line {n} [red]" for n in range(60))])
TURNS = (
    Turn(8, None, "none", -0.09, "value", None, "none"),
    Turn(9, "NaN", "value", -0.09, "value", -0.0901, "value", -1e-4),
    Turn(1, 0.0772, "value", None, "not kept", None, "pending"),
)  # fmt: skip


def story_of(scope: str) -> Story:
    """Of the first stop; the terms of the parameter are twice as large."""
    name = {"element": "W[2,0]", "row": "W[2,:]", "parameter": "W"}[scope]
    factor = 2.0 if scope == "parameter" else 1.0
    rows = tuple(replace(row, element=row.element and factor * row.element) for row in LEDGER)
    return Story(STOP.position, STOP.focus, STOP.element, scope, name, rows, 0, TURNS)


def parameters(asked: ParametersOf) -> Parameters:
    """A page of 2,000 modules with a weight each; the focus is in the 500th."""
    lines = []
    for n in range(2_000):
        name = STOP.focus if n == 500 else f"layer.{n}.weight"
        row = Line(1, "weight", name, n % 4, n / 10, "value", n / 1e5, "value", "S" * (n % 4 > 1) + "!" * (n == 501))
        if asked.find in name:
            lines += [Line(0, name.removesuffix(".weight")), row]
    here = next((n for n, line in enumerate(lines) if line.name == STOP.focus), -1)
    first = here - asked.count // 2 if asked.around else asked.first
    first = max(0, min(first, len(lines) - asked.count))
    page = tuple(lines[first : first + asked.count])
    return Parameters(STOP.position, asked.find, 2_000, len(lines) // 2, len(lines), first, here, page)


LEAF = "AccumulateGrad middle_linear.weight"
NODES = (
    NodeLine(1, 1, "MseLossBackward0", "done", targets=(Target(2, "AddmmBackward0"),)),
    NodeLine(2, 2, "AddmmBackward0", "done", 1, 2, (Target(3, "StackBackward0"), Target(6, "TBackward0")), 54),
    NodeLine(3, 5, "[bold]ReluBackward0, TBackward0", "done", 3, uses=(NodeUse("A9"), NodeUse("A4"))),
    NodeLine(6, 6, "TBackward0", "done", 1, 1, (Target(11, LEAF, "A3"),), 0, (NodeUse("A3", "value", 2.3307),)),
    NodeLine(7, 7, "TBackward0", "here", 1, 1, (Target(11, LEAF, "A2"),), 0, (NodeUse("A2", "value", 2.4075),)),
    NodeLine(8, 8, "ReluBackward0", "not known", targets=(Target(9, "AddmmBackward0"),)),
    NodeLine(9, 9, "AddmmBackward0", "pending", 1, 1, (Target(10, "TBackward0"),)),
    NodeLine(10, 10, "TBackward0", "pending", 1, 1, (Target(11, LEAF, "A1"),), 0, (NodeUse("A1"),)),
    NodeLine(11, 11, LEAF, "pending", 1, 3),
    *(NodeLine(n, n, f"Node{n}Backward0", "not computed", targets=(Target(n + 1, "X"),)) for n in range(12, 20_000)),
)


def nodes(asked: NodesOf) -> Nodes:
    """A page of twenty thousand, the stop at the seventh."""
    first = 4 - asked.count // 2 if asked.around else asked.first
    if asked.node:
        first = next(n for n, line in enumerate(NODES) if line.last >= asked.node)
    first = max(0, min(first, len(NODES) - asked.count))
    page = NODES[first : first + asked.count]
    return Nodes(STOP.position, STOP.focus, "", "backward 1 of iteration 1", 20_001, len(NODES), first, 4, page)


class FakeSession:
    """Answers like a program under test, and remembers what was asked of it."""

    def __init__(self, first: Situation | None = STOP) -> None:
        self.first, self.sent, self.windows, self.asked = first, [], [], []
        self.answers: dict[str, str] = {}
        self.marks, self.nodes = list(MARKS), nodes
        self.closed, self.step, self.moments = False, 1, MOMENTS
        self._say: Callable[[Message], None] = lambda message: None
        self._queue: queue.Queue[Message | None] = queue.Queue()

    def _pump(self) -> None:
        while (message := self._queue.get()) is not None:
            self._say(message)

    def say(self, *messages: Message) -> None:
        for message in messages:
            self._queue.put(message)

    def start(self, receive: Callable[[Message], None]) -> None:
        self._say = receive
        threading.Thread(target=self._pump, daemon=True).start()
        self.say(Running(), *([] if self.first is None else [Stopped(self.first)]))

    def command(self, line: str) -> None:
        self.sent.append(line)
        self.change(line)
        if line == "hang":
            self.say(Result(line, "", moves=True))
        elif line in ("step", "next", "finish", "continue", "rs", "rn", "rc") or line.startswith("goto"):
            self.say(Result(line, "", moves=True), Stopped(replace(STOP, position=17 + len(self.sent))))
        elif line.startswith("bad"):
            self.say(Result(line, "no such command: [red]bad[/red]", ok=False))
        else:
            self.say(Result(line, self.answers.get(line, f"did {line}")))

    def change(self, line: str) -> None:
        """Carry out what is about stops."""
        verb, _, number = line.partition(" ")
        kind = "display" if verb == "undisplay" else "breakpoint"
        for n, mark in enumerate(self.marks):
            if (mark.kind, str(mark.number)) == (kind, number) and verb in ("enable", "disable"):
                text = mark.text.replace(" (disabled)", "") + " (disabled)" * (verb == "disable")
                self.marks[n] = replace(mark, text=text, enabled=verb == "enable")
            elif (mark.kind, str(mark.number)) == (kind, number) and verb in ("clear", "undisplay"):
                del self.marks[n]

    def window(self, name: str, rows: int, cols: int, row0: int = 0, col0: int = 0, pool: bool = True) -> None:
        self.windows.append((name, rows, cols) if pool else (name, rows, cols, row0, col0))
        self.say(Cells(name, Window(name, (3, 3), PARTIAL, 0, 0, self.step, 1, 1.253, 1.59)))

    def printed(self, position: int, most: int = 20_000) -> None:
        self.say(Printed(position, (("stdout", f"printed before {position}\n"), ("stderr", "a warning\n"))))

    def ask(self, question: Question) -> None:
        self.asked.append(question)
        match question:
            case TimelineOf():
                self.say(Answered(question, self.moments))
            case StoryOf(scope=scope):
                self.say(Answered(question, story_of(scope)))
            case ParametersOf():
                self.say(Answered(question, parameters(question)))
            case StopsOf():
                self.say(Answered(question, Stops(STOP.position, tuple(self.marks))))
            case NodesOf():
                self.say(Answered(question, self.nodes(question)))
            case OptimizerOf():
                self.say(Answered(question, Optimizer(STOP.position, STOP.focus, OPTIMIZER)))

    def interrupt(self) -> None:
        self.sent.append("<interrupt>")
        self.say(Stopped(STOP))

    def restart(self, to_here: bool = False) -> None:
        self.sent.append("<restart to here>" if to_here else "<restart>")
        self.say(Stopped(STOP))

    def close(self) -> None:
        self.closed = True
        self.say(Ended("closed", -15))
        self._queue.put(None)
