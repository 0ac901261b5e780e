"""What a forward use returned, while its event is told; and which uses can't be told apart."""

import copy
import gc
import weakref

import oracle
import pytest
import torch
from driving import make_net, probed, seed
from torch import nn
from torch.func import functional_call, grad, vmap

from backpropdbg.events import BackwardStarted, ForwardUse
from backpropdbg.probe.uses import is_fused

# -- output --------------------------------------------------------------------------------------


def outputs(program):
    """(module, a copy of the output or None, requires_grad) of each forward use, while it was told."""
    found = []

    def sink(event):
        if isinstance(event, ForwardUse):
            t = event.output.value if event.output is not None else None
            found.append((event.module, None if t is None else t.clone(), None if t is None else t.requires_grad))

    with probed(sink) as seen:
        program()
    kept = [e.output for e in seen.events if isinstance(e, ForwardUse) and e.output is not None]
    assert all(not held.kept and held.value is None and held.norm() is None for held in kept)
    return found


def test_the_output_is_that_of_plain_torch():
    seed(2)
    model, x, _ = make_net("module", 2)
    found = outputs(lambda: model(x))
    with torch.no_grad():
        first = model.input_linear(x)
        second = model.middle_linear(first.clamp(min=0))
    assert [name for name, _, _ in found] == ["input_linear", "middle_linear", "middle_linear", "output_linear"]
    assert oracle.bits(found[0][1], first) and oracle.bits(found[1][1], second)
    assert [wants for _, _, wants in found] == [False] * 4


@pytest.mark.parametrize(
    "take",
    [
        lambda w, b: w + b,
        lambda w, b: torch.add(input=w, other=b),
        lambda w, b: torch.add(w, other=b),
        lambda w, b: torch.stack(tensors=[w, b]),
    ],
)
def test_an_operation_takes_parameters_by_place_by_name_and_in_lists(take):
    w, b = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    with probed() as seen:
        with torch.no_grad():
            take(w, b)
        take(w, b).sum().backward()
    (use,) = [e for e in seen.events if isinstance(e, ForwardUse)]
    assert use.parameters == ("w", "b") and use.bare


def test_a_bare_use_has_one_too_and_what_is_not_finite_shows():
    w = torch.tensor([1.0, 0.0], requires_grad=True)
    finite = []

    def sink(event):
        if isinstance(event, ForwardUse):
            finite.append(event.output.finite())

    with probed(sink):
        (w * 2).sum()
        (1 / w).sum()
    assert finite == [True, False]


class Whole(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 3)
        self.complex = nn.Linear(3, 3, dtype=torch.complex64)

    def forward(self, x):
        return self.complex(self.lstm(x)[0].to(torch.complex64)).abs().sum()


def test_there_is_none_where_it_is_not_one_floating_tensor():
    found = outputs(lambda: Whole()(torch.ones(2, 1, 3)).backward())
    assert found and {(name, out) for name, out, _ in found} == {("lstm", None), ("complex", None)}


def test_the_output_is_let_go():
    model, gone = nn.Linear(3, 3), []

    def sink(event):
        if isinstance(event, ForwardUse):
            gone.append(weakref.ref(event.output.value))

    with probed(sink) as seen:
        out = model(torch.ones(1, 3))
        gc.collect()
        assert [r() for r in gone] == [None] and len(seen.events) == 2
    assert out.requires_grad


def test_the_output_is_let_go_where_the_sink_ends_the_program():
    class Quit(BaseException):
        pass

    events = []

    def sink(event):
        events.append(event)
        if isinstance(event, ForwardUse):
            raise Quit

    with probed(sink), pytest.raises(Quit):
        nn.Linear(3, 3)(torch.ones(1, 3))
    assert not events[-1].output.kept


# -- fused ---------------------------------------------------------------------------------------


def uses_of(program):
    with probed() as seen:
        program()
    return {u.parameter: (u.node, u.fused) for e in seen.events if isinstance(e, BackwardStarted) for u in e.uses}


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.rnn, self.head = kind(3, 3), nn.Linear(3, 1)

    def forward(self, x):
        return self.head(self.rnn(x)[0]).sum()


def test_a_recurrent_layer_in_one_operation():
    model = Recurrent(nn.LSTM)
    found = uses_of(lambda: model(torch.randn(4, 1, 3)).backward())
    if torch.backends.mkldnn.is_available():
        assert found["rnn.weight_hh_l0"] == ("MkldnnRnnLayerBackward0", True)
    assert found["head.weight"][1] is False
    with torch.backends.mkldnn.flags(enabled=False):
        found = uses_of(lambda: model(torch.randn(4, 1, 3)).backward())
    assert found["rnn.weight_hh_l0"][1] is False


def test_a_scripted_module_after_its_first_calls():
    layer = nn.Linear(3, 3)
    model = torch.jit.script(nn.Sequential(layer, nn.Tanh(), layer, nn.Linear(3, 3)))
    x = torch.randn(2, 3, requires_grad=True)
    for _ in range(3):
        model(x).sum().backward()
    found = uses_of(lambda: model(x).sum().backward())
    weights = {name: fused for name, (_, fused) in found.items() if name.endswith("weight")}
    assert weights == {"model.0.weight": True, "model.3.weight": False}  # that one is taken once, as the code says


@pytest.mark.parametrize("bare", [True, False])
def test_a_use_in_vmap_may_be_many(bare):
    w, lin = torch.randn(3, 3, requires_grad=True), nn.Linear(3, 3)
    xs = torch.randn(5, 2, 3)

    def each(x):
        return torch.tanh(x @ w if bare else lin(x))

    def program():
        after = nn.functional.linear(torch.ones(1, 3), w if bare else lin.weight)
        (vmap(each)(xs).sum() + after.sum()).backward()

    with probed() as seen:
        program()
    name = "w" if bare else "weight"
    (started,) = [e for e in seen.events if isinstance(e, BackwardStarted)]
    assert sorted((u.number, u.fused) for u in started.uses if u.parameter == name) == [(1, False), (2, True)]


def test_a_compiled_function_is_known_by_its_node():
    """Here torch.compile itself would take a minute."""
    assert is_fused("CompiledFunctionBackward") and is_fused("CudnnRnnBackward0")
    assert is_fused("ScaledDotProductFlashAttentionForCpuBackward0")
    assert not any(is_fused(n) for n in ("AddmmBackward0", "TBackward0", "ThnnFusedLstmCellBackward0", "MulBackward0"))


# -- bits and functorch --------------------------------------------------------------------------


def test_functional_transforms_keep_their_bits_and_no_failure_is_ours():
    seed(4)
    model, x, y = make_net("module", 2)
    params = {n: p.detach().clone() for n, p in model.named_parameters()}

    def loss(params, x, y):
        return oracle.squares(functional_call(model, params, (x[None],)), y[None])

    def program():
        per_sample = vmap(grad(loss), in_dims=(None, 0, 0))(params, x, y)
        return copy.deepcopy(per_sample), grad(loss)(params, x[0], y[0])

    plain = program()
    with probed():
        watched = program()
    for a, b in zip(plain, watched, strict=True):
        assert oracle.same_states(a, b)
