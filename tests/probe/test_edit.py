"""An edited partial flows on: `.grad`, what comes after it, and the update are those of plain torch with that value."""

import oracle
import pytest
import torch
from driving import ledger, make_net, partials, probed, seed
from torch import nn
from torch.nn import functional as F

from backpropdbg.errors import CommandError
from backpropdbg.events import Accumulated, BackwardUse, GradCleared, PartialEdited

WEIGHT, BIAS = "middle_linear.weight", "middle_linear.bias"


def editing(change, name=WEIGHT, number=2, iteration=1):
    """A sink that edits one use's partial; `.said` collects what is refused."""

    def sink(event):
        if not isinstance(event, BackwardUse):
            return
        if (event.iteration, event.use.parameter, event.use.number) == (iteration, name, number):
            try:
                sink.probe.edit(change(None if event.partial is None else event.partial.value))
            except CommandError as e:
                sink.said.append(str(e))

    sink.said = []
    return sink


def run(sink, program):
    with probed(sink) as seen:
        sink.probe = seen.probe
        program()
    return seen.events


class Replaces(torch.autograd.Function):
    """In plain torch: the identity, whose backward changes what flows."""

    @staticmethod
    def forward(ctx, w, change):
        ctx.change = change
        return w.view_as(w)

    @staticmethod
    def backward(ctx, grad):
        return ctx.change(grad), None


def net(model, x, change=None, number=2):
    """The forward of the module net, by hand; in plain torch the given use of the weight is changed."""
    h = F.linear(x, model.input_linear.weight, model.input_linear.bias).clamp(min=0)
    for n in (1, 2, 3):
        w = model.middle_linear.weight
        w = Replaces.apply(w, change) if change is not None and n == number else w
        h = F.linear(h, w, model.middle_linear.bias).clamp(min=0)
    return F.linear(h, model.output_linear.weight, model.output_linear.bias)


def train(change=None, number=2):
    seed(3)
    model, x, y = make_net("module", 3)
    stepper = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    grads = []
    for t in range(3):
        stepper.zero_grad()
        oracle.squares(net(model, x, change if t == 1 else None, number), y).backward()
        grads.append({n: p.grad.clone() for n, p in model.named_parameters()})
        stepper.step()
    return oracle.state_of(model), grads


CHANGES = {
    "doubled": lambda g: g * 2,
    "zero": lambda g: torch.zeros_like(g),
    "transposed in memory": lambda g: (g * 3).t().contiguous().t(),
    "not finite": lambda g: g / 0,
}


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("change", CHANGES)
def test_what_flows_on_is_what_plain_torch_gives_with_that_value(change, number):
    plain, grads = train(CHANGES[change], number)
    unedited, _ = train()
    sink = editing(CHANGES[change], WEIGHT, number, iteration=2)
    result = []
    events = run(sink, lambda: result.append(train()))
    watched, found = result[0]
    assert sink.said == [] and not oracle.same_states(unedited, watched)
    for name in plain:
        assert oracle.bits(watched[name], plain[name])
        assert all(oracle.bits(a[name], b[name]) for a, b in zip(grads, found, strict=True))
    (event,) = [e for e in events if isinstance(e, PartialEdited)]
    before = events[events.index(event) - 1]
    assert isinstance(before, BackwardUse) and before.use == event.use and before.run == event.run
    assert torch.equal(event.partial.value, CHANGES[change](before.partial.value)) or change == "not finite"


def test_the_original_stays_as_it_was_and_the_edit_is_a_copy():
    seed(3)
    model, x, y = make_net("module", 3)
    mine = torch.ones(5, 5)
    truth = oracle.untied_partials(oracle.module_net, oracle.state_of(model), x, y, 3)[WEIGHT]
    events = run(editing(lambda g: mine), lambda: oracle.squares(model(x), y).backward())
    assert [oracle.bits(p, truth[n - 1]) for n, p in partials(events, 1, WEIGHT)] == [True] * 3
    expected = (truth[2] + torch.ones(5, 5)) + truth[0]
    assert oracle.bits(model.middle_linear.weight.grad, expected)
    (event,) = [e for e in events if isinstance(e, PartialEdited)]
    nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
    mine.zero_()
    assert torch.equal(event.partial.value, torch.ones(5, 5))


def test_a_weight_as_the_value_is_not_made_the_gradient():
    w = nn.Parameter(torch.tensor([1.0, 2.0]))
    run(editing(lambda g: w, "w", 1), lambda: (w * 3).sum().backward())
    assert torch.equal(w.grad, torch.tensor([1.0, 2.0])) and w.grad.data_ptr() != w.data_ptr()
    w.grad.zero_()
    assert torch.equal(w.detach(), torch.tensor([1.0, 2.0]))


def test_a_number_stands_for_every_element_and_the_last_edit_counts():
    model, x, y = make_net("module", 1)

    def twice(g):
        sink.probe.edit(7)
        return 0.5

    sink = editing(twice, BIAS, 1)
    events = run(sink, lambda: oracle.squares(model(x), y).backward())
    assert torch.equal(model.middle_linear.bias.grad, torch.full((5,), 0.5))
    assert sum(isinstance(e, PartialEdited) for e in events) == 1 and sink.said == []


def test_both_slots_of_one_node_can_be_edited():
    w = nn.Parameter(torch.tensor([3.0]))
    seen_values = iter([torch.tensor([10.0]), torch.tensor([0.25])])

    def sink(event):
        if isinstance(event, BackwardUse):
            sink.probe.edit(next(seen_values))

    run(sink, lambda: (w * w).sum().backward())
    assert w.grad.item() == 10.25


def test_a_parameter_with_hooks_of_its_own_and_an_accumulated_gradient():
    w = nn.Parameter(torch.tensor([3.0]))
    w.grad = torch.tensor([100.0])
    w.register_hook(lambda grad: grad * 2)
    events = run(editing(lambda g: g + 1, "w", 1), lambda: (w * 4).sum().backward())
    assert w.grad.item() == 110.0
    assert [e.grad.value.item() for e in events if isinstance(e, Accumulated)] == [110.0]


def test_a_run_for_gradients_only_returns_the_edit():
    w = nn.Parameter(torch.tensor([3.0]))
    got = []
    run(editing(lambda g: g * 5, "w", 1), lambda: got.extend(torch.autograd.grad((w * w).sum(), w)))
    assert got[0].item() == 3.0 + 15.0
    assert w.grad is None


# -- what does not fit ---------------------------------------------------------------------------

WRONG = {
    "shape": (lambda g: g[:3], "the partial is [5, 5] float32, this is [3, 5] float32: they must be the same"),
    "dtype": (lambda g: g.double(), "the partial is [5, 5] float32, this is [5, 5] float64: they must be the same"),
    "layout": (
        lambda g: g.to_sparse(),
        "the partial is [5, 5] float32, this is [5, 5] float32 sparse_coo: they must be",
    ),
    "none": (lambda g: None, "the partial is a tensor [5, 5] float32, this is a NoneType"),
    "text": (lambda g: "0", "the partial is a tensor [5, 5] float32, this is a str"),
    "truth": (lambda g: True, "the partial is a tensor [5, 5] float32, this is a bool"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_does_not_fit_is_refused_in_one_line_and_changes_nothing(wrong):
    change, text = WRONG[wrong]
    plain, _ = train()
    sink, result = editing(change, iteration=2), []
    events = run(sink, lambda: result.append(train()))
    assert len(sink.said) == 1 and sink.said[0].startswith(text) and "\n" not in sink.said[0]
    assert oracle.same_states(plain, result[0][0]) and not any(isinstance(e, PartialEdited) for e in events)


def test_a_use_through_a_view_or_a_cast_is_refused():
    w = nn.Parameter(torch.randn(3, 3))

    def views():
        t = w.t()
        (torch.ones(2, 3) @ t @ t).sum().backward()

    def casts():
        with torch.autocast("cpu", torch.bfloat16):
            lin = F.linear(F.linear(torch.ones(2, 3), w), w)
        lin.float().sum().backward()

    for program, node in ((views, "TBackward0"), (casts, "ToCopyBackward0")):
        sink = editing(lambda g: g * 2, "w", 1)
        events = run(sink, program)
        assert sink.said == [f"this use reaches the parameter through a cast or view ({node}): it can't be edited"]
        assert not any(isinstance(e, PartialEdited) for e in events)


def test_where_this_run_does_not_compute_it():
    model, x, y = make_net("module", 2)
    sink = editing(lambda g: 0, BIAS)
    run(sink, lambda: oracle.squares(model(x), y).backward(inputs=[model.input_linear.weight]))
    assert sink.said == ["this run does not compute the partial of this use: there is nothing to edit"]


def test_where_there_is_no_partial():
    refused = []

    def sink(event):
        if not isinstance(event, BackwardUse):
            with pytest.raises(CommandError, match="there is no partial here") as e:
                sink.probe.edit(torch.ones(5, 5))
            refused.append((type(event), str(e.value).count("\n")))

    model, x, y = make_net("module", 2)
    events = run(sink, lambda: (oracle.squares(model(x), y).backward(), model.zero_grad()))
    assert len(refused) > 8 and {n for _, n in refused} == {0} and GradCleared in {k for k, _ in refused}
    assert ledger(events[:-1], 1, WEIGHT).latest.exact() is True
    with pytest.raises(CommandError, match="there is no partial here"):
        sink.probe.edit(0)
