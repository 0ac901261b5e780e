"""Every number that a stop shows is the one that plain torch gives, and no absence is taken for another."""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from types import SimpleNamespace
from typing import Any, NamedTuple

import oracle
import pytest
import torch
from driving import debugged, make_net, seed
from torch import Tensor

from backpropdbg.situation import Row, Situation, as_float

FORWARDS = {"module": oracle.module_net, "parameter": oracle.polynomial_net}
OPTIONS = {"sgd": {"lr": 1e-2, "momentum": 0.9, "weight_decay": 0.1}, "adam": {"lr": 1e-2, "weight_decay": 0.1}}
WEIGHT = "middle_linear.weight"


class Line(NamedTuple):
    """What one row or matrix must say; value: the tensor that it is about, None where it shows none."""

    term: str
    state: str
    value: Tensor | None = None


def line(term: str, value: Tensor | None, absent: str = "none") -> Line:
    return Line(term, absent) if value is None else Line(term, "value", value)


class Truth:
    """Follows one parameter of a training with plain torch: told of each event, it knows what a stop must show.

    Partials and losses come from untied copies; `.grad`, weights and the optimizer's state are read off the program.
    """

    def __init__(self, model: torch.nn.Module, stepper: Any, name: str) -> None:
        self.stepper, self.name, self.p = stepper, name, dict(model.named_parameters())[name]
        self.begin([], 0.0)

    def begin(self, partials: list[Tensor], loss: float) -> None:
        """A new iteration; partials: of each use of the parameter, in forward order."""
        self.partials, self.loss, self.used, self.arrived = partials, loss, 0, []
        self.run = self.loss_known = False
        self.carried: Tensor | None = None
        self.before: Tensor | None = None
        self.after: Tensor | None = None
        self.terms: dict[str, Tensor] = {}
        self.here = ""

    def tell(self, event: Any) -> None:
        kind = type(event).__name__
        mine = self.name in (getattr(event, "parameter", ""), getattr(getattr(event, "use", None), "parameter", ""))
        self.here = ""
        if kind == "ForwardUse":
            self.used += self.name in event.parameters
        elif kind == "LossComputed":
            self.loss_known = True
        elif kind == "BackwardStarted":
            self.run, self.carried = True, self.grad
        elif kind == "BackwardUse" and mine:
            self.arrived.append(event.use.number)
            self.here = f"A{event.use.number}"
        elif kind == "Accumulated" and mine:
            self.here = ".grad"
        elif kind == "StepStarted":
            self.before, self.terms, self.here = self.weight, self._terms(), "before"
        elif kind == "StepFinished":
            self.after, self.here = self.weight, "difference"

    def _terms(self) -> dict[str, Tensor]:
        if self.p.grad is None:
            return {}
        state = {k: v.clone() for k, v in self.stepper.state.get(self.p, {}).items() if v is not None}
        if isinstance(self.stepper, torch.optim.SGD):
            return oracle.sgd_terms(self.weight, self.p.grad, state.get("momentum_buffer"), **OPTIONS["sgd"])
        return oracle.adam_terms(self.weight, self.p.grad, state, **OPTIONS["adam"])

    @property
    def weight(self) -> Tensor:
        return self.p.detach().clone()

    @property
    def grad(self) -> Tensor | None:
        return None if self.p.grad is None else self.p.grad.clone()

    @property
    def waiting(self) -> int:
        return len(self.partials) - len(self.arrived)

    @property
    def partial(self) -> Tensor | None:
        return self.partials[self.arrived[-1] - 1] if self.arrived else None

    @property
    def running(self) -> Tensor | None:
        arrived = [self.partials[n - 1] for n in reversed(self.arrived)]
        return oracle.arrival_sum(arrived, self.carried) if self.run else None

    @property
    def delta(self) -> Tensor | None:
        return None if self.before is None or self.after is None else self.after.double() - self.before.double()

    def ledger(self) -> list[Line]:
        if not self.run:
            uses = [Line(f"A{n}", "pending") for n in range(self.used, 0, -1)]
            absent = [Line("carried in", "pending"), *uses, Line("running sum", "pending")]
            return [*absent, line(".grad", self.grad)]
        return [
            line("carried in", self.carried),
            *(line(f"A{n}", self.partials[n - 1]) for n in self.arrived),
            *(Line(f"A{n}", "pending") for n in range(self.waiting, 0, -1)),
            line("running sum", self.running, "pending" if self.partials else "none"),
            line(".grad", self.grad),
        ]

    def update(self) -> list[Line]:
        if self.before is None:
            return []
        if self.delta is None:
            return [line("before", self.before), Line("after", "pending")]
        terms = [line(name, term) for name, term in self.terms.items()]
        if terms:
            terms.append(line("rounding", self.delta - sum(self.terms.values())))
        return [line("before", self.before), *terms, line("difference", self.delta), line("after", self.after)]

    def matrices(self) -> dict[str, Line]:
        """By name; the term is the scale."""
        if self.before is not None:
            return {
                "before": line("weight", self.before),
                "delta": line("delta", self.delta, "pending"),
                "after": line("weight", self.after, "pending"),
            }
        absent = "none" if self.run and not self.partials else "pending"
        return {
            "partial": line("gradient", self.partial, absent),
            "running": line("gradient", self.running, absent),
            "weight": line("weight", self.weight),
        }


Check = Callable[[Situation, Any, Truth], None]


def watch(
    check: Check,
    net: str = "module",
    uses: Sequence[int] = (2,),
    kind: str = "sgd",
    number: int = 0,
    focus: str = "",
    element: str = "",
    clear: bool | None = True,
    sizes: tuple[int, int, int, int] = (8, 4, 5, 3),
) -> Any:
    """Train one iteration for each of these numbers of uses; check every stop. clear: to None, to zeros, not at all."""
    seed(number)
    model, x, y = make_net(net, 0, sizes)
    x = x / 2 if net == "parameter" else x  # so that x ** 6 is no larger than the rest
    optimizer: Any = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[kind]
    stepper = optimizer(model.parameters(), **OPTIONS[kind])
    criterion = torch.nn.MSELoss(reduction="sum")
    truth = Truth(model, stepper, focus or {"module": WEIGHT, "parameter": "e"}[net])

    def at_stop(situation: Situation, debugger: Any) -> None:
        truth.tell(debugger.stop.event)
        if element and watched.stops == 1:
            assert debugger.execute(f"element {element}").ok
            situation = debugger.situation()
        check(situation, debugger, truth)

    with debugged(at_stop, focus=truth.name) as watched:
        for model.uses in uses:
            with watched.probe.inert():
                state = oracle.state_of(model)
                partials = oracle.untied_partials(FORWARDS[net], state, x, y, model.uses)
                loss = oracle.squares(FORWARDS[net](state.__getitem__, x, model.uses), y).item()
            truth.begin(partials.get(truth.name, []), loss)
            out = criterion(model(x), y)
            if clear is not None:
                stepper.zero_grad(set_to_none=clear)
            out.backward()
            stepper.step()
    return SimpleNamespace(stops=watched.stops, model=model, **vars(watched.debugger))


# -- rows ----------------------------------------------------------------------------------------


def close(shown: Any, true: float, scale: float) -> bool:
    """Equal up to the last digits of float64; scale: the size of the numbers that a difference was taken of."""
    return shown is not None and math.isclose(as_float(shown), true, rel_tol=1e-9, abs_tol=1e-14 * scale)


def check_row(row: Row, truth: Line, element: tuple[int, ...], reference: Tensor | None, scale: float) -> None:
    assert (row.term, row.state) == (truth.term, truth.state)
    if truth.value is None:
        assert (row.norm, row.cosine, row.element) == (None, None, None)
        return
    value = truth.value.double()
    size = float(value.square().sum().sqrt())
    assert close(row.norm, size, scale), (row, size)
    assert close(row.element, float(value[element]), scale), row
    if reference is None or not reference.any() or not size > 1e-12 * scale:
        assert row.cosine is None or truth.term == "rounding"
        return
    cosine = float((value * reference.double()).sum()) / size / float(reference.double().square().sum().sqrt())
    assert row.cosine is not None
    assert as_float(row.cosine) == pytest.approx(cosine, abs=1e-4 if truth.term == "rounding" else 1e-9)


def check_rows(situation: Situation, debugger: Any, truth: Truth) -> None:
    scale = 0.0 if truth.before is None else float(truth.before.double().norm())
    for rows, lines, size in ((situation.ledger, truth.ledger(), 0.0), (situation.update, truth.update(), scale)):
        assert [r.term for r in rows] == [t.term for t in lines], situation
        for row, expected in zip(rows, lines, strict=True):
            check_row(row, expected, situation.element, truth.running, size)
    marked = [r.term for r in (*situation.ledger, *situation.update) if r.here]
    assert marked == [truth.here] * bool(truth.here)
    assert situation.cosine_to == ("final sum" if truth.run and not truth.waiting else "running sum")
    assert situation.loss == (truth.loss if truth.loss_known else None)


def check_positions(situation: Situation, debugger: Any, truth: Truth) -> None:
    """A use that has been is where its row and its calls in the graph say, with the partial of plain torch."""
    for row in situation.ledger:
        if row.kind != "partial" or row.state == "pending":
            assert row.position is None
            continue
        event = debugger.trace[row.position]
        assert type(event).__name__ == "BackwardUse" and event.use.parameter == situation.focus
        assert f"A{event.use.number}" == row.term and (row.position == situation.position) == row.here
        assert close(event.partial.norm(), float(truth.partials[event.use.number - 1].double().norm()), 0.0)
    for node in situation.graph:
        for way, kind, at in (
            ("forward", "ForwardUse", node.forward_position),
            ("backward", "BackwardUse", node.backward_position),
        ):
            been = "#" in node.label and getattr(node, way) != "pending"
            assert (at is not None) == been
            if at is not None:
                event = debugger.trace[at]
                call = event if kind == "ForwardUse" else event.use
                assert (type(event).__name__, f"{call.module}#{call.call}") == (kind, node.label)


def test_rows_and_calls_say_where_they_were():
    assert watch(check_positions, uses=(3, 0, 2)).stops > 30


USES = [(0, 0), (1, 1), (2, 2), (3, 3), (3, 0, 2, 0, 1)]


@pytest.mark.parametrize("kind", ["sgd", "adam"])
@pytest.mark.parametrize("uses", USES, ids=str)
@pytest.mark.parametrize(
    ("net", "number", "focus", "element"),
    [
        ("module", 0, WEIGHT, ""),
        ("module", 1, WEIGHT, "3,1"),
        ("module", 2, "middle_linear.bias", "4"),
        ("parameter", 3, "e", ""),
        ("parameter", 4, "e", ""),
    ],
)
def test_rows_have_the_numbers_of_plain_torch(net, number, focus, element, uses, kind):
    seen = watch(check_rows, net, uses, kind, number, focus, element)
    assert seen.stops > 12 * len(uses)


@pytest.mark.parametrize("kind", ["sgd", "adam"])
@pytest.mark.parametrize("clear", [False, None], ids=["to zeros", "not at all"])
@pytest.mark.parametrize("net", ["module", "parameter"])
def test_rows_with_something_carried_in(net, clear, kind):
    """`why` names them too."""
    carried = set()

    def check(situation, debugger, truth):
        check_rows(situation, debugger, truth)
        carried.add(situation.ledger[0].state if truth.run else "")
        if situation.event == "StepFinished" and truth.grad is not None and truth.grad.any():
            read = ["carried in"] * (truth.carried is not None) + [f"A{n}" for n in truth.arrived]
            assert f"The gradient it read: {' + '.join(read)}." in debugger.execute("why").text

    watch(check, net, (2, 0, 3, 1), kind, clear=clear)
    assert carried == {"", "none", "value"}


@pytest.mark.parametrize("name", ["input_linear.weight", "output_linear.weight", "output_linear.bias"])
def test_rows_of_a_parameter_that_is_used_once(name):
    watch(check_rows, uses=(3, 0, 1), focus=name)


def percent(share: float) -> str:
    if 0 < share < 0.005:
        return "under 1 %"
    return "over 99 %" if 0.995 < share < 1 else f"{100 * share:.0f} %"


def lost(pulls: Sequence[float]) -> float:
    """What the sum has lost of all pulls."""
    return 1 - abs(sum(pulls)) / sum(map(abs, pulls))


def pull(pulls: Sequence[float]) -> str:
    """Down for a positive gradient: the update subtracts it. What is cancelled: of all pulls up to the last one."""
    *before, v = pulls
    share = lost(pulls) if v * sum(before) < 0 else 0.0
    cancels = f", {percent(share)} cancelled" if share >= 0.005 else ""
    return "no pull" if v == 0 else f"pulls it {'down' if v > 0 else 'up'}{cancels}"


@pytest.mark.parametrize("number", [0, 939, 1497])
def test_the_running_sum_says_how_much_of_the_pulls_is_cancelled(number):
    """1 - |sum| / sum of |partials|, of the selected element, over what has arrived."""
    said = set()

    def check(situation, debugger, truth):
        row = next(r for r in situation.ledger if r.kind == "running")
        pulls = [float(truth.partials[n - 1][situation.element].double()) for n in truth.arrived]
        share = lost(pulls) if len(pulls) > 1 and any(pulls) else None
        known = "" if share is None else f"{percent(share)} of all pulls cancelled"
        expected = "the pulls add up" if share is not None and share < 0.005 else known
        assert row.note == expected
        said.add(expected)

    for element in ("1,1", "3,0", "4,4"):
        watch(check, uses=(3,), number=number, element=element)
    assert len(said) > 2


@pytest.mark.parametrize("number", [939, 1497])
def test_each_partial_says_where_it_pulls_the_element_and_what_it_cancels(number):
    said = set()

    def check(situation, debugger, truth):
        at, name = situation.element, f"W[{situation.element[0]},{situation.element[1]}]: "
        pulls: list[float] = []
        notes = [r.note for r in situation.ledger if r.kind == "partial" and r.state == "value"]
        for n, note in zip(truth.arrived, notes, strict=True):
            pulls.append(float(truth.partials[n - 1][at].double()))
            assert note == pull(pulls)
            said.add(re.sub(r"\d+ %|under 1 %|over 99 %", "a part", note))
        if not truth.here.startswith("A") or len(pulls) < 2:
            return
        v, b = pulls[-1], sum(pulls[:-1])
        others = f"use #{truth.arrived[0]}" if len(truth.arrived) == 2 else "the sum of the uses before it"
        told = [sentence for sentence in situation.explanation if sentence.startswith(name)]
        if v * b > 0:
            assert told == [f"{name}it pulls the same way as {others}; they reinforce each other."]
        elif v * b < 0:
            assert told == [
                f"{name}it pulls against {others}; {percent(lost(pulls))} of all pulls so far are cancelled."
            ]
        else:
            assert told == []

    for element in ("0,0", "3,1", "2,4", "4,3"):
        watch(check, uses=(3, 3), number=number, element=element, sizes=(16, 4, 5, 3))
    ways = {f"pulls it {way}{cancels}" for way in ("up", "down") for cancels in ("", ", a part cancelled")}
    assert said == {*ways, "no pull"}


def test_the_grad_row_says_why_grad_is_none_and_that_the_sum_is_exact():
    notes = {}

    def check(situation, debugger, truth):
        if truth.run:
            notes.setdefault(bool(truth.partials), []).append((truth.grad is None, situation.ledger[-1].note))

    watch(check, uses=(3, 0))
    assert set(notes[True]) == {
        (True, "AccumulateGrad has not run"),
        (False, "= running sum, bit for bit"),
    }
    assert set(notes[False]) == {(True, "no use reached the loss")}


# -- graph ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("uses", [0, 1, 2, 3])
@pytest.mark.parametrize("net", ["module", "parameter"])
def test_the_graph_has_every_use_with_the_norm_of_its_partial(net, uses):
    def check(situation, debugger, truth):
        nodes = [n for n in situation.graph if n.focused]
        total = len(truth.partials) if truth.run else truth.used
        assert [n.partial for n in nodes] == [f"A{i}" for i in range(1, total + 1)]
        for i, node in enumerate(nodes, 1):
            arrived = i in truth.arrived
            assert node.partial_state == ("value" if arrived else "pending")
            size = float(truth.partials[i - 1].double().norm()) if arrived else None
            assert node.partial_norm == (None if size is None else pytest.approx(size, rel=1e-9))
            assert (node.backward == "here") == situation.where.startswith(
                f"middle_linear#{i} of"
            ) or net == "parameter"
            assert not arrived or node.backward == ("here" if node.backward == "here" else "done")
        assert not any(n.partial for n in situation.graph if not n.focused)
        assert [situation.graph[0].label, situation.graph[-1].label] == [
            "x",
            "loss" if truth.run or truth.loss_known else "...",
        ]

    watch(check, net, (uses, uses))


# -- matrices ------------------------------------------------------------------------------------


def flat(t: Tensor) -> Tensor:
    """As a screen has it: a scalar is 1 x 1, a vector one row."""
    return t.double().reshape(1, -1) if t.dim() < 2 else t.double()


def blocks(t: Tensor, rows: int, cols: int) -> Iterator[tuple[int, int, Tensor]]:
    for i in range(0, t.shape[0], rows):
        for j in range(0, t.shape[1], cols):
            yield i // rows, j // cols, t[i : i + rows, j : j + cols]


ROOMS = [(99, 99, 0, 0), (2, 2, 0, 0), (1, 3, 0, 0), (3, 2, 1, 1), (2, 99, 0, 3), (1, 1, 0, 0)]


def check_window(window: Any, value: Tensor, room: tuple[int, int, int, int], pool: bool, scale: float) -> None:
    rows, cols, row0, col0 = room
    true = flat(value)[row0:, col0:] if pool else flat(value)[row0 : row0 + rows, col0 : col0 + cols]
    steps = (math.ceil(true.shape[0] / rows), math.ceil(true.shape[1] / cols)) if pool and true.numel() else (1, 1)
    assert (window.row_step, window.col_step, window.row0, window.col0) == (*steps, row0, col0)
    assert window.shape == tuple(value.shape)
    shown = [[as_float(v) for v in row] for row in window.values]
    seen = 0
    for i, j, block in blocks(true, *steps):
        assert shown[i][j] in block.flatten().tolist()
        assert abs(shown[i][j]) == float(block.abs().max()), "the largest magnitude of its block"
        seen += 1
    assert sum(map(len, shown)) == seen
    assert window.vmax == float(value.abs().max())
    assert window.scale_vmax == scale


def check_matrices(situation: Situation, debugger: Any, truth: Truth) -> None:
    expected = truth.matrices()
    assert [m.name for m in situation.matrices] == list(expected)
    gradients = [t.value for t in expected.values() if t.term == "gradient"] + [truth.grad]
    weights = [t.value for t in expected.values() if t.term == "weight"]
    groups = {"gradient": gradients, "weight": weights, "delta": [truth.delta]}
    largest = {k: max((float(t.abs().max()) for t in g if t is not None), default=0.0) for k, g in groups.items()}
    for matrix in situation.matrices:
        scale, state, value = expected[matrix.name]
        assert (matrix.state, matrix.scale) == (state, scale), matrix
        assert matrix.shape == (() if value is None else tuple(value.shape))
        for room, pool in product(ROOMS, (True, False)):
            inside = value is None or all(at < n for at, n in zip(room[2:], flat(value).shape, strict=True))
            if inside:
                window = debugger.window(matrix.name, *room, pool)
                if value is None:
                    assert window is None
                else:
                    check_window(window, value, room, pool, largest[scale])


@pytest.mark.parametrize("kind", ["sgd", "adam"])
@pytest.mark.parametrize("uses", [(0, 0), (1, 1), (3, 0, 2)], ids=str)
@pytest.mark.parametrize(
    ("net", "number", "focus"),
    [
        ("module", 0, WEIGHT),
        ("module", 1, "middle_linear.bias"),
        ("module", 2, "input_linear.weight"),
        ("parameter", 3, "e"),
    ],
)
def test_windows_have_the_cells_of_plain_torch(net, number, focus, uses, kind):
    """Whole, cut and pooled; on one scale for partial, running sum and `.grad`, another for the weights."""
    watch(check_matrices, net, uses, kind, number, focus)


def test_windows_of_a_large_matrix():
    watch(check_matrices, uses=(2,), sizes=(6, 4, 23, 3))


def test_windows_with_something_carried_in():
    """`.grad` may be the largest of its scale while no pane shows it."""
    watch(check_matrices, uses=(3, 1, 0), clear=None)


def test_the_scale_of_gradients_holds_for_a_grad_that_no_pane_shows():
    """Carried in is -1.5 of the first partial: larger than it, and than the running sum."""
    seed(0)
    model, x, y = make_net("module", 2)
    first = oracle.untied_partials(oracle.module_net, oracle.state_of(model), x, y, 2)[WEIGHT][1]

    def program(model, x, y):
        model.middle_linear.weight.grad = -1.5 * first
        oracle.squares(model(x), y).backward()

    stop = next(s for s in stopped(program) if any(r.here for r in s.situation.ledger))
    largest = float(first.abs().max())
    assert stop.looked["partial"].vmax == largest
    assert stop.looked["running"].vmax == pytest.approx(0.5 * largest)
    assert stop.looked["partial"].scale_vmax == stop.looked["running"].scale_vmax == pytest.approx(1.5 * largest)


@pytest.mark.parametrize("pool", [True, False])
@pytest.mark.parametrize(("row0", "col0"), [(5, 0), (0, 5), (99, 99)])
def test_a_window_beyond_the_tensor_is_empty(row0, col0, pool):
    """A pane that was scrolled keeps its corner when the focus goes to a smaller parameter."""
    rooms = [(4, 4, 0, 0, pool), (4, 4, row0, col0, pool)]
    found = stopped(lambda model, x, y: model(x), look=lambda d: [d.window("weight", *room) for room in rooms])
    for whole, beyond in (stop.looked for stop in found):
        assert any(whole.values) and not any(beyond.values)
        assert beyond.shape == (5, 5)


# -- the states of a number that is not there ----------------------------------------------------


def states(situation: Situation) -> dict[str, str]:
    return {r.term: r.state for r in situation.ledger}


class Seen(NamedTuple):
    """One stop of a program. grads: the true `.grad` of each parameter then; grad: that of the focus."""

    situation: Situation
    grads: dict[str, Tensor | None]
    grad: Tensor | None
    looked: Any


def cells_of(debugger: Any) -> dict[str, Any]:
    return {m.name: debugger.window(m.name, 9, 9, 0, 0, True) for m in debugger.situation().matrices}


def stopped(
    program: Callable[[Any, Tensor, Tensor], object],
    focus: str = WEIGHT,
    uses: int = 2,
    net: torch.nn.Module | None = None,
    look: Callable[[Any], Any] = cells_of,
) -> list[Seen]:
    """Every stop of a program that gets a net, inputs and targets."""
    seed(0)
    made, x, y = make_net("module", uses)
    model = made if net is None else net
    found: list[Seen] = []

    def at_stop(situation: Situation, debugger: Any) -> None:
        grads = {n: None if p.grad is None else p.grad.clone() for n, p in model.named_parameters()}
        found.append(Seen(situation, grads, grads[focus], look(debugger)))

    with debugged(at_stop, focus=focus):
        program(model, x, y)
    return found


def test_not_computed_where_the_run_is_for_another_parameter_of_the_same_use():
    """The node of the convolution runs, and hands over None for the weight."""

    def program(layer, x, y):
        layer(layer(x[:, None])).sum().backward(inputs=[layer.bias])

    found = stopped(program, "weight", net=torch.nn.Conv1d(1, 1, 1))
    arrivals = [s for s in found if any(r.here for r in s.situation.ledger)]
    assert len(arrivals) == 2
    for n, stop in enumerate(arrivals):
        shown = states(stop.situation)
        assert (shown["A2"], shown["A1"]) == ("not computed", ("pending", "not computed")[n])
        assert [g.partial_state for g in stop.situation.graph if g.focused] == [shown["A1"], shown["A2"]]
        assert "was not computed" in stop.situation.explanation[0]
        assert stop.situation.matrices[0].state == "not computed" and stop.looked["partial"] is None
    over = found[-1].situation
    assert over.event == "BackwardFinished" and found[-1].grad is None
    assert (states(over)["A2"], states(over)["A1"], states(over)[".grad"]) == ("not computed", "not computed", "none")


def test_not_computed_where_the_run_never_comes_by():
    """While it runs that is not known yet: pending; once it is over: not computed, in row, graph and matrix."""
    found = stopped(lambda model, x, y: torch.autograd.grad(oracle.squares(model(x), y), [model.output_linear.weight]))
    running = [s for s, *_ in found if s.phase == "backward" and s.event != "BackwardFinished"]
    assert {(states(s)["A2"], states(s)["A1"], s.matrices[0].state) for s in running} == {("pending",) * 3}
    over = found[-1].situation
    assert over.event == "BackwardFinished" and found[-1].grad is None
    assert (states(over)["A2"], states(over)["A1"], states(over)[".grad"]) == ("not computed", "not computed", "none")
    assert [n.partial_state for n in over.graph if n.focused] == ["not computed", "not computed"]
    assert over.matrices[0].state == "not computed" and found[-1].looked["partial"] is None


def test_partials_of_a_run_that_does_not_accumulate():
    found = stopped(lambda model, x, y: torch.autograd.grad(oracle.squares(model(x), y), [model.middle_linear.weight]))
    over = found[-1].situation
    assert found[-1].grad is None
    assert states(over) == {
        "carried in": "none",
        "A2": "value",
        "A1": "value",
        "running sum": "value",
        ".grad": "none",
    }
    assert over.ledger[-1].note == "this run doesn't accumulate"


def test_a_call_that_does_not_reach_the_loss_has_no_partial():
    """It was called, so the graph shows it; no edge of it is in the backward."""

    def program(model, x, y):
        model(x)
        model.uses = 1
        oracle.squares(model(x), y).backward()

    over = stopped(program)[-1].situation
    assert [(n.label, n.partial, n.partial_state) for n in over.graph if n.focused] == [
        ("middle_linear#1", "", "none"),
        ("middle_linear#2", "", "none"),
        ("middle_linear#3", "A1", "value"),
    ]
    assert [r.term for r in over.ledger if r.kind == "partial"] == ["A1"]


def cleared_by(how: str) -> Callable[[Any, Tensor, Tensor], None]:
    def program(model: Any, x: Tensor, y: Tensor) -> None:
        middle = torch.optim.SGD(model.middle_linear.parameters(), lr=1e-3)
        others = torch.optim.SGD([*model.input_linear.parameters(), *model.output_linear.parameters()], lr=1e-3)
        oracle.squares(model(x), y).backward()
        middle.step()
        clear: dict[str, Callable[[], None]] = {
            "optimizer, to None": middle.zero_grad,
            "optimizer, to zeros": lambda: middle.zero_grad(set_to_none=False),
            "model, to None": model.zero_grad,
            "another optimizer": others.zero_grad,
            "another layer": model.input_linear.zero_grad,
        }
        clear[how]()
        oracle.squares(model(x), y).backward()

    return program


@pytest.mark.parametrize(
    "how",
    ["optimizer, to None", "optimizer, to zeros", "model, to None", "another optimizer", "another layer"],
)
def test_grad_is_what_zero_grad_left_of_it(how):
    """Also where it cleared other parameters only."""
    every = stopped(cleared_by(how))
    events = [s.situation.event for s in every]
    begins, ends = events.index("StepFinished") + 1, len(events) - events[::-1].index("BackwardStarted") - 1
    found = every[begins:ends]
    assert [s.situation.event for s in found].count("GradCleared") == 1
    for situation, _, grad, _ in found:
        row = situation.ledger[-1]
        if situation.phase == "forward":
            assert situation.ledger[0].state == "pending"  # what will be carried in is known once backward begins
        assert row.state == ("none" if grad is None else "value"), situation
        assert row.norm == (None if grad is None else pytest.approx(float(grad.norm())))


def test_the_ledger_begins_at_the_last_zeroing():
    """Two backwards in one iteration: what was zeroed between them is no part of the sum."""

    def program(model, x, y):
        stepper = torch.optim.SGD(model.parameters(), lr=1e-3)
        oracle.squares(model(x), y).backward()
        loss = oracle.squares(model(2 * x), y)
        stepper.zero_grad()
        loss.backward()
        stepper.step()

    zeroed = False
    for situation, _, grad, _ in stopped(program):
        zeroed |= situation.event == "GradCleared"
        if situation.event == "GradCleared":
            assert grad is None and states(situation)[".grad"] == "none"
        if zeroed and situation.phase != "forward":
            assert list(states(situation)) == ["carried in", "A4", "A3", "running sum", ".grad"]
            assert states(situation)["carried in"] == "none"
    assert zeroed


def test_two_backwards_without_zeroing_are_two_runs_of_one_ledger():
    seed(0)
    model, x, y = make_net("module", 2)
    state = oracle.state_of(model)
    one, two = (oracle.untied_partials(oracle.module_net, state, f * x, y, 2)[WEIGHT] for f in (1, 2))

    def program(model, x, y):
        for factor in (1, 2):
            oracle.squares(model(factor * x), y).backward()

    over, _, grad, _ = stopped(program)[-1]
    assert [r.term for r in over.ledger] == [
        *("run 1: carried in", "A2", "A1"),
        *("run 2: carried in", "A4", "A3"),
        *("running sum", ".grad"),
    ]
    first = one[1] + one[0]
    values = [None, *reversed(one), first, *reversed(two), first + (two[1] + two[0]), grad]
    for row, value in zip(over.ledger, values, strict=True):
        assert row.norm == (None if value is None else pytest.approx(float(value.double().norm()), rel=1e-9))
    assert over.ledger[-1].note == "= running sum, bit for bit"


@pytest.mark.parametrize("how", ["clipped", "assigned", "dropped"])
def test_a_grad_that_was_changed_is_a_labelled_row(how):
    def program(model, x, y):
        stepper = torch.optim.SGD(model.parameters(), lr=0.5)
        oracle.squares(model(x), y).backward()
        if how == "clipped":
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.01)
        elif how == "assigned":
            model.middle_linear.weight.grad = torch.full((5, 5), 0.25)
        else:
            model.middle_linear.weight.grad = None
        stepper.step()

    found = [s for s in stopped(program) if s.situation.phase == "update"]
    assert len(found) == 2
    for situation, _, grad, _ in found:
        changed, last = situation.ledger[-2:]
        state = "none" if how == "dropped" else "value"
        assert (changed.kind, changed.term, changed.state, last.state) == ("label", "changed", state, state)
        size = None if grad is None else pytest.approx(float(grad.double().norm()), rel=1e-9)
        assert changed.norm == size and last.norm == size
    rows = {r.term: r for r in found[-1].situation.update}
    assert not any(s.endswith("The gradient it read: A2 + A1.") for s in found[-1].situation.explanation)
    if how == "dropped":
        assert "gradient" not in rows and rows["difference"].norm == 0
    else:
        assert rows["gradient"].norm == pytest.approx(0.5 * float(found[-1].grad.double().norm()), rel=1e-6)


@pytest.mark.parametrize(("bad", "text"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")])
def test_numbers_that_are_not_finite_keep_their_names(bad, text):
    """One element of one partial; the scale is that of the finite ones."""

    def spoil(grad):
        grad = grad.clone()
        grad[0, 0] = bad
        return grad

    def program(model, x, y):
        out = model(x)
        out.register_hook(spoil)
        oracle.squares(out, y).backward()

    found = stopped(program, focus="output_linear.bias")
    situation, _, _, cells = next(s for s in found if any(r.here for r in s.situation.ledger))
    row = next(r for r in situation.ledger if r.here)
    assert (row.state, row.element, row.cosine) == ("value", text, None)
    assert row.norm == ("NaN" if math.isnan(bad) else "Infinity")
    first, *finite = cells["partial"].values[0]
    assert first == text
    assert cells["partial"].vmax == cells["partial"].scale_vmax == max(map(abs, finite))


# -- no use at all -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sgd", "adam"])
@pytest.mark.parametrize(("net", "name"), [("module", WEIGHT), ("parameter", "e")])
def test_without_a_use_grad_is_none_the_optimizer_skips_it_and_it_does_not_move(net, name, kind):
    """Also where momentum, moments and weight decay are there, from an iteration before."""
    said: dict[str, list[str]] = {}
    owner = name.rpartition(".")[0] or name

    def check(situation, debugger, truth):
        if situation.iteration != 2:
            return
        said.setdefault(situation.event, []).append(" ".join(situation.explanation))
        assert not any(r.kind == "partial" for r in situation.ledger) and not any(n.focused for n in situation.graph)
        if situation.event in ("BackwardStarted", "BackwardFinished"):
            assert set(states(situation).values()) == {"none"}
            assert [m.state for m in situation.matrices] == ["none", "none", "value"]
        if situation.event == "StepFinished":
            assert oracle.bits(truth.before, truth.after)
            rows = {r.term: r for r in situation.update}
            assert list(rows) == ["before", "difference", "after"]
            assert (rows["difference"].norm, rows["difference"].note) == (0, "did not move, bit for bit")
            assert debugger.execute("why").text.startswith(said["StepFinished"][0])
            assert {v for row in debugger.window("delta", 9, 9, 0, 0, True).values for v in row} == {0}
            assert debugger.execute("print grad").text == "None"

    watch(check, net, (3, 0), kind)
    assert f"{name}: unused in this iteration" in said["BackwardStarted"][0]
    assert said["StepStarted"][0] == (
        f"{owner}: unused in this iteration. .grad is None, so the optimizer skips {name}:"
        " no gradient, no momentum, no weight decay."
    )
    assert said["StepFinished"][0] == (
        f"{owner}: unused in this iteration. .grad is None: the optimizer skipped {name}; it did not move, bit for bit."
    )


@pytest.mark.parametrize(("kind", "memory"), [("sgd", "momentum"), ("adam", "1st moment")])
@pytest.mark.parametrize(("net", "name"), [("module", WEIGHT), ("parameter", "e")])
def test_zeros_are_not_none_and_what_the_optimizer_remembers_moves_it(net, name, kind, memory):
    said = []

    def check(situation, debugger, truth):
        if situation.iteration != 2 or situation.event != "StepFinished":
            return
        assert truth.grad is not None and not truth.grad.any()
        assert states(situation)[".grad"] == "value" and situation.ledger[-1].norm == 0
        assert not oracle.bits(truth.before, truth.after)
        rows = {r.term: r for r in situation.update}
        assert rows["gradient"].norm == 0 and as_float(rows[memory].norm) > 0
        said.append((debugger.execute("why").text.splitlines()[0], situation.explanation[0], truth))

    watch(check, net, (3, 0), kind, clear=False)
    [(why, explanation, truth)] = said
    assert why == explanation
    numbers = re.fullmatch(
        rf"{name.rpartition('.')[0] or name}: unused in this iteration\. Its gradient is zero, yet it moved by (\S+):"
        rf" gradient 0, {memory} (\S+), weight decay (\S+) \(norms\)\.",
        why,
    )
    assert numbers is not None, why
    true = [truth.delta, truth.terms[memory], truth.terms["weight decay"]]
    for shown, value in zip(numbers.groups(), true, strict=True):
        assert float(shown) == pytest.approx(float(value.double().norm()), rel=6e-3)


def test_zeros_before_any_momentum_do_not_move_it():
    """`zero_grad(set_to_none=False)` leaves a `.grad` None that never was: nothing to do for the optimizer."""

    def check(situation, debugger, truth):
        if situation.event == "StepFinished":
            assert truth.grad is None and oracle.bits(truth.before, truth.after)
            assert "the optimizer skipped" in debugger.execute("why").text

    assert watch(check, uses=(0, 0), clear=False).stops > 20


# -- backward moves no weight --------------------------------------------------------------------


def test_the_proof_stands_from_the_end_of_backward_until_the_update():
    proofs: dict[str, set[str]] = {}

    def check(situation, debugger, truth):
        proofs.setdefault(situation.event, set()).add(situation.proof)
        if truth.before is None:
            held = situation.proof.startswith("bit for bit")
            assert situation.matrices[2].note == ("unchanged, bit for bit" if held else situation.proof)

    watch(check, uses=(3, 0, 1))
    held = "bit for bit as before the backward"
    assert proofs == {event: {""} for event in proofs} | {"BackwardFinished": {held}, "StepStarted": {held}}


@pytest.mark.parametrize("change", ["one bit", "the sign of a zero", "into NaN"])
def test_a_weight_that_moved_in_backward_is_named(change):
    """The proof compares values, so a write that no version counter sees counts too."""

    def move(weight):
        flat = weight.data.view(-1)
        if change == "one bit":
            flat.view(torch.int32)[3] += 1
        else:
            flat[3] = -0.0 if change == "the sign of a zero" else math.nan

    def program(model, x, y):
        model.middle_linear.weight.data.view(-1)[3] = 0.0
        out = model(x)
        out.register_hook(lambda grad: move(model.middle_linear.weight))
        oracle.squares(out, y).backward()
        oracle.squares(model(x), y).backward()

    over = [s for s, *_ in stopped(program) if s.event == "BackwardFinished"]
    assert [s.proof for s in over] == [f"moved in backward: {WEIGHT}", "bit for bit as before the backward"]
    assert over[0].explanation == (f"The backward is over, and these weights changed during it: {WEIGHT}.",)
    assert "backward changed none, bit for bit" in over[1].explanation[0]


def test_a_weight_that_is_nan_and_stays_so_has_not_moved():
    def program(model, x, y):
        model.middle_linear.weight.data.fill_(math.nan)
        oracle.squares(model(x), y).backward()

    assert stopped(program)[-1].situation.proof == "bit for bit as before the backward"
