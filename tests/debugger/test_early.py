"""A stop that is shown at once: what is on it is true, what takes long is left out and follows, a key need not wait."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from driving import debugged, make_net, seed

from backpropdbg.debugger import describe, drawing
from backpropdbg.debugger.core import Debugger
from backpropdbg.hurry import GivenUp, Later, allowing
from backpropdbg.probe.evaluate import Evaluator
from backpropdbg.probe.hooks import Probe
from backpropdbg.probe.lazy import Difference, Lazy
from backpropdbg.probe.tensors import HeldTensor
from backpropdbg.situation import SOON, Row, Situation, as_float

WEIGHT = "middle_linear.weight"
LARGE = (4, 3, 400, 2)  # a weight of 160,000 numbers
WALK = ["ForwardUse"] * 3 + ["BackwardUse"] * 3 + ["Accumulated", "StepStarted", "StepFinished"]


def numbers(row: Row) -> tuple[Any, ...]:
    return row.norm, row.cosine, row.element, row.note


def rows(situation: Situation) -> dict[str, Row]:
    return {f"{row.kind} {row.term}": row for row in (*situation.ledger, *situation.update)}


@pytest.fixture(scope="module")
def walked() -> Iterator[list[tuple[Situation, Situation, dict[str, Any]]]]:
    """Each stop of one iteration, early and whole, with the tensors that are then there."""
    found: list[tuple[Situation, Situation, dict[str, Any]]] = []

    def at_stop(situation: Situation, d: Debugger) -> str:
        if not d.hurried:
            d.hurried = True
            assert d.execute("display weight.norm()").ok
            return "until iteration 2"
        if situation.iteration > 2:
            return "continue"
        if situation.event in WALK:
            rest = d.rest(lambda: False)
            assert rest is not None and not d.lacks
            found.append((situation, rest, tensors(d)))
        return "next"

    with pytest.MonkeyPatch.context() as patch, debugged(at_stop, focus=WEIGHT):
        patch.setattr(drawing, "SMALL", 0)
        seed(5)
        model, x, y = make_net("module", 3, LARGE)
        stepper = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
        for _ in range(3):
            stepper.zero_grad()
            (model(x) - y).square().sum().backward()
            stepper.step()
    yield found


def tensors(d: Debugger) -> dict[str, torch.Tensor]:
    """The tensors of a stop, and those of its rows, by the names of the rows."""
    stop = d.stop
    found = {name: held.value for name, held in describe.tensors(stop).items() if held is not None}
    if stop.run is not None:
        found |= {f"partial A{use.number}": held.value for use, held in stop.run.arrived if held is not None}
    return found


def test_what_is_shown_at_once_stays(walked) -> None:
    assert [early.event for early, _, _ in walked] == WALK
    for early, rest, _ in walked:
        assert early.early == (early.event != "ForwardUse") and not rest.early
        assert SOON not in str(rest.ledger) + str(rest.update) + str(rest.displays)
        assert all(node.partial_norm != SOON for node in rest.graph)
        known = rows(rest)
        assert ("term its terms" in rows(early)) == (early.event == "StepFinished")
        for name, row in rows(early).items():
            if name == "term its terms":
                assert row.norm == row.cosine == row.element == SOON
                continue
            for now, then in zip(numbers(row), numbers(known[name]), strict=True):
                assert now in (SOON, then), f"{early.where}, {name}: {now} was shown at first, then {then}"
        for now, then in zip(early.graph, rest.graph, strict=True):
            assert now.partial_norm in (SOON, then.partial_norm)
        for field in ("position", "where", "event", "phase", "loss", "element", "source", "optimizer"):
            assert getattr(early, field) == getattr(rest, field)
        assert [(m.name, m.state, m.shape) for m in early.matrices] == [
            (m.name, m.state, m.shape) for m in rest.matrices
        ]


def test_the_element_is_shown_at_once_and_norms_and_cosines_follow(walked) -> None:
    compared = left_out = 0
    for early, rest, found in walked:
        named = {"running running sum": "running", "grad .grad": "grad", "term before": "before", "term after": "after"}
        named |= {"term difference": "delta", **{name: name for name in found if name.startswith("partial ")}}
        first, last = rows(early), rows(rest)
        for name, of in named.items():
            t = found.get(of)
            if t is None or name not in last:
                continue
            wide = t.double()
            assert first[name].element == last[name].element == float(t[early.element])
            left_out += first[name].norm == SOON
            assert as_float(last[name].norm) == pytest.approx(float(torch.linalg.vector_norm(wide)), rel=1e-6)
            total = found["running"].double()
            cosine = float((wide * total).sum() / wide.norm() / total.norm())
            assert last[name].cosine == pytest.approx(cosine, abs=1e-5)
            compared += 1
    assert compared > 20 and left_out > 8


def test_words_wait_for_what_they_tell(walked) -> None:
    by_event = {early.event: (" ".join(early.explanation), " ".join(rest.explanation)) for early, rest, _ in walked}
    early, whole = by_event["Accumulated"]
    assert "if bit for bit ..." in early and "A3 + A2 + A1, bit for bit." in whole
    early, whole = by_event["StepFinished"]
    assert "is being computed" in early and "step() moved" in whole
    assert by_event["BackwardUse"][0] == by_event["BackwardUse"][1]
    before = next(early for early, _, _ in walked if early.event == "BackwardUse")
    assert before.displays == (f"weight.norm() = {SOON}",)


def test_a_small_stop_is_whole_at_once() -> None:
    seen = []

    def at_stop(situation: Situation, d: Debugger) -> str:
        d.hurried = True
        seen.append((situation.early, SOON in str(situation.ledger)))
        return "next"

    with debugged(at_stop, focus=WEIGHT):
        model, x, y = make_net("module", 2)
        (model(x) - y).square().sum().backward()
    assert len(seen) > 4 and set(seen) == {(False, False)}


def test_who_is_in_no_hurry_gets_whole_stops() -> None:
    def at_stop(situation: Situation, d: Debugger) -> str:
        assert not situation.early and not d.lacks and SOON not in str(situation.ledger) + str(situation.update)
        return "next"

    with pytest.MonkeyPatch.context() as patch, debugged(at_stop, focus=WEIGHT) as seen:
        patch.setattr(drawing, "SMALL", 0)
        model, x, y = make_net("module", 1, LARGE)
        (model(x) - y).square().sum().backward()
    assert seen.stops > 3


def test_what_is_computed_ends_as_soon_as_a_key_waits() -> None:
    looks = itertools.count()

    def at_stop(situation: Situation, d: Debugger) -> str:
        d.hurried = True
        if d.lacks and situation.event == "BackwardUse":
            for after in range(3):
                begun = next(looks)
                assert d.rest(lambda begun=begun, after=after: next(looks) > begun + after) is None and d.lacks
            whole = d.rest(lambda: False)
            assert whole is not None and SOON not in str(whole.ledger)
        return "next"

    with pytest.MonkeyPatch.context() as patch, debugged(at_stop, focus=WEIGHT):
        patch.setattr(drawing, "SMALL", 0)
        model, x, y = make_net("module", 2, LARGE)
        (model(x) - y).square().sum().backward()
    assert next(looks) > 6


def pair(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    made = torch.Generator().manual_seed(1)
    a, b = (torch.randn(401, 397, generator=made).to(dtype) for _ in range(2))
    a[3, 7] = 1e4
    return a, b


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_a_sum_is_that_of_torch_bit_for_bit(dtype) -> None:
    a, b = pair(dtype)
    total = HeldTensor(a).plus(HeldTensor(b)).plus(HeldTensor(a))
    assert isinstance(total, Lazy) and total.shape == (401, 397) and total.dtype == str(dtype)[6:]
    plain = a + b + a
    assert total.nbytes == plain.nbytes
    with allowing(0):  # single elements take no pass
        assert [total.at((n, 2 * n % 397)) for n in range(9)] == [float(plain[n, 2 * n % 397]) for n in range(9)]
        with pytest.raises(Later):
            total.norm()
    looks = itertools.count()
    with pytest.raises(GivenUp), allowing(waits=lambda: next(looks) > 2):
        total.norm()
    assert total.same_bits(HeldTensor(plain)) and torch.equal(total.value, plain)
    assert total.norm() == pytest.approx(float(plain.double().norm()), rel=1e-6)
    assert total.at((3, 7)) == float(plain[3, 7]) and total.vmax() == float(plain.abs().max())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_difference_is_that_of_torch_in_float64(dtype) -> None:
    a, b = pair(dtype)
    made, plain = HeldTensor(a).minus(HeldTensor(b)), HeldTensor(a.double() - b.double())
    assert isinstance(made, Difference) and made.dtype == "float64" and made.shape == (401, 397)
    with allowing(0):
        assert made.at((3, 7)) == plain.at((3, 7))
        with pytest.raises(Later):
            made.cosine(plain)
    for asked in ((11, 7, 0, 0), (9, 5, 3, 11), (4, 4, 400, 0), (500, 500, 0, 0)):
        assert made.cells(*asked) == plain.cells(*asked)
        assert made.cells(*asked, pool=False) == plain.cells(*asked, pool=False)
    assert made.norm() == pytest.approx(plain.norm(), rel=1e-12) and made.vmax() == plain.vmax()
    other = HeldTensor(b)
    assert made.cosine(other) == pytest.approx(plain.cosine(other), abs=1e-12) and made.finite()
    assert torch.equal(made.value, plain.value) and made.same_bits(plain)


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_what_is_not_finite_is_found_in_sums_and_differences(odd) -> None:
    a, b = pair(torch.float32)
    a[200, 3] = odd
    for made in (HeldTensor(a).plus(HeldTensor(b)), HeldTensor(a).minus(HeldTensor(b))):
        assert not made.finite() and not made.norm() < 1e9 and 1e3 < made.vmax() < 1e5


def test_a_difference_of_the_same_is_zero() -> None:
    a, _ = pair(torch.float32)
    made = HeldTensor(a).minus(HeldTensor(a))
    assert made.norm() == made.vmax() == 0 and made.finite() and made.cosine(HeldTensor(a)) is None


def test_a_sum_outlives_the_memory_of_what_was_let_go() -> None:
    a, b = pair(torch.float32)
    first, second = HeldTensor(a), HeldTensor(b)
    total = second.fold(first.fold(None))
    assert not first.kept and not second.kept and torch.equal(total.value, a + b)


def test_an_expression_gives_up_as_numbers_do() -> None:
    """No failure of the expression's: where its tensor takes long it is given up, or left for later."""
    left, right = torch.randn(400, 400), torch.randn(400, 400)

    def total() -> Lazy:
        return Lazy(HeldTensor(left), HeldTensor(right), torch.add)

    evaluator = Evaluator(Probe(lambda event: None))
    with allowing(waits=lambda: True), pytest.raises(GivenUp):
        evaluator.evaluate("running.sum()", {"running": total()})
    with allowing(10), pytest.raises(Later):
        evaluator.holds("running.sum() > 0", {"running": total()})
    assert evaluator.evaluate("running.sum()", {"running": total()}) == (left + right).sum()
