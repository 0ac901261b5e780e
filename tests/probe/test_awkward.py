"""Programs that do unusual things: the debugger tells the truth about them, or that it can't, and never disturbs."""

import threading

import oracle
import pytest
import torch
from driving import debugged, ledger, make_net, partials, probed, seed
from torch import nn

from backpropdbg.events import (
    Accumulated,
    Anomaly,
    BackwardFinished,
    BackwardStarted,
    BackwardUse,
    ForwardUse,
    GradCleared,
    GroupSummed,
    ManualUpdate,
    StepFinished,
    StepStarted,
)


def of(events, kind):
    return [e for e in events if isinstance(e, kind)]


def true_grads(model, debugger):
    """(shown, true) `.grad` of every parameter at this stop."""
    for name, p in model.named_parameters():
        shown = debugger.look(debugger.stop.position, name).grad
        yield name, None if shown is None else shown.value, p.grad


LOOPS = {
    "zero_grad first": lambda m, o, f: (o.zero_grad(), f().backward(), o.step()),
    "zero_grad last": lambda m, o, f: (f().backward(), o.step(), o.zero_grad()),
    "zero_grad before backward": lambda m, o, f: [loss := f(), m.zero_grad(), loss.backward(), o.step()],
    "zero_grad before step": lambda m, o, f: (f().backward(), o.zero_grad(), o.step()),
    "to zeros": lambda m, o, f: (o.zero_grad(set_to_none=False), f().backward(), o.step()),
    "never": lambda m, o, f: (f().backward(), o.step()),
    "by hand": lambda m, o, f: (f().backward(), o.step(), [setattr(p, "grad", None) for p in m.parameters()]),
    "zeros by hand": lambda m, o, f: (f().backward(), o.step(), [p.grad.zero_() for p in m.parameters()]),
    "clipped": lambda m, o, f: (f().backward(), nn.utils.clip_grad_norm_(m.parameters(), 0.1), o.step(), o.zero_grad()),
}


@pytest.mark.parametrize("order", LOOPS)
def test_grad_is_the_true_one_at_every_stop(order):
    """Except after an assignment that no hook sees: that is noticed when the next forward begins."""
    seed(5)
    model, x, y = make_net("module", 2)
    stepper = torch.optim.SGD(model.parameters(), lr=0.01)
    wrong = []

    def at_stop(situation, debugger):
        unseen = situation.event == "GradChanged" or (order == "clipped" and situation.event == "BackwardFinished")
        for name, shown, true in true_grads(model, debugger):
            same = (shown is None and true is None) or (
                shown is not None and true is not None and oracle.bits(shown, true)
            )
            if not same and not unseen:
                wrong.append((situation.iteration, situation.event, name))

    with debugged(at_stop, focus="middle_linear.weight"):
        for _ in range(3):
            LOOPS[order](model, stepper, lambda: oracle.squares(model(x), y))
    assert wrong == []


def test_what_was_changed_before_a_backward_is_carried_in_and_no_change_after_it():
    """Zeroed by hand after the update: the next sum is exact again, and nothing claims that it was changed since."""
    seed(5)
    model, x, y = make_net("module", 2)
    stepper = torch.optim.SGD(model.parameters(), lr=0.01)
    notes, said = [], []

    def at_stop(situation, debugger):
        if situation.event == "StepFinished":
            notes.append({r.term: r.note for r in situation.ledger})
            said.append(debugger.execute("why").text)

    with debugged(at_stop, focus="middle_linear.weight"):
        for _ in range(3):
            oracle.squares(model(x), y).backward()
            stepper.step()
            for p in model.parameters():
                p.grad.zero_()
    assert [n[".grad"] for n in notes] == ["= running sum, bit for bit"] * 3
    assert all("changed" not in n for n in notes) and all("changed since" not in text for text in said)


# -- step(closure) -------------------------------------------------------------------------------


def closure_of(model, x, y, stepper):
    def closure():
        stepper.zero_grad()
        loss = oracle.squares(model(x), y)
        loss.backward()
        return loss

    return closure


def test_sgd_with_a_closure_reads_the_gradient_of_the_closure():
    seed(1)
    model, x, y = make_net("module", 2)
    stepper = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    with probed() as seen:
        for _ in range(3):
            before = oracle.state_of(model)
            stepper.step(closure_of(model, x, y, stepper))
            first, last = of(seen.events, StepStarted)[-2:]
            assert (first.closure, last.closure) == (True, False)
            after = of(seen.events, StepFinished)[-1].after
            for name, p in model.named_parameters():
                assert oracle.bits(last.grads[name].value, p.grad)
                assert oracle.bits(last.before[name].value, before[name])
                terms = last.recipes[name].terms(after[name])
                assert [t for t, _, _ in terms] == ["gradient", "momentum", "rounding"]
    assert [e.iteration for e in of(seen.events, StepFinished)] == [1, 2, 3]
    assert of(seen.events, ManualUpdate) == []


def test_lbfgs_is_one_iteration_and_its_difference_is_the_whole_step():
    seed(1)
    model, x, y = make_net("module", 1)
    stepper = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=4)
    before = oracle.state_of(model)
    with probed() as seen:
        stepper.step(closure_of(model, x, y, stepper))
    assert {e.iteration for e in seen.events} == {1}
    assert len(of(seen.events, BackwardFinished)) > 2 and of(seen.events, ManualUpdate) == []
    last, finished = of(seen.events, StepStarted)[-1], of(seen.events, StepFinished)[-1]
    for name, p in model.named_parameters():
        assert oracle.bits(last.before[name].value, before[name])
        assert oracle.bits(finished.after[name].value, p.detach())


def test_a_step_that_raises_does_not_blind():
    seed(1)
    model, x, y = make_net("module", 1)
    stepper = torch.optim.SGD(model.parameters(), lr=0.01)

    def fails():
        raise ValueError("no")

    with probed() as seen:
        with pytest.raises(ValueError, match="no"):
            stepper.step(fails)
        for _ in range(2):
            closure_of(model, x, y, stepper)()
            stepper.step()
    assert len(of(seen.events, StepFinished)) == 2 and of(seen.events, ManualUpdate) == []


def test_two_optimizers_that_step_together_share_an_iteration():
    model, x, y = make_net("module", 1)
    steppers = [
        torch.optim.SGD([p for n, p in model.named_parameters() if ("bias" in n) is bias], lr=0.01)
        for bias in (False, True)
    ]
    with probed() as seen:
        for _ in range(2):
            oracle.squares(model(x), y).backward()
            for stepper in steppers:
                stepper.step()
            for stepper in steppers:
                stepper.zero_grad()
    assert [e.iteration for e in of(seen.events, StepStarted)] == [1, 1, 2, 2]
    assert [e.iteration for e in of(seen.events, BackwardFinished)] == [1, 2]


def test_an_optimizer_in_the_backward_ends_no_iteration_before_the_backward_does():
    seed(2)
    model, x, y = make_net("module", 2)
    for p in model.parameters():
        stepper = torch.optim.SGD([p], lr=0.01)

        def update(p, stepper=stepper):
            stepper.step()
            stepper.zero_grad()

        p.register_post_accumulate_grad_hook(update)
    with probed() as seen:
        for _ in range(2):
            oracle.squares(model(x), y).backward()
    assert [e.iteration for e in of(seen.events, BackwardFinished)] == [1, 2]
    assert len(of(seen.events, Accumulated)) == len(of(seen.events, StepFinished)) == 2 * 6


# -- what is counted -----------------------------------------------------------------------------


class OwnAndChild(nn.Module):
    """A parameter of its own that is the child's too."""

    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(3, 3, bias=False)
        self.w = self.lin.weight

    def forward(self, x):
        return self.lin(self.lin(x))


def test_a_parameter_that_a_child_shares_counts_where_it_is_taken():
    model = OwnAndChild()
    with probed() as seen:
        model(torch.ones(2, 3)).sum().backward()
    assert [(e.module, e.numbers) for e in of(seen.events, ForwardUse)] == [("lin", (1,)), ("lin", (2,))]
    uses = {(e.use.number, e.use.module, e.use.call) for e in of(seen.events, BackwardUse)}
    assert uses == {(1, "lin", 1), (2, "lin", 2)}


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w):
        return 2 * x * w

    @staticmethod
    def backward(ctx, grad):
        return 2 * grad, 2 * grad


class TakesByFunction(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(3))

    def forward(self, x):
        return Doubled.apply(x, self.w)


def test_a_parameter_that_only_a_custom_function_takes_is_a_use_of_its_module():
    model = TakesByFunction()
    with probed() as seen:
        model(torch.ones(3)).sum().backward()
    assert [(e.module, e.parameters) for e in of(seen.events, ForwardUse)] == [("TakesByFunction", ("w",))]


def test_a_frozen_part_is_no_use():
    model, x, _ = make_net("module", 2)
    model.input_linear.requires_grad_(False)
    with probed() as seen:
        model(x).sum().backward()
    assert [e.module for e in of(seen.events, ForwardUse)] == ["middle_linear", "middle_linear", "output_linear"]


class Stop(BaseException):
    pass


@pytest.mark.parametrize("grad", [True, False])
def test_a_swallowed_base_exception_leaves_nothing_open(grad):
    """torch calls no forward hook for it."""

    class Fails(nn.Linear):
        def forward(self, x):
            raise Stop

    model, x, y = make_net("module", 1)
    criterion = nn.MSELoss()
    with probed() as seen:
        with torch.set_grad_enabled(grad), pytest.raises(Stop):
            nn.Sequential(Fails(4, 4))(x)
        for _ in range(2):
            model.zero_grad()
            criterion(model(x), y).backward()
    assert [e.name for e in seen.events if type(e).__name__ == "LossComputed"][-1:] == ["MSELoss"]
    name = "model.middle_linear.weight" if grad else "middle_linear.weight"  # without gradients no root was entered
    assert partials(seen.events, 1, name, 2)


# -- values --------------------------------------------------------------------------------------


def test_the_total_of_a_group_stays_as_it_was():
    """The engine may not make it `.grad`, which clipping then changes in place."""
    seed(3)
    w = nn.Parameter(torch.randn(3, 3))
    with probed() as seen:
        t = w.t()
        (torch.ones(2, 3) @ t @ t).sum().backward()
        (total,) = [e.total.value for e in of(seen.events, GroupSummed)]
        kept, grad = total.clone(), w.grad.clone()
        nn.utils.clip_grad_norm_([w], 1e-3)
    assert oracle.bits(total, kept) and oracle.bits(grad, kept) and not oracle.bits(w.grad, kept)


def test_maximize_turns_the_pull_around():
    p = nn.Parameter(torch.tensor([2.0, -3.0]))
    rows = []

    def at_stop(situation, debugger):
        rows.extend(r for r in situation.ledger if r.kind == "partial" and r.here)
        rows.extend(r for r in situation.update if r.term == "gradient")

    with debugged(at_stop):
        stepper = torch.optim.SGD([p], lr=0.1, maximize=True)
        (p * torch.tensor([1.0, 1.0])).sum().backward()
        stepper.step()
    assert rows[0].note == "pulls it up" and p[0] > 2
    assert rows[-1].note.startswith("+lr * grad") and rows[-1].element == pytest.approx(0.1)


def test_a_change_that_no_term_explains_is_not_called_rounding():
    p = nn.Parameter(torch.ones(3))
    stepper = torch.optim.SGD([p], lr=0.1)

    def shift(*_):
        p.data.add_(0.5)

    stepper.register_step_pre_hook(shift)
    rows = []
    with debugged(lambda situation, debugger: rows.extend(situation.update)):
        (p * 2).sum().backward()
        stepper.step()
    row = next(r for r in rows if r.term == "unexplained")
    assert row.element == pytest.approx(0.5)


@pytest.mark.parametrize(
    "make",
    [
        lambda: (nn.Embedding(5, 2, sparse=True), torch.tensor([1, 3, 1])),
        lambda: (nn.Linear(3, 0), torch.ones(2, 3)),
        lambda: (nn.Linear(3, 2, dtype=torch.complex64), torch.ones(2, 3, dtype=torch.complex64)),
        lambda: (nn.Linear(3, 2, dtype=torch.bfloat16), torch.ones(2, 3, dtype=torch.bfloat16)),
        lambda: (nn.Linear(3, 2, dtype=torch.float64), torch.full((2, 3), 1e200, dtype=torch.float64)),
    ],
    ids=["sparse", "empty", "complex", "bfloat16", "huge"],
)
def test_odd_parameters_are_drawn_at_every_stop(make):
    """Bit-identical with and without us, no failure of ours, and each window can be drawn."""
    final = []
    for watched in (False, True):
        seed(4)
        layer, x = make()
        stepper = torch.optim.SGD(layer.parameters(), lr=0.1)

        def loop(layer=layer, x=x, stepper=stepper):
            for _ in range(2):
                stepper.zero_grad()
                out = layer(x)
                (out.real if out.is_complex() else out).float().sum().backward()
                stepper.step()

        def at_stop(situation, debugger):
            assert "internal error" not in " ".join(situation.explanation)
            for matrix in situation.matrices:
                window = debugger.window(matrix.name, 4, 4, 0, 0, True)
                assert (window is None) == (matrix.state != "value")

        if watched:
            with debugged(at_stop) as seen:
                loop()
            assert not [e for e in (seen.trace[n] for n in range(len(seen.trace))) if isinstance(e, Anomaly)]
        else:
            loop()
        final.append(oracle.state_of(layer))
    for name in final[0]:
        assert torch.equal(final[0][name], final[1][name])


def test_a_module_that_returns_a_nest_of_itself():
    class Nest(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(2))

        def forward(self, x):
            out = [x * self.w]
            out.append(out)
            return out

    with probed() as seen:
        Nest()(torch.ones(2))[0].sum().backward()
    assert of(seen.events, BackwardUse) and not of(seen.events, Anomaly)


# -- failures of ours ----------------------------------------------------------------------------


def test_a_failure_of_ours_is_told_and_not_raised():
    model, x, y = make_net("module", 1)
    events = []

    def sink(event):
        events.append(event)
        if isinstance(event, BackwardUse):
            raise RuntimeError("ours")

    with probed(sink, fails=True):
        oracle.squares(model(x), y).backward()
    told = of(events, Anomaly)
    assert told and told[0].error.startswith("RuntimeError: ours (")
    assert all(p.grad is not None for p in model.parameters())


def test_while_one_thread_is_stopped_the_others_wait():
    """Two stops at once would answer each other's commands."""
    stopped, most, wrong = [], [], []
    lock = threading.Lock()

    def at_stop(situation, debugger):
        with lock:
            stopped.append(threading.get_ident())
            most.append(len(stopped))
        threading.Event().wait(0.002)
        if debugger.situation() is None:
            wrong.append(situation.event)
        with lock:
            stopped.remove(threading.get_ident())

    def train():
        w = torch.ones(2, requires_grad=True)
        for _ in range(10):
            (w * 2).sum().backward()

    with debugged(at_stop):
        threads = [threading.Thread(target=train) for _ in range(3)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(60)
    assert max(most) == 1 and wrong == []


def test_two_threads_train_two_models():
    """Neither is disturbed; what is told of them may be mixed up."""

    def train(number, final):
        torch.manual_seed(number)
        layer, x = nn.Linear(3, 3), torch.ones(2, 3) * number
        stepper = torch.optim.SGD(layer.parameters(), lr=0.01)
        for _ in range(60):
            stepper.zero_grad()
            layer(x).square().sum().backward()
            stepper.step()
        final[number] = oracle.state_of(layer)

    plain, watched = {}, {}
    for number in (1, 2):
        train(number, plain)
    lock = threading.Lock()  # seeding and building are the generator's, one thread at a time

    def guarded_train(number):
        with lock:
            torch.manual_seed(number)
            layer = nn.Linear(3, 3)
        x = torch.ones(2, 3) * number
        stepper = torch.optim.SGD(layer.parameters(), lr=0.01)
        for _ in range(60):
            stepper.zero_grad()
            layer(x).square().sum().backward()
            stepper.step()
        watched[number] = oracle.state_of(layer)

    with probed():
        threads = [threading.Thread(target=guarded_train, args=(n,)) for n in (1, 2)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(60)
    assert all(oracle.same_states(plain[n], watched[n]) for n in (1, 2))


def test_a_thread_without_a_backward_reads_no_gradient():
    """Its owner may be freeing it at that moment."""
    mine, theirs, x = nn.Linear(3, 3), nn.Linear(3, 3), torch.ones(2, 3)
    with probed() as seen:
        mine(x).sum().backward()
        mine.weight.grad = None
        thread = threading.Thread(target=theirs, args=(x,))
        thread.start()
        thread.join(60)
        assert not any(isinstance(event, GradCleared) for event in seen.events)
        mine(x).sum().backward()
    told = next(event for event in seen.events[::-1] if isinstance(event, BackwardStarted))
    assert told.carried["mine.weight"] is None and told.carried["mine.bias"] is not None


# -- expressions ---------------------------------------------------------------------------------

FATAL = ["exit()", "quit(7)", "(_ for _ in ()).throw(KeyboardInterrupt)", "[1][5]", "1/0"]


@pytest.mark.parametrize("text", FATAL)
def test_no_expression_ends_the_program(text):
    model, x, y = make_net("module", 1)
    with debugged(commands=[f"print {text}", f"expect {text}", f"break update if {text}", "clear"]) as seen:
        oracle.squares(model(x), y).backward()
    results = [r for _, r in seen.results if r.command.startswith(("print", "expect"))]
    assert results and all(not r.ok and len(r.text.splitlines()) == 1 for r in results)
    assert all(p.grad is not None for p in model.parameters())


WRITES = ["weight.zero_()", "partial.mul_(0)", "torch.mul(weight, 0, out=weight)", "running.detach().numpy().fill(0)"]


@pytest.mark.parametrize("text", WRITES)
def test_an_expression_that_writes_gets_a_copy(text):
    """Neither the record nor what the engine holds is changed."""
    seed(6)
    model, x, y = make_net("module", 1)
    truth = oracle.untied_partials(oracle.module_net, oracle.state_of(model), x, y, 1)["middle_linear.weight"][0]
    before = oracle.state_of(model)
    with debugged(commands=[f"print {text}"], focus="middle_linear.weight") as seen:
        oracle.squares(model(x), y).backward()
        events = [seen.trace[n] for n in range(len(seen.trace))]
    assert oracle.bits(model.middle_linear.weight.grad, truth)
    assert oracle.same_states(before, oracle.state_of(model))
    assert [oracle.bits(p, truth) for _, p in partials(events, 1, "middle_linear.weight")] == [True]
    assert ledger(events, 1, "middle_linear.weight").latest.exact() is True
    assert [e.moved for e in of(events, BackwardFinished)] == [()]


def test_cleared_says_what_is_so():
    model, x, _ = make_net("module", 1)
    with probed() as seen:
        model(x).sum().backward()
        model.zero_grad(set_to_none=False)
        model.zero_grad()
    zeros, nones = of(seen.events, GradCleared)
    assert {n: g.value.abs().sum().item() for n, g in zeros.grads.items()} == dict.fromkeys(zeros.grads, 0.0)
    assert set(nones.grads.values()) == {None} and len(nones.grads) == 6


def test_a_function_may_keep_what_it_likes_in_its_context():
    """`ctx.name` and the like hide what torch calls the node; the use is told all the same."""

    class Doubled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, w):
            ctx.name, ctx._sequence_nr = "mine", 7
            return 2 * w

        @staticmethod
        def backward(ctx, grad):
            return 2 * grad

    w = torch.nn.Parameter(torch.ones(3))
    with probed() as seen:
        (Doubled.apply(w) + w).sum().backward()
    arrived = [event for event in seen.events if isinstance(event, BackwardUse)]
    assert sorted(event.use.node for event in arrived) == ["AddBackward0", "DoubledBackward"]
    assert {event.use.node: event.partial.value.tolist() for event in arrived} == {
        "DoubledBackward": [2.0] * 3,
        "AddBackward0": [1.0] * 3,
    }
