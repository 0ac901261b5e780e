"""Only what is tracked is watched; where nothing is, the forward is left alone until something new shows up."""

import oracle
import pytest
import torch
from driving import OPTIMIZERS, make_net, partials, probed, seed
from torch import nn

from backpropdbg.events import BackwardStarted, BackwardUse, ForwardUse, IterationStarted, StepFinished, StepStarted
from backpropdbg.probe.hooks import Policy

MIDDLE = ("middle_linear.weight", "middle_linear.bias")


def train(iterations=3, each=lambda t: None, net="module"):
    seed(5)
    model, x, y = make_net(net, 2)
    stepper = OPTIMIZERS["adamw"](model.parameters())
    for t in range(iterations):
        stepper.zero_grad()
        oracle.squares(model(x), y).backward()
        stepper.step()
        each(t)
    return model


def told(events):
    """Every parameter that any event names."""
    found = set()
    for e in events:
        for field in ("weights", "grads", "carried", "before", "after", "recipes"):
            found |= set(getattr(e, field, None) or {})
        found |= set(getattr(e, "parameters", ())) | {u.parameter for u in getattr(e, "uses", ())}
        found |= {e.parameter} if hasattr(e, "parameter") else set()
    return found


def hooked(probe):
    return bool(probe._seeing)


GLOBS = [
    (("middle*",), MIDDLE),
    (("middle_linear",), MIDDLE),
    (("model.middle_linear.*",), MIDDLE),
    (("*.weight",), ("input_linear.weight", "middle_linear.weight", "output_linear.weight")),
    (("middle_linear.bias", "output*"), ("middle_linear.bias", "output_linear.weight", "output_linear.bias")),
    ((), None),
]


@pytest.mark.parametrize(("globs", "names"), GLOBS)
def test_only_what_is_tracked_is_told(globs, names):
    plain = oracle.state_of(train())
    with probed(policy=Policy(track=globs)) as seen:
        model = train()
        assert seen.probe.names.all() == (names or tuple(dict(model.named_parameters())))
        assert told(seen.events) == set(seen.probe.names.all())
        assert set(seen.probe.watch.weights) == set(seen.probe.names.all())
    assert oracle.same_states(plain, oracle.state_of(model))
    assert [e.iteration for e in seen.events if isinstance(e, StepFinished)] == [1, 2, 3]


def test_an_untracked_parameter_has_no_hook():
    counts = []
    with probed(policy=Policy(track=MIDDLE[:1])) as seen:
        model, x, y = make_net("module", 1)
        model.middle_linear.weight.register_hook(
            lambda grad: counts.append(sum(map(len, seen.probe.backward._handles[0].values())))
        )
        oracle.squares(model(x), y).backward()
        assert [p._post_accumulate_grad_hooks or {} for p in model.parameters()] == [{}] * 6
    assert counts == [2], "one edge, one accumulation"


def test_partials_of_what_is_tracked_are_the_true_ones():
    with probed() as whole:
        train()
    with probed(policy=Policy(track=("middle_linear.weight",))) as some:
        train()
    for t in (1, 2, 3):
        pairs = zip(*[partials(seen.events, t, "middle_linear.weight") for seen in (whole, some)], strict=True)
        assert [a == c and oracle.bits(b, d) for (a, b), (c, d) in pairs] == [True, True]


def test_tracking_changes_while_it_runs():
    def each(t):
        if globs:
            seen.probe.track(globs.pop(0))
            at.append(len(seen.events))

    at, globs = [], [("middle_linear.*",), ("output_linear",), ()]
    with probed() as seen:
        model = train(4, each)
    parts = [told(seen.events[a:b]) for a, b in zip([0, *at], [*at, None], strict=True)]
    every = set(dict(model.named_parameters()))
    assert parts == [every, set(MIDDLE), {"output_linear.weight", "output_linear.bias"}, every]


@pytest.mark.parametrize("net", ["module", "parameter"])
def test_where_nothing_is_tracked_the_forward_is_left_alone(net):
    """From the first backward on, which may still show a leaf that matches; iterations are counted all the same."""

    def each(t):
        assert not hooked(seen.probe) and torch._C._len_torch_function_stack() == 0
        at.append(len(seen.events))

    at = []
    plain = oracle.state_of(train(net=net))
    with probed(policy=Policy(track=("nothing*",))) as seen:
        watched = oracle.state_of(train(each=each, net=net))
        assert seen.probe.names.all() == () and seen.probe.watch.weights == {}
    assert oracle.same_states(plain, watched)
    assert {type(e) for e in seen.events[at[0] :]} == {IterationStarted} and seen.probe.iteration == 3
    assert told(seen.events) == set()


def test_an_unknown_root_in_a_backward_wakes_it():
    seed(1)
    first = nn.Linear(3, 3)
    with probed(policy=Policy(track=("second*",))) as seen:
        for _ in range(3):
            first(torch.ones(1, 3)).sum().backward()
        assert not hooked(seen.probe)
        second = nn.Linear(3, 3)
        second(torch.ones(1, 3)).sum().backward()
        assert hooked(seen.probe)
        one = [e for e in seen.events if isinstance(e, BackwardUse)]
        second(second(torch.ones(1, 3))).sum().backward()
        both = [e for e in seen.events if isinstance(e, BackwardUse)]
        assert seen.probe.names.all() == ("second.weight", "second.bias")
    assert len(one) == 2 and len(both) == 6
    assert sum(isinstance(e, ForwardUse) for e in seen.events) == 2


def test_an_unknown_leaf_wakes_it_in_the_end_also_after_many_backwards_without_any():
    with probed(policy=Policy(track=("late*",))) as seen:
        early = torch.ones(2, requires_grad=True)
        for _ in range(30):
            early.sum().backward()
        late = torch.ones(2, requires_grad=True)
        for _ in range(11):
            late.sum().backward()
        assert seen.probe.names.all() == ("late",)
    assert [e.use.parameter for e in seen.events if isinstance(e, BackwardUse)][-1] == "late"


def test_an_unknown_leaf_wakes_it_also_where_only_one_backward_of_each_iteration_reaches_it():
    """With so many backwards in an iteration, each of them is read in the end."""
    for many in (2, 3, 4, 8):
        for which in range(many):
            with probed(policy=Policy(track=("late*",))) as seen:
                early = torch.ones(2, requires_grad=True)
                for _ in range(10 * many):
                    early.sum().backward()
                late = torch.ones(2, requires_grad=True)
                for _ in range(11):
                    for n in range(many):
                        (late if n == which else early).sum().backward()
                assert seen.probe.names.all() == ("late",), (many, which)


def test_a_new_optimizer_wakes_it():
    first = nn.Linear(3, 3)
    with probed(policy=Policy(track=("second*",))) as seen:
        first(torch.ones(1, 3)).sum().backward()
        torch.optim.SGD(first.parameters(), lr=0.1)
        assert not hooked(seen.probe)
        second = nn.Linear(3, 3)
        stepper = torch.optim.SGD(second.parameters(), lr=0.1)
        assert hooked(seen.probe)
        second(torch.ones(1, 3)).sum().backward()
        stepper.step()
    assert [e.parameters for e in seen.events if isinstance(e, ForwardUse)] == [("second.weight", "second.bias")]
    assert [set(e.grads) for e in seen.events if isinstance(e, StepStarted)] == [{"second.weight", "second.bias"}]


def test_it_falls_asleep_and_wakes_in_the_middle_of_a_backward():
    """As at a stop: no further event of that run, and the function mode leaves when it can."""

    def sink(event):
        if isinstance(event, BackwardUse) and event.iteration == 1:
            seen.probe.track(["nothing"])
        if isinstance(event, IterationStarted) and event.iteration == 3:
            seen.probe.track(["middle_linear"])

    def each(t):
        modes.append(torch._C._len_torch_function_stack())

    modes = []
    plain = oracle.state_of(train(4))
    with probed(sink) as seen:
        model = train(4, each)
        assert hooked(seen.probe) and seen.probe.names.all() == MIDDLE
    assert modes == [0, 0, 1, 1] and torch._C._len_torch_function_stack() == 0
    assert oracle.same_states(plain, oracle.state_of(model))
    assert sum(isinstance(e, BackwardUse) and e.iteration == 1 for e in seen.events) == 1
    last = [e for e in seen.events if isinstance(e, BackwardStarted)][-1]
    assert {u.parameter for u in last.uses} == set(MIDDLE)


def test_a_bare_name_is_no_pattern_only():
    """`ws[1]` is the name itself, though as a glob it would mean `ws1`."""
    ws = [torch.ones(2, requires_grad=True) for _ in range(3)]
    with probed(policy=Policy(track=("ws[1]",))) as seen:
        sum(w.sum() for w in ws).backward()
        assert seen.probe.names.all() == ("ws[1]",)
    assert [e.use.parameter for e in seen.events if isinstance(e, BackwardUse)] == ["ws[1]"]
