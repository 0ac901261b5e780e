"""Every number of a row is what plain torch gives; the oracle's untied copies give the partials."""

import gc
import weakref

import oracle
import pytest
import torch
from torch import nn

from backpropdbg.events import BackwardUse
from backpropdbg.probe.hooks import Policy, Probe
from backpropdbg.report.collect import Collector
from backpropdbg.report.rows import Row

KEYS = ["names", "shape", "iteration", "runs", "uses", "split", "partial_norms", "grad_norm_before", "grad_norm"]
KEYS += ["exact", "labels", "weight_moved", "update_norm", "findings"]
SIZES = (8, 4, 5, 3)


def size(t):
    """The norm of a small tensor, in plain torch."""
    return None if t is None else torch.linalg.vector_norm(t.detach().double()).item()


def net_and_data(seed=0, uses=3):
    torch.manual_seed(seed)
    batch, d_in, hidden, d_out = SIZES
    model = oracle.TutorialNet(d_in, hidden, d_out, uses)
    x, y = torch.randn(batch, d_in), torch.randn(batch, d_out)
    # What was accumulated is compared with plain torch, so the two nets must use their weights as modules do.
    model.forward = lambda x: oracle.module_net(lambda name: model.get_parameter(name), x, uses)
    return model, x, y


def train(zero, clip, momentum, uses, iterations=3, watch=lambda *facts: None):
    """A training loop that tells `watch` its own numbers."""
    model, x, y = net_and_data(uses=uses)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=momentum, weight_decay=0.1 * momentum)
    named = dict(model.named_parameters())
    for iteration in range(1, iterations + 1):
        if zero:
            optimizer.zero_grad()
        before = oracle.state_of(model)
        carried = {name: None if p.grad is None else p.grad.clone() for name, p in named.items()}
        oracle.squares(model(x), y).backward()
        left = {name: None if p.grad is None else p.grad.clone() for name, p in named.items()}
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        read = {name: None if p.grad is None else p.grad.clone() for name, p in named.items()}
        optimizer.step()
        watch(iteration, before, carried, left, read, oracle.state_of(model), x, y)


@pytest.mark.parametrize("uses", [0, 1, 3])
@pytest.mark.parametrize("zero,clip,momentum", [(1, 0, 0.0), (0, 0, 0.9), (1, 1, 0.9), (0, 1, 0.0)])
def test_every_number_of_a_row_is_plain_torchs(collect, zero, clip, momentum, uses):
    report = collect(lambda: train(zero, clip, momentum, uses))
    checked = []

    def compare(iteration, before, carried, left, read, after, x, y):
        partials = oracle.untied_partials(oracle.module_net, before, x, y, uses)
        for name in before:
            row = report.line(name, iteration).row
            mine = partials.get(name, [])
            assert row.shape == tuple(before[name].shape)
            assert (row.runs, row.uses, row.split) == (int(bool(mine)), len(mine), True)
            assert row.partial_norms == tuple(size(p) for p in reversed(mine))
            assert row.grad_norm_before == size(carried[name])
            assert row.grad_norm == size(read[name])
            moved = not oracle.bits(before[name], after[name])
            assert row.weight_moved == moved
            assert row.update_norm == (size(after[name].double() - before[name].double()) if moved else 0.0)
            same = left[name] is not None and oracle.bits(left[name], read[name])
            if mine:
                total = oracle.arrival_sum(mine, carried[name])
                assert oracle.bits(total, left[name])
            assert row.exact == (True if mine and same else None)
            factor = [] if same or left[name] is None else [size(read[name]) / size(left[name])]
            assert row.labels == tuple(f"scaled by {f:.4g}" for f in factor)
            line = report.line(name, iteration)
            assert line.relative == pytest.approx(row.update_norm / size(before[name]), rel=1e-12)
            if len(mine) > 1:
                lost = 1 - size(oracle.arrival_sum(mine, None)) / sum(size(p) for p in mine)
                assert line.cancelled == pytest.approx(lost, abs=1e-12)
            else:
                assert line.cancelled is None
            checked.append(name)

    train(zero, clip, momentum, uses, watch=compare)
    assert len(checked) == 18 == len(report.lines)


def test_a_row_has_these_keys_and_no_others():
    assert list(Row.__struct_fields__) == KEYS


def test_runs_of_one_iteration_stand_behind_each_other(collect):
    seen = []

    def program():
        torch.manual_seed(1)
        layer = nn.Linear(3, 2)
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
        for _ in range(3):
            x = torch.randn(4, 3)
            layer(x).square().sum().backward()
            twin = nn.Linear(3, 2)
            twin.load_state_dict(layer.state_dict())
            seen.append(size(torch.autograd.grad(twin(x).square().sum(), twin.weight)[0]))
        seen.append(size(layer.weight.grad))
        optimizer.step()

    row = collect(program).line("weight").row
    assert (row.runs, row.uses, row.exact, row.labels) == (3, 3, True, ())
    assert row.partial_norms == tuple(seen[:3])
    assert (row.grad_norm_before, row.grad_norm) == (None, seen[3])


def test_what_a_run_does_not_compute_is_null_and_not_zero(collect):
    def program():
        torch.manual_seed(2)
        first, second = nn.Linear(3, 3), nn.Linear(3, 1)
        model = nn.Sequential(first, second)
        model(torch.randn(2, 3)).sum().backward(inputs=[second.weight])

    report = collect(program)
    row = report.line("0.weight").row
    assert (row.runs, row.uses, row.partial_norms, row.grad_norm, row.exact) == (1, 1, (None,), None, None)
    assert report.slugs("0.weight") == {"no-gradient:not-computed"}
    assert report.line("1.weight").row.exact is True


def test_a_gradient_that_nobody_accumulates_is_told(collect):
    grads = []

    def program():
        torch.manual_seed(3)
        layer = nn.Linear(3, 1)
        grads.extend(torch.autograd.grad(layer(torch.randn(5, 3)).square().mean(), list(layer.parameters())))

    row = collect(program).line("weight").row
    assert row.partial_norms == (size(grads[0]),)
    assert (row.grad_norm, row.exact, row.labels) == (None, None, ("not accumulated",))


def test_uses_that_share_a_cast_are_summed_as_the_engine_does(collect):
    def program():
        torch.manual_seed(4)
        layer = nn.Linear(6, 6)
        with torch.autocast("cpu", torch.bfloat16):
            h = torch.randn(3, 6)
            for _ in range(3):
                h = layer(h)
        (h.float().sum() + (layer.weight * 0.1).sum()).backward()

    row = collect(program).line("weight").row
    assert (row.uses, row.exact, row.labels) == (4, True, ())


@pytest.mark.parametrize("change,label", [(lambda g: g * 2, "a hook of the program's"), (lambda g: None, None)])
def test_a_hook_of_the_programs_is_a_label_where_it_changes_something(collect, change, label):
    def program():
        torch.manual_seed(5)
        layer = nn.Linear(3, 1)
        layer.weight.register_hook(change)
        layer(torch.randn(2, 3)).sum().backward()

    row = collect(program).line("weight").row
    assert (row.exact, row.labels) == ((None, (label,)) if label else (True, ()))


@pytest.mark.parametrize(
    "edit,label",
    [
        (lambda p: p.grad.mul_(0.25), "scaled by 0.25"),
        (lambda p: p.grad.clamp_(max=0.0), "changed"),
        (lambda p: p.grad.neg_(), "changed"),
        (lambda p: p.grad.zero_(), "cleared"),
        (lambda p: setattr(p, "grad", None), "cleared"),
        (lambda p: p.grad.mul_(1.0), None),
    ],
)
def test_what_changed_the_gradient_before_the_step_is_a_label(collect, edit, label):
    def program():
        torch.manual_seed(6)
        layer = nn.Linear(3, 4)
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
        layer(torch.randn(2, 3)).square().sum().backward()
        edit(layer.weight)
        optimizer.step()

    row = collect(program).line("weight").row
    assert (row.exact, row.labels) == ((None, (label,)) if label else (True, ()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("factor", [0.3, 0.7071, 3.0])
def test_a_factor_is_told_with_its_number_in_any_dtype(collect, dtype, factor):
    """It is that of the tensors, as rounding left it; one large element that is off by a half is no factor."""
    sizes = []

    def program(off):
        torch.manual_seed(6)
        layer = nn.Linear(40, 30, dtype=dtype)
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
        layer(torch.randn(2, 40, dtype=dtype)).square().sum().backward()
        before = layer.weight.grad.double().norm()
        layer.weight.grad.mul_(factor)
        if off:
            layer.weight.grad.view(-1)[layer.weight.grad.abs().argmax()] *= 1.5
        sizes.append(float(layer.weight.grad.double().norm() / before))
        optimizer.step()

    row = collect(lambda: program(False)).line("weight").row
    (label,) = row.labels
    assert row.exact is None and label.startswith("scaled by ")
    assert float(label.removeprefix("scaled by ")) == pytest.approx(sizes[0], rel=1e-3)
    assert sizes[0] == pytest.approx(factor, rel=2 * torch.finfo(dtype).eps)
    assert collect(lambda: program(True)).line("weight").row.labels == ("changed",)


def test_training_by_hand_is_seen_to_its_last_step(collect):
    moved = []

    def program():
        torch.manual_seed(7)
        w = torch.randn(3, requires_grad=True)
        for _ in range(3):
            (w * torch.randn(3)).square().sum().backward()
            before = w.detach().clone()
            with torch.no_grad():
                w -= 0.1 * w.grad
            moved.append((size(w.grad), size(w.double() - before.double())))
            w.grad = None

    report = collect(program)
    rows = [report.line("w", n).row for n in (1, 2, 3)]
    assert [(row.grad_norm, row.update_norm) for row in rows] == moved
    assert all(row.exact is True and row.weight_moved and not row.findings for row in rows)


def test_what_nobody_could_compare_any_more_is_null(collect):
    """The last update by hand of a model that is gone when the program ends."""

    def program():
        layer = nn.Linear(2, 1)
        for _ in range(2):
            layer(torch.ones(1, 2)).sum().backward()
            with torch.no_grad():
                layer.weight -= layer.weight.grad

    report = collect(program)
    rows = [report.line("weight", n).row for n in (1, 2)]
    assert [(row.weight_moved, row.update_norm) for row in rows] == [(True, pytest.approx(2**0.5)), (None, None)]


def test_a_program_that_fails_keeps_what_there_was(collecting):
    with pytest.raises(ZeroDivisionError), collecting() as report:
        layer = nn.Linear(2, 2)
        layer(torch.ones(1, 2)).sum().backward()
        raise ZeroDivisionError
    assert report.line("weight").row.exact is True


def test_after_the_last_iteration_it_is_done_and_deaf():
    batches, done = [], []
    probe = Probe(lambda event: collector(event), Policy())
    collector = Collector(probe.names, 2, batches.append, lambda: done.append(len(batches)))
    probe.install()
    try:
        layer = nn.Linear(2, 1)
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
        for _ in range(5):
            optimizer.zero_grad()
            layer(torch.ones(1, 2)).sum().backward()
            optimizer.step()
    finally:
        probe.remove()
    collector.finish()
    assert done == [len(batches)]
    final = [batch for batch in batches if not batch.draft]
    assert [[fact.row.iteration for fact in batch.facts] for batch in final] == [[1, 1], [2, 2]]


def test_no_partial_outlives_the_next_one():
    """Memory stays flat however often a weight is used."""
    alive, left = [], []

    def sink(event):
        collector(event)
        if isinstance(event, BackwardUse) and event.partial is not None:
            alive.append(weakref.ref(event.partial.value))
        left.append(sum(reference() is not None for reference in alive))

    probe = Probe(sink, Policy())
    collector = Collector(probe.names, 1, lambda batch: None)
    probe.install()
    try:
        first, layer, h = nn.Linear(4, 4), nn.Linear(4, 4), torch.ones(1, 4)
        h = first(h)
        for _ in range(100):
            h = layer(h)
        gc.collect()
        h.sum().backward()
    finally:
        probe.remove()
    assert len(alive) == 202 and max(left) <= 4 and left[-1] == 0


def test_a_row_of_tensors_without_numbers_says_so(collect):
    def program():
        with torch.device("meta"):
            layer, x = nn.Linear(2, 1), torch.ones(1, 2)
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
        layer(x).sum().backward()
        optimizer.step()

    row = collect(program).line("weight").row
    assert (row.shape, row.uses, row.partial_norms) == ((1, 2), 1, (None,))
    assert (row.exact, row.weight_moved, row.findings) == (None, None, ())
    assert row.labels == ("no numbers: not kept, or on the device meta", "not compared")
