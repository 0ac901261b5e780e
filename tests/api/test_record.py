"""record(): every tensor is the one that plain torch has, and the block leaves nothing behind."""

import copy
import subprocess
import sys

import oracle
import pytest
import torch
from torch import nn

import backpropdbg
from backpropdbg.demo.dynamic_net import DynamicNet
from backpropdbg.errors import RecordingError, UsageError

SIZES = (8, 4, 5, 3)
KINDS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=1e-3, momentum=0.9, weight_decay=0.1),
    "adam": lambda p: torch.optim.Adam(p, lr=1e-2, weight_decay=0.1),
}


def make(uses=3, kind="sgd", seed=0):
    """A net, its data and its optimizer."""
    torch.manual_seed(seed)
    batch, d_in, hidden, d_out = SIZES
    model = DynamicNet(d_in, hidden, d_out, uses)
    return model, torch.randn(batch, d_in), torch.randn(batch, d_out), KINDS[kind](model.parameters())


def step(model, x, y, optimizer, zero=True, between=lambda: None):
    if zero:
        optimizer.zero_grad()
    oracle.squares(model(x), y).backward()
    between()
    optimizer.step()


def alike(mine, theirs):
    """Bit for bit, None being None."""
    return mine is theirs is None or (mine is not None and theirs is not None and oracle.bits(mine, theirs))


def grads(model):
    return {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("kind", ["sgd", "adam"])
@pytest.mark.parametrize("zero", [True, False])
@pytest.mark.parametrize("uses", [0, 1, 3])
def test_every_tensor_is_plain_torchs(kind, zero, uses):
    model, x, y, optimizer = make(uses, kind)
    with backpropdbg.record(model, optimizer) as trace:
        for _ in range(3):
            step(model, x, y, optimizer, zero)
    assert trace.problems == () and [i.number for i in trace.iterations] == [1, 2, 3]

    model, x, y, optimizer = make(uses, kind)
    for n in (1, 2, 3):
        if zero:
            optimizer.zero_grad()
        before, carried = oracle.state_of(model), grads(model)
        state = {
            name: {k: v.clone() for k, v in optimizer.state[p].items()}
            for name, p in model.named_parameters()
            if p in optimizer.state
        }
        partials = oracle.untied_partials(oracle.module_net, before, x, y, uses)
        oracle.squares(model(x), y).backward()
        now = grads(model)
        optimizer.step()
        for name, p in model.named_parameters():
            ledger = trace.iteration(n).ledger(name)
            mine = list(reversed(partials.get(name, [])))
            assert len(ledger.partials) == len(mine) == len(ledger.uses)
            assert all(oracle.bits(a, b) for a, b in zip(ledger.partials, mine, strict=True))
            assert alike(ledger.carried, carried[name]) and alike(ledger.grad, now[name])
            assert alike(ledger.running, oracle.arrival_sum(reversed(mine), carried[name]))
            assert ledger.exact is (True if mine else None) and ledger.labels == ()
            for run in ledger.runs:
                assert run.arrivals == tuple(range(len(mine), 0, -1)) and run.accumulates and run.exact
                assert alike(run.carried, carried[name]) and alike(run.running, now[name])
                assert alike(run.grad_after, now[name])
            update = trace.iteration(n).update(name)
            assert oracle.bits(update.before, before[name]) and oracle.bits(update.after, p)
            assert torch.equal(update.delta, p.detach().double() - before[name].double())
            assert update.skipped == ("" if now[name] is not None else "no gradient")
            check_terms(update, kind, before[name], now[name], state.get(name, {}))


def check_terms(update, kind, before, grad, state):
    """The terms are those of the optimizer's formula, and add up to the change."""
    if grad is None:
        assert update.terms == {}
        return
    if kind == "sgd":
        want = oracle.sgd_terms(before, grad, state.get("momentum_buffer"), 1e-3, 0.9, 0.1)
    else:
        want = oracle.adam_terms(before, grad, state, 1e-2, weight_decay=0.1)
    assert update.terms.keys() == {*want, "rounding"}
    for name, term in want.items():
        assert torch.allclose(update.terms[name], term, rtol=1e-9, atol=1e-12), name
    assert torch.allclose(sum(update.terms.values()), update.delta, rtol=0, atol=1e-15)


def test_uses_name_the_call_the_node_and_the_line():
    model, x, y, optimizer = make()
    with backpropdbg.record(model, optimizer) as trace:
        step(model, x, y, optimizer)
    uses = trace.iteration(1).ledger("middle_linear.weight").uses
    assert [(u.number, u.total, u.module, u.call, u.run) for u in uses] == [
        (n, 3, "middle_linear", n, 1) for n in (1, 2, 3)
    ]
    assert {u.node for u in uses} == {"TBackward0"} and not any(u.fused for u in uses)
    assert all(u.file.endswith("dynamic_net.py") for u in uses) and len({u.line for u in uses}) == 1


def test_several_runs_stand_behind_each_other():
    model, x, y, optimizer = make()
    with backpropdbg.record(model, optimizer) as trace:
        optimizer.zero_grad()
        for scale in (1.0, 0.5):
            (scale * oracle.squares(model(x), y)).backward()
        optimizer.step()
    ledger = trace.iteration(1).ledger("middle_linear.weight")
    first, second = ledger.runs
    assert (first.arrivals, second.arrivals) == ((3, 2, 1), (6, 5, 4)) and len(ledger.partials) == 6
    assert first.carried is None and oracle.bits(second.carried, first.grad_after)
    assert oracle.bits(ledger.running, ledger.grad) and ledger.exact is True and ledger.carried is None


@pytest.mark.parametrize("factor,label", [(0.5, "scaled by 0.5"), (1.0, None), (0.0, "cleared"), (-1.0, "changed")])
def test_what_changed_the_gradient_is_a_label_and_no_mismatch(factor, label):
    model, x, y, optimizer = make()
    with backpropdbg.record(model, optimizer) as trace:
        step(model, x, y, optimizer, between=lambda: model.middle_linear.weight.grad.mul_(factor))
    ledger = trace.iteration(1).ledger("middle_linear.weight")
    assert (ledger.exact, ledger.labels) == ((None, (label,)) if label else (True, ()))
    assert torch.equal(ledger.grad, ledger.running * factor)


def test_training_by_hand():
    model, x, y, _ = make()
    want = []
    with backpropdbg.record(model) as trace:
        for _ in range(2):
            oracle.squares(model(x), y).backward()
            want.append((grads(model), oracle.state_of(model)))
            with torch.no_grad():
                for p in model.parameters():
                    p -= 1e-3 * p.grad
                    p.grad = None
    for n, (now, before) in enumerate(want, 1):
        iteration = trace.iteration(n)
        ledger, update = iteration.ledger("middle_linear.bias"), iteration.update("middle_linear.bias")
        assert oracle.bits(ledger.grad, now["middle_linear.bias"]) and ledger.exact is True
        assert oracle.bits(update.before, before["middle_linear.bias"]) and update.skipped == "no optimizer stepped"
        assert list(update.terms) == ["by hand"] and torch.equal(update.terms["by hand"], update.delta)
        assert update.delta.norm() > 0
    assert oracle.bits(update.after, model.middle_linear.bias)


def test_what_nobody_could_compare_is_none():
    def program():
        model, x, y, _ = make()
        oracle.squares(model(x), y).backward()
        with torch.no_grad():
            model.middle_linear.bias -= 1

    with backpropdbg.record() as trace:
        program()
    update = trace.iteration(1).update("middle_linear.bias")
    assert update.before is not None and update.after is None and update.delta is None and update.terms == {}


def test_a_parameter_in_no_optimizer_that_stepped():
    model, x, y, _ = make()
    optimizer = torch.optim.SGD(model.middle_linear.parameters(), lr=1e-3)
    with backpropdbg.record(model, optimizer) as trace:
        step(model, x, y, optimizer)
    update = trace.iteration(1).update("input_linear.weight")
    assert update.skipped == "in no optimizer that stepped" and update.terms == {}
    assert oracle.bits(update.before, update.after) and update.delta.norm() == 0


def test_not_computed_is_neither_a_partial_nor_an_arrival():
    model, x, y, _ = make()
    with backpropdbg.record(model) as trace:
        oracle.squares(model(x), y).backward(inputs=[model.output_linear.weight])
    ledger = trace.iteration(1).ledger("middle_linear.weight")
    assert len(ledger.uses) == 3 and ledger.partials == () and ledger.runs[0].arrivals == ()
    assert ledger.grad is None and ledger.exact is None and ledger.labels == ("not accumulated",)


# -- the block -----------------------------------------------------------------------------------


def hooks():
    """All that a recording could leave in torch."""
    import torch.nn.modules.module as m
    import torch.optim.optimizer as o

    held = [m._global_forward_hooks, m._global_forward_pre_hooks]
    held += [o._global_optimizer_pre_hooks, o._global_optimizer_post_hooks]
    functions = [torch.autograd._engine_run_backward, o.Optimizer.__init__, o.Optimizer.zero_grad, nn.Module.zero_grad]
    return [len(h) for h in held], functions, torch._C._len_torch_function_stack()


def test_the_trained_bits_are_those_without_it():
    plain = make()
    for _ in range(3):
        step(*plain)
    watched = make()
    with backpropdbg.record(watched[0], watched[3]):
        for _ in range(3):
            step(*watched)
    assert oracle.same_states(oracle.state_of(plain[0]), oracle.state_of(watched[0]))


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_every_hook_is_gone_after_the_block_also_after_an_exception(error):
    before = hooks()
    model, x, y, optimizer = make()

    def fail():
        raise error

    with pytest.raises(error), backpropdbg.record(model, optimizer) as trace:
        assert hooks() != before
        step(model, x, y, optimizer, between=fail)
    assert hooks() == before
    assert trace.iteration(1).ledger("middle_linear.weight").exact is True
    step(model, x, y, optimizer)
    assert len(trace.iterations) == 1 and not any(p._backward_hooks for p in model.parameters())
    assert not any(p._post_accumulate_grad_hooks for p in model.parameters())


def test_it_nests_and_the_inner_one_sees_its_own_part():
    before = hooks()
    model, x, y, optimizer = make()
    with backpropdbg.record(model, optimizer) as outer:
        step(model, x, y, optimizer)
        with backpropdbg.record(model, optimizer) as inner:
            step(model, x, y, optimizer)
        step(model, x, y, optimizer)
    assert hooks() == before
    assert len(outer.iterations) == 3 and len(inner.iterations) == 1
    a, b = (t.ledger("middle_linear.weight") for t in (outer.iteration(2), inner.iteration(1)))
    assert a.exact is b.exact is True and len(a.partials) == 3
    assert all(oracle.bits(p, q) for p, q in zip(a.partials, b.partials, strict=True))


def test_it_is_entered_again_and_within_itself():
    before = hooks()
    model, x, y, optimizer = make()
    recorder = backpropdbg.record(model, optimizer)
    with recorder as first:
        step(model, x, y, optimizer)
        with recorder as second:
            step(model, x, y, optimizer)
    with recorder as third:
        step(model, x, y, optimizer)
    assert [len(t.iterations) for t in (first, second, third)] == [2, 1, 1] and hooks() == before


def test_it_can_be_read_inside_the_block():
    model, x, y, optimizer = make()
    with backpropdbg.record(model, optimizer) as trace:
        oracle.squares(model(x), y).backward()
        ledger = trace.iteration(1).ledger("middle_linear.weight")
        assert oracle.bits(ledger.grad, model.middle_linear.weight.grad) and ledger.exact is True
        assert trace.iteration(1).update("middle_linear.weight").skipped == "no optimizer stepped"
        optimizer.step()
        assert trace.iteration(1).update("middle_linear.weight").skipped == ""


def test_nothing_need_be_given_and_the_names_are_the_models_own():
    with backpropdbg.record() as trace:
        model, x, y, optimizer = make()
        step(model, x, y, optimizer)
    assert "middle_linear.weight" in trace.iteration(1).parameters
    twin = copy.deepcopy(model)
    with backpropdbg.record(twin) as trace:
        oracle.squares(twin(x), y).backward()
    assert trace.iteration(1).ledger("middle_linear.weight").names == ("middle_linear.weight",)


def test_a_tied_parameter_is_found_by_any_of_its_names():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.wte, self.head = nn.Embedding(5, 4), nn.Linear(4, 5, bias=False)
            self.head.weight = self.wte.weight

        def forward(self, tokens):
            return self.head(self.wte(tokens)).square().sum()

    model = Tied()
    with backpropdbg.record(model) as trace:
        model(torch.arange(5)).backward()
    for name in ("wte.weight", "head.weight"):
        ledger = trace.iteration(1).ledger(name)
        assert ledger.names == ("wte.weight", "head.weight") and len(ledger.partials) == 2 and ledger.exact


@pytest.mark.parametrize(
    "track", ["middle_linear.*", ["middle_linear"], ("middle_linear.weight", "middle_linear.bias")]
)
def test_track_narrows_what_is_recorded(track):
    model, x, y, optimizer = make()
    with backpropdbg.record(model, optimizer, track=track) as trace:
        step(model, x, y, optimizer)
    assert set(trace.iteration(1).parameters) == {"middle_linear.weight", "middle_linear.bias"}
    assert trace.iteration(1).ledger("middle_linear.weight").exact is True


# -- what can't be answered ----------------------------------------------------------------------


def test_unknown_names_and_iterations_are_one_line_that_names_what_there_is():
    model, x, y, optimizer = make()
    with backpropdbg.record(model, optimizer) as trace:
        with pytest.raises(RecordingError, match=r"^no iteration 1: nothing was recorded$"):
            trace.iteration(1)
        for _ in range(3):
            step(model, x, y, optimizer)
    with pytest.raises(RecordingError, match=r"^no iteration 4: there are 1 to 3$"):
        trace.iteration(4)
    want = (
        r"^no parameter 'midle_linear.weight' was recorded \(is it 'middle_linear.weight'\?\); there are: input_linear"
    )
    for ask in (trace.iteration(1).ledger, trace.iteration(1).update):
        with pytest.raises(RecordingError, match=want) as caught:
            ask("midle_linear.weight")
        assert "\n" not in str(caught.value)


def test_a_tensor_that_was_not_kept_is_no_none():
    model, x, y, optimizer = make()
    with backpropdbg.record(model, optimizer, keep=0) as trace:
        for _ in range(2):
            step(model, x, y, optimizer)
    ledger = trace.iteration(1).ledger("middle_linear.weight")
    for ask in (
        lambda: ledger.partials,
        lambda: ledger.running,
        lambda: trace.iteration(1).update("middle_linear.bias").before,
    ):
        with pytest.raises(RecordingError, match=r"^[^\n]* was not kept: "):
            ask()
    assert ledger.exact is None and ledger.labels == ("not kept",)
    assert trace.iteration(2).ledger("middle_linear.weight").exact is True


@pytest.mark.parametrize(
    "given,text",
    [
        ({"model": "net"}, "record(model=…) takes a torch.nn.Module, not 'net'"),
        ({"optimizer": 3}, "record(optimizer=…) takes a torch.optim.Optimizer, not 3"),
        ({"track": [3]}, "record(track=…) takes names or globs, not [3]"),
        ({"keep": -1}, "record(keep=…) takes a number of bytes, not -1"),
    ],
)
def test_a_wrong_argument_is_one_line(given, text):
    with pytest.raises(UsageError) as caught:
        backpropdbg.record(**given)
    assert str(caught.value) == text


def test_a_track_that_matches_nothing_of_the_model_is_one_line():
    before = hooks()
    with pytest.raises(
        UsageError, match=r"record\(track=\['midle'\]\) matches nothing in DynamicNet; there are: input"
    ):
        backpropdbg.record(make()[0], track="midle").__enter__()
    assert hooks() == before


def test_importing_it_imports_neither_torch_nor_textual():
    code = "import sys, backpropdbg; backpropdbg.record(); print({'torch', 'textual', 'rich'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout == "set()\n", done.stderr


def test_a_reentrant_checkpoint_is_summed_up_in_the_order_in_which_its_runs_write() -> None:
    from torch.utils.checkpoint import checkpoint

    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 3, bias=False)
    x = torch.randn(2, 3, requires_grad=True)
    with backpropdbg.record() as trace:
        layer(checkpoint(lambda t: layer(layer(t)), layer(x), use_reentrant=True)).square().sum().backward()
    ledger = trace.iteration(1).ledger("weight")
    assert ledger.exact is True and torch.equal(ledger.running, layer.weight.grad) and ledger.labels == ()


def test_every_update_of_a_parameter_that_several_move():
    """A hand, then two optimizers: each one's before and after."""
    torch.manual_seed(0)
    w, seen = nn.Parameter(torch.randn(3)), []
    optimizers = [torch.optim.SGD([w], lr=0.1), torch.optim.Adam([w], lr=0.01)]
    with backpropdbg.record() as trace:
        for _ in range(2):
            (w * w).sum().backward()
            seen.append(w.detach().clone())
            for optimizer in optimizers:
                optimizer.step()
                seen.append(w.detach().clone())
            with torch.no_grad():
                w.mul_(0.5)
            seen.append(w.detach().clone())
    updates = trace.iteration(2).updates("w")  # what a hand did after a step is seen when the next one begins
    assert [update.optimizer.partition(" ")[0] for update in updates] == ["", "SGD", "Adam"]
    for update, (before, after) in zip(updates, [seen[2:4], seen[4:6], seen[5:7]], strict=True):
        assert torch.equal(update.before, before) and torch.equal(update.after, after)
    assert list(updates[0].terms) == ["by hand"]
    for update in updates[1:]:
        torch.testing.assert_close(sum(update.terms.values()), update.delta, rtol=1e-9, atol=1e-12)
    assert torch.equal(trace.iteration(2).update("w").after, updates[2].after)
