"""All that a face needs to draw one stop, as frozen values that also travel on the wire.

JSON has no NaN, so a number that may be non-finite is a `Number`: a float, or one of the strings
"NaN", "Infinity", "-Infinity". `number()` makes one, `as_float()` reads one back.
"""

import math
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

Number = float | str
SOON = "..."  # in the place of a number that is being computed: it takes a while
State = Literal["value", "none", "pending", "not computed", "not kept"]
Phase = Literal["forward", "backward", "update", "finished"]


def number(value: float) -> Number:
    """Return `value` fit for JSON.

    Example: `number(float("nan"))` is `"NaN"`, `number(1.5)` is `1.5`.
    """
    if math.isfinite(value):
        return float(value)
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def as_float(value: Number) -> float:
    """Return the float that `number()` wrote. Raises ValueError for any other string."""
    return float(value)


def element_name(parameter: str, element: Sequence[int]) -> str:
    """Return the short name of one element.

    Example: `element_name("lin.weight", (3, 0))` is "W[3,0]", `element_name("e", ())` is "e".
    """
    name = parameter.rpartition(".")[2]
    letter = {"weight": "W", "bias": "b"}.get(name, name or "element")
    return f"{letter}[{','.join(map(str, element))}]" if element else letter


class Row(Struct, frozen=True):
    """One line of the ledger or of the update.

    Attributes:
        kind: "carried", "partial", "running", "grad", "label", or "term" (of the update).
        term: first column, e.g. "A3", "carried in", ".grad", "momentum".
        detail: second column, e.g. "use #3"; may be empty.
        state: a value, or which kind of absence; norm, cosine and element are None unless "value".
        norm: Euclidean norm of the whole tensor.
        cosine: cosine to the running sum (or final sum: see Situation.cosine_to).
        element: the selected element's value.
        note: plain words, e.g. "pulls it up, 94 % cancelled" or "AccumulateGrad has not run yet".
        here: True for the row that this stop is about.
        position: of the event of a use that has been, which can be looked at again; None for all else.
    """

    kind: str
    term: str
    detail: str = ""
    state: State = "value"
    norm: Number | None = None
    cosine: Number | None = None
    element: Number | None = None
    note: str = ""
    here: bool = False
    position: int | None = None


class GraphNode(Struct, frozen=True):
    """One call in the unrolled graph, in forward order.

    Attributes:
        label: e.g. "middle_linear#2"; the input is "x", the last one "loss".
        level: longest path from the input; calls on one level do not feed each other.
        forward: "done", "here" or "pending". backward: likewise (for its focused partial or passage).
        focused: this call uses the focused parameter.
        partial: e.g. "A2" for a focused call, else "".
        partial_state, partial_norm: that partial as of this stop.
        forward_position, backward_position: of the events of a call that has been.
    """

    label: str
    level: int
    forward: str = "done"
    backward: str = "pending"
    focused: bool = False
    partial: str = ""
    partial_state: State = "pending"
    partial_norm: Number | None = None
    forward_position: int | None = None
    backward_position: int | None = None


class Matrix(Struct, frozen=True):
    """A tensor that this stop shows; its cells are fetched by `name` as a `Window`.

    Attributes:
        name: "partial", "running", "grad", "weight", "before", "delta" or "after".
        title: for the frame, e.g. "A2  partial".
        shape: of the tensor, () for a scalar.
        state: a value or which kind of absence.
        note: e.g. "bit for bit as before the backward".
        scale: matrices with the same scale name share one symmetric colour scale ("gradient", "weight", "delta").
    """

    name: str
    title: str
    shape: tuple[int, ...] = ()
    state: State = "value"
    note: str = ""
    scale: str = "gradient"


class Window(Struct, frozen=True):
    """The cells of a tensor that a screen has room for.

    Attributes:
        values: [rows, cols]; pooled to the value of largest magnitude per cell where `step` > 1.
        row0, col0: index of the first shown row and column.
        row_step, col_step: true rows and columns per shown cell.
        vmax: largest finite magnitude of the whole tensor.
        scale_vmax: the same over all matrices of this stop with the same scale.
    """

    name: str
    shape: tuple[int, ...]
    values: tuple[tuple[Number, ...], ...]
    row0: int = 0
    col0: int = 0
    row_step: int = 1
    col_step: int = 1
    vmax: float = 0.0
    scale_vmax: float = 0.0


class Source(Struct, frozen=True):
    """A few lines of the user's file around the line of this stop."""

    path: str
    line: int
    first: int
    lines: tuple[str, ...]
    caption: str = ""


class Progress(Struct, frozen=True):
    """How far a running program has come; or, looking: how far a look through what is recorded has come.

    Attributes:
        position: of the newest event, or of the one that is looked at; of `newest`, where it is looked for.
        loss: the newest one, None where there is none or it can't be told.
        rate: iterations a second, None where that is not known yet.
    """

    position: int
    newest: int
    iteration: int
    loss: Number | None = None
    rate: float | None = None
    looking: bool = False


class Situation(Struct, frozen=True, gc=False):
    """One stop, whole.

    Attributes:
        position: of the event in the trace, from 0. event: its kind, e.g. "BackwardUse".
        where: a title such as "middle_linear#2 of 3".
        ledger: rows of the focused parameter. update: terms of the update (update phase only).
        cosine_to: "running sum" or "final sum".
        element: index of the selected element, one int per dimension.
        explanation: one or two plain sentences.
        exit_code: of a program that has ended, else None. raised: the exception that ended it, in one line, or "".
        proof: "" or the proof by values that backward left the weights alone.
        displays: "EXPR = VALUE" for each expression that is shown at every stop.
        names: of the focused parameter, all that its owners give it (several where it is tied).
        newest: position of the newest event; this stop is in the past where its own is smaller.
        recorded: it is of a recording, where no program runs.
        nth: the how-manieth event of its kind in its iteration.
        printed: how many characters the program had printed, through Python's own streams.
        axes: the two axes that matrices show as rows and columns, the other indices being those of `element`; none:
            the first one, and all others in a row.
        early: some numbers are `SOON`, which take long; the whole follows. Only for a face that asks for it.
    """

    position: int
    iteration: int
    phase: Phase
    event: str
    where: str
    program: str
    loss: Number | None
    seed: int | None
    optimizer: str
    focus: str
    shape: tuple[int, ...]
    element: tuple[int, ...]
    parameters: tuple[str, ...]
    graph: tuple[GraphNode, ...]
    ledger: tuple[Row, ...]
    update: tuple[Row, ...]
    cosine_to: str
    matrices: tuple[Matrix, ...]
    source: Source | None
    explanation: tuple[str, ...]
    proof: str = ""
    reason: str = "step"
    exit_code: int | None = None
    raised: str = ""
    displays: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    newest: int = 0
    recorded: bool = False
    nth: int = 1
    printed: int = 0
    axes: tuple[int, ...] = ()
    early: bool = False

    @property
    def where_and_why(self) -> str:
        """The title, and the breakpoint or watchpoint that stopped here, if any."""
        stopped = self.reason.startswith(("breakpoint", "watchpoint"))
        return f"{self.where} ({self.reason})" if stopped else self.where

    @property
    def past(self) -> bool:
        """True where the program has gone on since."""
        return self.position < self.newest
