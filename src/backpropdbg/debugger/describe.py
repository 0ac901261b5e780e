"""From the trace and a position in it to the `Situation` that a face draws."""

from collections.abc import Sequence

from msgspec.structs import replace

from backpropdbg.debugger.explain import explain
from backpropdbg.debugger.rows import ledger_rows, moved_note, update_rows
from backpropdbg.debugger.stop import Stop
from backpropdbg.debugger.words import norm, state_of
from backpropdbg.errors import BackpropdbgError
from backpropdbg.events import (
    BackwardFinished,
    BackwardStarted,
    BackwardUse,
    Event,
    ForwardUse,
    Held,
    Location,
    LossComputed,
    PartialEdited,
    ProgramFinished,
)
from backpropdbg.ledger import Run
from backpropdbg.situation import GraphNode, Matrix, Situation, Source, State, Window, number
from backpropdbg.trace.history import Trace


def describe(
    stop: Stop, program: str, seed: int | None, optimizer: str, parameters: Sequence[str], reason: str
) -> Situation:
    """Return all that a face needs to draw this stop."""
    ledger, update = ledger_rows(stop), update_rows(stop)  # first: whose norm is known needs no look for infinity
    return replace(
        words(stop, program, seed, optimizer, parameters, reason),
        graph=graph(stop),
        ledger=ledger,
        update=update,
        matrices=matrices(stop),
        source=source(stop.trace, stop.location(), stop.where()),
    )


def words(
    stop: Stop, program: str, seed: int | None, optimizer: str, parameters: Sequence[str], reason: str
) -> Situation:
    """Return what is told of this stop in words; it has no picture: no graph, rows, matrices and source."""
    event, weight = stop.event, stop.weight
    ended = event if isinstance(event, ProgramFinished) else None
    shape = weight.shape if weight is not None else ()
    cosine_to = "final sum" if stop.final else "running sum"
    return Situation(  # in the order of its fields: by name it takes six times as long
        stop.position, event.iteration, stop.phase, type(event).__name__, stop.where(), program, stop.lost, seed,
        optimizer, stop.focus, shape, stop.element, tuple(parameters), (), (), (), cosine_to, (), None,
        explain(stop), proof(stop), reason, ended.code if ended else None, ended.raised if ended else "", nth=stop.nth,
    )  # fmt: skip


def undrawable(event: Event, position: int, error: Exception, program: str, reason: str) -> Situation:
    """What is shown in place of a stop that we fail to draw: such a failure must not reach the program."""
    ours = isinstance(error, BackpropdbgError)
    line = str(error) if ours else f"internal error: {type(error).__name__}: {error}".splitlines()[0]
    return Situation(
        position, event.iteration, "forward", type(event).__name__, "this stop can't be drawn", program, None, None,
        "", "", (), (), (), (), (), (), "running sum", (), None, (line,), "", reason,
    )  # fmt: skip


def proof(stop: Stop) -> str:
    """What the comparison of the weights around the last backward gave; "" once the update moved them."""
    over = [e for e in stop.of(BackwardFinished) if e.compared]
    if not over or stop.stepped is not None:
        return ""
    newest = over[-1]
    return f"moved in backward: {', '.join(newest.moved)}" if newest.moved else "bit for bit as before the backward"


def tensors(stop: Stop) -> dict[str, Held | None]:
    """The tensors of a stop by the name of their matrix."""
    return {
        "partial": stop.partial,
        "running": stop.running,
        "grad": stop.grad,
        "weight": stop.weight,
        "before": stop.before,
        "delta": stop.delta,
        "after": stop.after,
    }


def matrices(stop: Stop) -> tuple[Matrix, ...]:
    """The three matrices of a stop: before, difference and after in the update, else partial, sum and weight."""
    if stop.phase == "update":
        later: State = "none" if stop.stepped is not None else "pending"
        lost: State = "not kept" if stop.before is not None and stop.after is not None else later
        return (
            _matrix("before", "weight before", stop.before, "none", "weight"),
            _matrix("delta", "difference", stop.delta, lost, "delta", moved_note(stop)),
            _matrix("after", "weight after", stop.after, later, "weight"),
        )
    run = stop.run
    absent: State = "pending" if run is None or (run.uses and not run.finished) else "none"
    never: State = "not computed" if run is not None and run.uses and run.finished else absent
    summed = "not kept" if run is not None and run.lost else absent
    title = "partial"
    if run is not None and run.arrived:
        newest = stop.event.use if isinstance(stop.event, (BackwardUse, PartialEdited)) else None
        use = newest if newest is not None and newest.parameter == stop.focus else run.arrived[-1][0]
        title = f"A{use.number}  partial"
        if run.arrived[-1][1] is None:
            never = "not computed"
    return (
        _matrix("partial", title, stop.partial, never, "gradient"),
        _matrix("running", "running sum", stop.running, summed, "gradient"),
        _matrix("weight", "weight", stop.weight, "pending", "weight", _unmoved(stop)),
    )


def _unmoved(stop: Stop) -> str:
    """The proof, short enough for a frame."""
    found = proof(stop)
    return "unchanged, bit for bit" if found.startswith("bit for bit") else found


def _matrix(name: str, title: str, held: Held | None, absent: State, scale: str, note: str = "") -> Matrix:
    shape = held.shape if held is not None else ()
    return Matrix(name, title, shape, state_of(held, absent), note, scale)


def window(stop: Stop, name: str, rows: int, cols: int, row0: int, col0: int, pool: bool) -> Window | None:
    """Return the cells of one matrix that a screen has room for; None where it has no value."""
    key = (name, rows, cols, row0, col0, pool, stop.axes, stop.element if stop.axes else ())
    if key not in stop.windows:
        stop.windows[key] = _window(stop, name, rows, cols, row0, col0, pool)
    return stop.windows[key]


def _window(stop: Stop, name: str, rows: int, cols: int, row0: int, col0: int, pool: bool) -> Window | None:
    shown = tensors(stop)
    held = shown.get(name)
    if held is None or not held.kept:
        return None
    scale = next((m.scale for m in matrices(stop) if m.name == name), "")
    mates = [shown[m.name] for m in matrices(stop) if m.scale == scale]
    if scale == "gradient":
        mates.append(stop.grad)
    cuts = len(stop.axes) == 2 and len(held.shape) == len(stop.element)
    seen = held.plane((stop.axes[0], stop.axes[1]), stop.element) if cuts else held
    values, row_step, col_step = seen.cells(max(1, rows), max(1, cols), max(0, row0), max(0, col0), pool)
    return Window(
        name=name,
        shape=seen.shape,
        values=tuple(tuple(number(v) for v in row) for row in values),
        row0=row0,
        col0=col0,
        row_step=row_step,
        col_step=col_step,
        vmax=held.vmax(),
        scale_vmax=max([held.vmax(), *(m.vmax() for m in mates if m is not None and m.kept)]),
    )


def graph(stop: Stop) -> tuple[GraphNode, ...]:
    """The calls of this iteration in forward order, between the input and the loss."""
    calls, begun = stop.of(ForwardUse), stop.of(BackwardStarted)
    has_loss = bool(begun or stop.of(LossComputed))
    levels: dict[int, int] = {}
    for e in calls:
        levels[e.index] = 1 + max([levels.get(i, 0) for i in e.feeds if i != e.index], default=0)
    here = stop.event.index if isinstance(stop.event, ForwardUse) else None
    positions = stop.positions
    now = stop.event.use.index if isinstance(stop.event, (BackwardUse, PartialEdited)) else None
    over = isinstance(stop.event, BackwardFinished) or stop.phase in ("update", "finished")
    nodes = [GraphNode("x", 0, "done", "done" if over else "pending"), *_earlier(stop, levels)]
    reached = {use.index for e in begun for use in e.uses}
    uses = {use.index: (run, use.number) for run in stop.ledger.runs for use in reversed(run.uses)}
    partials = {(run.number, use.number): p for run in stop.ledger.runs for use, p in run.arrived}
    for e in calls:
        forward = "here" if e.index == here else "done"
        focused = stop.focus in e.parameters
        run, number = uses.get(e.index, (None, 0))
        came = run is not None and (run.number, number) in partials if focused else e.index in positions.backward
        passed = came or (over and e.index in reached)
        backward = "here" if e.index == now else ("done" if passed else "pending")
        been = positions.backward.get(e.index) if backward != "pending" else None
        if focused and came and run is not None:
            been = positions.partials[run.number, number]
        node = GraphNode(
            _label(e), levels[e.index], forward, backward, focused,
            forward_position=positions.forward[e.index], backward_position=been,
        )  # fmt: skip
        nodes.append(_with_partial(stop, e, node, run, number, partials) if node.focused else node)
    last = "pending" if not has_loss else ("here" if isinstance(stop.event, LossComputed) else "done")
    back = "here" if isinstance(stop.event, BackwardStarted) else ("done" if stop.run is not None else "pending")
    nodes.append(GraphNode("loss" if has_loss else "...", 1 + max(levels.values(), default=0), last, back))
    return tuple(nodes)


def _earlier(stop: Stop, levels: dict[int, int]) -> list[GraphNode]:
    """The calls of the iteration before that this backward reaches, in a row; the others move behind them."""
    begun = stop.last(BackwardStarted)
    calls = dict.fromkeys((u.module, u.call) for u in begun.uses if u.index < 0 and u.call) if begun is not None else {}
    if not calls:
        return []
    for index in levels:
        levels[index] += len(calls)
    events = [e for e in stop.of(BackwardUse) if e.use.index < 0]
    arrived = {(e.use.module, e.use.call) for e in events}
    now = stop.event.use if isinstance(stop.event, BackwardUse) and stop.event.use.index < 0 else None
    mine = {(u.module, u.call): u for run in stop.ledger.runs for u in run.uses if u.index < 0}
    partials = {u.number: held for run in stop.ledger.runs for u, held in run.arrived}
    nodes = []
    for level, (module, call) in enumerate(calls, 1):
        here = now is not None and (now.module, now.call) == (module, call)
        backward = "here" if here else "done" if (module, call) in arrived else "pending"
        node = GraphNode(f"{module}#{call}", level, "done", backward)
        use = mine.get((module, call))
        if use is not None:
            held = partials.get(use.number)
            size = norm(held) if held is not None else None
            shown = state_of(held, "pending" if use.number not in partials else "not computed")
            node = replace(node, focused=True, partial=f"A{use.number}", partial_state=shown, partial_norm=size)
        nodes.append(node)
    return nodes


def _label(e: ForwardUse) -> str:
    if e.call:
        return f"{e.module}#{e.call}"
    return " ".join(f"{name}#{number}" for name, number in zip(e.parameters, e.numbers, strict=True))


def _with_partial(
    stop: Stop,
    e: ForwardUse,
    node: GraphNode,
    run: Run | None,
    number: int,
    partials: dict[tuple[int, int], Held | None],
) -> GraphNode:
    """A call that uses the focus, with its partial. run, number: which use it is; partials: those in, by both."""
    if run is None:
        if stop.run is not None and stop.phase != "forward":
            return replace(node, partial_state="none")
        number = e.numbers[e.parameters.index(stop.focus)]
        return replace(node, partial=f"A{number}", partial_state="pending")
    if (run.number, number) not in partials:
        return replace(node, partial=f"A{number}", partial_state="not computed" if run.finished else "pending")
    held = partials[run.number, number]
    size = norm(held) if held is not None else None
    return replace(node, partial=f"A{number}", partial_state=state_of(held, "not computed"), partial_norm=size)


def source(trace: Trace, where: Location | None, caption: str, around: int = 3) -> Source | None:
    """The lines around a location; None where the file can't be read."""
    lines = trace.lines(where.path) if where is not None else ()
    if where is None or not lines:
        return None
    first = max(1, where.line - around)
    shown = tuple(text.rstrip("\n") for text in lines[first - 1 : where.line + around])
    return Source(where.path, where.line, first, shown, caption)
