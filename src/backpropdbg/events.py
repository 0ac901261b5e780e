"""What can happen while a program trains: one small frozen type each, in the order of a training step.

Tensors appear as `Held` handles, whose arithmetic lives in the probe; this module imports no torch.
"""

from collections.abc import Callable
from typing import Any, get_args

from msgspec import Struct

from backpropdbg.held import Held as Held
from backpropdbg.recipes import Recipe as Recipe


class Location(Struct, frozen=True, gc=False):
    """A line of the user's program."""

    path: str
    line: int


class Use(Struct, frozen=True, gc=False):
    """One edge of the autograd graph into a parameter.

    Attributes:
        parameter, number: the number-th use of this iteration, in forward order, from 1. A node that fires again keeps
            its number; the next backward goes on counting.
        place, total: the place-th of total uses in the graph of this run, in forward order, from 1.
        module, call: the module call that made the edge ("" and 0 outside of any).
        node: name of the autograd node on the edge.
        group: uses of one group share a cast or view of the parameter (numbered from 1 in each run); 0 where the edge
            goes to the leaf itself.
        fused: the node is one operation that may hide several uses, which can't be split. inside: how many, 0 where
            that is not known. cached: they share a parametrized weight that is computed once for all of them.
    """

    parameter: str
    number: int
    total: int
    module: str
    call: int
    node: str
    where: Location | None
    index: int = -1
    group: int = 0
    fused: bool = False
    place: int = 1
    inside: int = 0
    cached: bool = False

    @property
    def among(self) -> str:
        """What follows its number: of how many uses in this backward it is one; "" where that can't be told."""
        if self.fused:
            return ""
        if self.place == self.number:
            return f" of {self.total}"
        return f", {self.place} of {self.total} in this backward" if self.total > 1 else ""


_UNFUSED = ("MkldnnRnn", "CudnnRnn", "ScaledDotProduct")


def is_split_by_unfuse(node: str) -> bool:
    """True for an operation that torch computes in parts where `--unfuse` is given."""
    return node.startswith(_UNFUSED)


class ForwardUse(Struct, frozen=True, gc=False):
    """A module with parameters of its own was called, or an operation took a bare parameter.

    Where other tensors replaced all of the module's own, `parameters` is empty.

    Attributes:
        index: of this call among the uses of the iteration. feeds: indices of the calls whose output it takes.
        parameters, numbers: what it used, and the how-manieth use of each that is.
        output: what the call returned, where that is one tensor; kept only while the event is handed out.
        replaced: parameters of the module in whose place it had other tensors (`functional_call`).
    """

    iteration: int
    index: int
    module: str
    call: int
    parameters: tuple[str, ...]
    numbers: tuple[int, ...]
    where: Location | None
    feeds: tuple[int, ...]
    bare: bool = False
    output: Held | None = None
    replaced: tuple[str, ...] = ()


class LossComputed(Struct, frozen=True, gc=False):
    """An outermost module call returned a scalar that requires a gradient."""

    iteration: int
    name: str
    loss: Held
    where: Location | None
    feeds: tuple[int, ...]


class GradCleared(Struct, frozen=True, gc=False):
    """`zero_grad` ran, or `.grad = None` was noticed (then `where` is None).

    Attributes:
        grads: `.grad` now, by parameter: None, or zeros.
    """

    iteration: int
    grads: dict[str, Held | None]
    where: Location | None


class Followed(Struct, frozen=True, gc=False):
    """A tensor that is no leaf, and that somebody asked for: it has uses, a sum of its own, and no `.grad`.

    Attributes:
        node: of autograd, which computed it. leaves: what its sum flows on to.
        many: how many tensors of this name the forward has computed by now.
        mixed: its sum is not that of its uses alone: a hook of the program's is on it, or the backward begins at it.
        retained: the program asked torch to keep its sum as `.grad`.
    """

    node: str
    leaves: tuple[str, ...]
    many: int = 1
    mixed: bool = False
    retained: bool = False


class BackwardStarted(Struct, frozen=True, gc=False):
    """An engine run begins.

    Attributes:
        carried: what `.grad` held, by parameter.
        hooked: parameters with tensor hooks of the program's, which may change what is accumulated.
        maximized: parameters that the optimizer moves up their gradient.
        several: other threads train, too; what is in `.grad` and in the weights may be theirs.
        computed: of the names in `uses` and `weights`, those that are no leaves.
        nodes: of its graph, as `nodes.pack` made them; none where nobody asked for them.
    """

    iteration: int
    run: int
    loss: Held | None
    uses: tuple[Use, ...]
    carried: dict[str, Held | None]
    weights: dict[str, Held]
    where: Location | None
    feeds: tuple[int, ...]
    accumulates: bool = True
    hooked: tuple[str, ...] = ()
    maximized: tuple[str, ...] = ()
    several: bool = False
    computed: dict[str, Followed] = {}
    nodes: bytes = b""


class BackwardUse(Struct, frozen=True, gc=False):
    """The partial of one use arrived; None where this run doesn't compute it. order: arrival, from 1."""

    iteration: int
    run: int
    use: Use
    partial: Held | None
    order: int


class PartialEdited(Struct, frozen=True, gc=False):
    """The user replaced the partial of one use: this is what flows on."""

    iteration: int
    run: int
    use: Use
    partial: Held


class GroupSummed(Struct, frozen=True, gc=False):
    """The sum of the uses that share a cast or view reached the leaf, as one term, added in the dtype of the group.

    Where `group` is 0, `parameter` is computed, and this is the sum of all its uses, which flows on to its leaves.

    Attributes:
        numbers: of the uses. node: name of the cast or view. dtype: that the engine added in, e.g. "bfloat16".
    """

    iteration: int
    run: int
    parameter: str
    group: int
    numbers: tuple[int, ...]
    node: str
    dtype: str
    total: Held


class Accumulated(Struct, frozen=True, gc=False):
    """AccumulateGrad of one parameter ran: `.grad` holds the sum now."""

    iteration: int
    run: int
    parameter: str
    grad: Held


class BackwardFinished(Struct, frozen=True, gc=False):
    """An engine run ended.

    Attributes:
        moved: parameters whose bits differ from those at its start (normally none). compared: that was looked at.
        failed: it raised.
    """

    iteration: int
    run: int
    moved: tuple[str, ...]
    compared: bool
    where: Location | None
    failed: bool = False


class GradChanged(Struct, frozen=True, gc=False):
    """`.grad` of these parameters is not what the backward left (clipping, scaling, an assignment).

    Attributes:
        how: what did it, where that is known.
    """

    iteration: int
    grads: dict[str, Held | None]
    how: str = ""


class StepStarted(Struct, frozen=True, gc=False):
    """The outermost `optimizer.step()` begins.

    Attributes:
        closure: it will run forward and backward itself; after each of them it is here again, with `closure` False.
    """

    iteration: int
    optimizer: str
    grads: dict[str, Held | None]
    before: dict[str, Held]
    recipes: dict[str, Recipe]
    where: Location | None
    closure: bool = False


class StepFinished(Struct, frozen=True, gc=False):
    """The outermost `optimizer.step()` ended; the iteration ends with it, unless another optimizer steps next.

    Attributes:
        after: all weights that are known. stepped: the parameters that this optimizer has.
    """

    iteration: int
    after: dict[str, Held]
    where: Location | None
    stepped: tuple[str, ...] = ()


class ManualUpdate(Struct, frozen=True, gc=False):
    """Weights moved outside of any optimizer, noticed at the next forward. replaced: new tensors took their place."""

    iteration: int
    parameters: tuple[str, ...]
    weights: dict[str, Held]
    replaced: bool = False


class IterationStarted(Struct, frozen=True, gc=False):
    """An iteration begins, or a model is called for the first time: what there is to start from. Nothing to stop at.

    Attributes:
        optimizer: the one that is known, in one line; "" where there is none yet.
        computed: names that are followed, of tensors that are no leaves.
    """

    iteration: int
    weights: dict[str, Held]
    grads: dict[str, Held | None]
    optimizer: str = ""
    computed: tuple[str, ...] = ()


class Anomaly(Struct, frozen=True, gc=False):
    """Something that can't be told: a failure of the debugger's own, in one line. The program goes on."""

    iteration: int
    error: str


class Damaged(Struct, frozen=True, gc=False):
    """What stands for an event of a recording that can't be read; no program has it happen."""

    iteration: int
    why: str


class Paused(Struct, frozen=True, gc=False):
    """The program asked to stop here, or was interrupted between two events. why: "set_trace()" or "interrupted"."""

    iteration: int
    why: str
    where: Location | None


class ProgramFinished(Struct, frozen=True, gc=False):
    """The program is over. code: what it exits with. raised: the exception that ended it, in one line; and its line."""

    iteration: int
    code: int
    raised: str = ""
    where: Location | None = None


Event = (
    ForwardUse
    | LossComputed
    | GradCleared
    | BackwardStarted
    | BackwardUse
    | PartialEdited
    | GroupSummed
    | Accumulated
    | BackwardFinished
    | GradChanged
    | StepStarted
    | StepFinished
    | ManualUpdate
    | IterationStarted
    | Anomaly
    | Damaged
    | Paused
    | ProgramFinished
)


def _present(*found: Held | None) -> list[Held]:
    return [held for held in found if held is not None]


HANDLES: dict[type, Callable[[Any], list[Held]]] = dict.fromkeys(get_args(Event), lambda e: []) | {
    LossComputed: lambda e: [e.loss],
    BackwardStarted: lambda e: _present(e.loss, *e.carried.values(), *e.weights.values()),
    BackwardUse: lambda e: [e.partial] if e.partial is not None else [],
    PartialEdited: lambda e: [e.partial],
    GroupSummed: lambda e: [e.total],
    Accumulated: lambda e: [e.grad],
    GradCleared: lambda e: _present(*e.grads.values()),
    GradChanged: lambda e: _present(*e.grads.values()),
    StepStarted: lambda e: _present(
        *e.grads.values(),
        *e.before.values(),
        *(held for recipe in e.recipes.values() for held in recipe.state.values()),
    ),
    StepFinished: lambda e: list(e.after.values()),
    ManualUpdate: lambda e: list(e.weights.values()),
    IterationStarted: lambda e: _present(*e.weights.values(), *e.grads.values()),
}


def handles(event: Event) -> list[Held]:
    """Return every tensor that an event keeps."""
    return HANDLES[type(event)](event)
