"""What parameters are called: as their owner does, told apart where there are several, found by every name."""

import copy
from itertools import pairwise

import oracle
import pytest
import torch
from driving import make_net, probed
from torch import nn
from torch.nn.utils import parametrize

from backpropdbg.events import BackwardStarted, ForwardUse, ManualUpdate


def sizes(*widths):
    return nn.Sequential(*[nn.Linear(a, b, bias=False) for a, b in pairwise(widths)])


def names_of(seen):
    return seen.probe.names.all()


def used(seen):
    """Every parameter with a use in a backward, also of models that are gone."""
    return sorted({use.parameter for e in seen.events if isinstance(e, BackwardStarted) for use in e.uses})


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte = nn.Embedding(5, 3)
        self.lm_head = nn.Linear(3, 5, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, x):
        return self.lm_head(self.wte(x))


class Both(nn.Module):
    """Its parts are called from outside, as an autoencoder's often are."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(3, 2), nn.Linear(2, 3)


# -- one root ------------------------------------------------------------------------------------


def test_one_root_has_no_prefix_and_is_found_with_its_variable():
    model, criterion = sizes(3, 4, 1), nn.MSELoss()
    with probed() as seen:
        criterion(model(torch.ones(2, 3)), torch.ones(2, 1)).backward()
    names = seen.probe.names
    assert names.all() == ("0.weight", "1.weight")
    assert names.resolve("1.weight") == names.resolve("model.1.weight") == "1.weight"
    assert names.resolve("2.weight") is None and names.resolve("other.1.weight") is None
    assert names.modules() == ("Sequential", "0", "1", "MSELoss")


def test_a_tied_parameter_has_all_its_names():
    model = Tied()
    with probed() as seen:
        model(torch.tensor([1, 2])).sum().backward()
    names = seen.probe.names
    assert names.all() == ("wte.weight",)
    assert names.aliases("wte.weight") == ("wte.weight", "lm_head.weight")
    assert names.resolve("lm_head.weight") == names.resolve("model.lm_head.weight") == "wte.weight"
    assert names.aliases("unknown") == ("unknown",)


def test_a_module_that_is_shared_gives_each_of_its_names():
    cell = nn.Linear(3, 3, bias=False)
    model = nn.Sequential(cell, nn.Tanh(), nn.Sequential(cell))
    with probed() as seen:
        model(torch.ones(1, 3)).sum().backward()
    assert seen.probe.names.aliases("0.weight") == ("0.weight", "2.0.weight")


def test_modules_that_contain_each_other():
    model = Both()
    model.encoder.owner = model
    with probed() as seen:
        model.encoder(torch.ones(1, 3)).sum().backward()
    assert seen.probe.names.aliases("encoder.weight") == ("encoder.weight",)
    assert used(seen) == ["encoder.bias", "encoder.weight"]


def test_the_paths_of_a_module_that_is_shared_everywhere_are_bounded():
    model = nn.Linear(2, 2)
    for _ in range(40):
        model = nn.Sequential(model, model)
    with probed() as seen:
        seen.probe.names.add_root(model)
    assert len(names_of(seen)) == 2 and len(seen.probe.names.aliases(names_of(seen)[0])) <= 8


def test_a_part_that_is_called_by_itself_keeps_the_names_of_the_whole():
    model = Both()
    first = model.encoder
    with probed() as seen:
        model.decoder(first(torch.ones(1, 3))).sum().backward()
    assert names_of(seen) == ("encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias")
    assert [e.module for e in seen.events if isinstance(e, ForwardUse)] == ["encoder", "decoder"]


def test_a_functional_call_takes_the_parameters_of_a_module_that_nobody_calls():
    model = Both()
    with probed() as seen:
        nn.functional.linear(torch.ones(1, 3), model.encoder.weight).sum().backward()
    assert "encoder.weight" in names_of(seen)


# -- several roots -------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["G", "D"])
def test_several_roots_have_the_prefix_of_their_variable_from_the_start(first):
    G, D, criterion = sizes(3, 4), sizes(3, 4), nn.MSELoss()
    seen_names = []
    with probed() as seen:
        for net in (G, D) if first == "G" else (D, G):
            criterion(net(torch.ones(2, 3)), torch.ones(2, 4)).backward()
            seen_names.append(names_of(seen))
    other = "D" if first == "G" else "G"
    assert seen_names == [(f"{first}.0.weight",), (f"{first}.0.weight", f"{other}.0.weight")]
    assert {"G", "D", "G.0", "D.0"} <= set(seen.probe.names.modules())


def test_roots_in_attributes_and_items():
    class Trainer:
        def __init__(self):
            self.nets = [sizes(3, 4), sizes(4, 2)]
            self.by_name = {"critic": sizes(2, 1)}

        def step(self):
            h = torch.ones(1, 3)
            for net in (*self.nets, self.by_name["critic"]):
                h = net(h)
            h.sum().backward()

    with probed() as seen:
        Trainer().step()
    assert used(seen) == ["self.by_name['critic'].0.weight", "self.nets[0].0.weight", "self.nets[1].0.weight"]


def test_a_criterion_and_a_part_are_no_roots_of_their_own():
    model, criterion = Both(), nn.CrossEntropyLoss()
    part = model.encoder
    with probed() as seen:
        criterion(part(torch.ones(2, 3)), torch.tensor([0, 1])).backward()
    assert names_of(seen)[0] == "encoder.weight"


def test_a_later_root_has_a_prefix_only_where_names_collide():
    with probed() as seen:
        model = sizes(3, 4)
        model(torch.ones(1, 3)).sum().backward()
        other = Both()
        other.encoder(torch.ones(1, 3)).sum().backward()
        third = sizes(3, 2)
        third(torch.ones(1, 3)).sum().backward()
    assert [name for name in names_of(seen) if "weight" in name] == [
        "0.weight",
        "encoder.weight",
        "decoder.weight",
        "third.0.weight",
    ]


class Slots:
    """Is not opened."""

    __slots__ = ("first", "second")

    def __init__(self):
        self.first, self.second = sizes(3, 4), sizes(3, 4)


def test_roots_that_no_variable_holds_have_the_name_of_their_class():
    nets = Slots()
    with probed() as seen:
        nets.first(torch.ones(1, 3)).sum().backward()
        nets.second(torch.ones(1, 3)).sum().backward()
        third = sizes(3, 4)
        third(torch.ones(1, 3)).sum().backward()
        Slots().first(torch.ones(1, 3)).sum().backward()
    assert used(seen) == ["0.weight", "Sequential.0.weight", "Sequential2.0.weight", "third.0.weight"]
    assert names_of(seen) == ("0.weight", "Sequential.0.weight", "third.0.weight")


# -- bare tensors --------------------------------------------------------------------------------


def leaf(value=1.0):
    return torch.full((2, 2), value, requires_grad=True)


def test_bare_tensors_are_named_after_what_holds_them():
    class Plain:
        def __init__(self):
            self.w = leaf()

        def loss(self):
            return self.w.sum()

    w, ws, params = leaf(), [leaf(), leaf()], {"w": leaf(), 3: (leaf(),)}
    with probed() as seen:
        loss = w.sum() + Plain().loss() + params["w"].sum() + params[3][0].sum()
        for one in ws:
            loss = loss + one.sum()
        loss.backward()
    assert set(names_of(seen)) == {"w", "ws[0]", "ws[1]", "params['w']", "params[3][0]", "self.w"}
    started = next(e for e in seen.events if isinstance(e, BackwardStarted))
    assert set(started.carried) == set(names_of(seen))


def test_the_outermost_frame_and_in_it_the_first_variable_wins():
    def inner(weights):
        for p in weights:
            p.sum().backward()

    early = leaf()
    ws = [early, leaf()]
    late = ws[1]
    with probed() as seen:
        inner(ws)
        late.sum().backward()
    assert names_of(seen) == ("early", "ws[1]")


def test_what_nothing_holds_is_named_by_its_shape():
    with probed() as seen:
        for _ in range(2):
            (leaf() * torch.ones(2, requires_grad=True)).sum().backward()
    assert used(seen) == ["leaf0[2x2]", "leaf1[2]", "leaf2[2x2]", "leaf3[2]"]


def test_a_variable_that_holds_another_leaf_in_each_iteration():
    """As an input that requires a gradient does: it keeps its name, and nothing claims that it was moved by hand."""
    model, _, _ = make_net("module", 1)
    loss = None
    with probed() as seen:
        for t in range(5):
            x = torch.full((2, 4), float(t)).requires_grad_()
            loss = model(x).square().sum()  # until here the one before keeps the old leaf alive
            loss.backward()
    assert {n for n in names_of(seen) if "linear" not in n} == {"x"}
    assert not [e for e in seen.events if isinstance(e, ManualUpdate)]
    uses = [e.partial.value for e in seen.events if hasattr(e, "use") and e.use.parameter == "x"]
    assert len(uses) == 5 and oracle.bits(uses[-1], x.grad)


def test_names_are_unique_while_two_of_a_name_live():
    """Each was held by `w` when it was used first, and keeps that name."""
    kept = []
    with probed() as seen:
        for _ in range(3):
            w = leaf()
            w.sum().backward()
            kept.append(w)
            del w
    assert used(seen) == ["w", "w2", "w3"]
    assert names_of(seen) == ("w", "w2", "w3")


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3, 3))

    def forward(self, w):
        return w * self.scale


@pytest.mark.parametrize("times", [1, 2])
def test_a_parametrization_is_no_model_of_its_own(times):
    """Torch calls it when it is registered, before anything holds it."""
    with probed() as seen:
        net = nn.Linear(3, 3)
        for _ in range(times):
            parametrize.register_parametrization(net, "weight", Scaled())
        net(torch.ones(2, 3)).sum().backward()
        assert sorted(seen.probe.names.all()) == sorted(name for name, _ in net.named_parameters())
        assert times > 1 or seen.probe.model is net  # the second one is called by itself


# -- what else is known --------------------------------------------------------------------------


def test_frozen_parameters():
    model = Both()
    model.encoder.requires_grad_(False)
    with probed() as seen:
        model.decoder(model.encoder(torch.ones(1, 3))).sum().backward()
    assert seen.probe.names.frozen() == ("encoder.weight", "encoder.bias")
    assert names_of(seen) == ("decoder.weight", "decoder.bias")


class Computes(nn.Module):
    def __init__(self):
        super().__init__()
        self.base = nn.Parameter(torch.ones(3))
        self.scaled = self.base * 2  # a common mistake: no parameter, and no optimizer has it
        self.constant = torch.ones(3)

    def forward(self, x):
        return x * self.scaled


def test_what_is_no_leaf_is_told():
    model = nn.ModuleDict({"a": Computes(), "b": nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))})
    with probed() as seen:
        model["b"](model["a"](torch.ones(3))).sum().backward()
    assert seen.probe.names.non_leaves() == ("a.scaled",)


def test_copies_of_a_model_in_a_loop_do_not_pile_up():
    """As MAML makes them."""
    net = sizes(3, 3)
    with probed() as seen:
        for _ in range(9):
            fast = copy.deepcopy(net)
            fast(net(torch.ones(1, 3))).sum().backward()
    assert used(seen) == ["fast.0.weight", "net.0.weight"]
    assert [e for e in seen.events if isinstance(e, ManualUpdate)] == []


def test_a_part_that_was_called_before_the_whole_is_named_as_its_owner_does():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.utils.parametrizations.spectral_norm(nn.Linear(3, 3))
            self.second = nn.Linear(3, 3)
            self.second(torch.ones(1, 3))

        def forward(self, x):
            return self.second(self.first(x)).sum()

    with probed() as seen:
        model = Model()
        model(torch.ones(2, 3)).backward()
    names = seen.probe.names
    assert set(names.all()) == {
        "first.parametrizations.weight.original",
        "first.bias",
        "second.weight",
        "second.bias",
    }
    assert names.aliases("second.weight") == ("second.weight",)
    assert "second" in names.modules()


def test_a_layer_that_is_added_later_has_its_own_name_from_its_first_call():
    model = nn.Sequential(nn.Linear(2, 2))
    with probed() as seen:
        model(torch.ones(1, 2)).sum().backward()
        model.add_module("late", nn.Linear(2, 1))
        model(torch.ones(1, 2)).sum().backward()
    assert [e.module for e in seen.events if isinstance(e, ForwardUse)] == ["0", "0", "late"]
    assert seen.probe.names.all() == ("0.weight", "0.bias", "late.weight", "late.bias")


_hidden = [nn.Linear(2, 2)]  # names with _ belong to tools, so nobody looks there


def test_a_layer_that_no_module_has_is_called_by_its_class_and_looked_for_once():
    class Hidden(nn.Module):
        def forward(self, x):
            return _hidden[0](x)

    model, looked = nn.Sequential(nn.Linear(2, 2), Hidden()), []
    with probed() as seen:
        grown = seen.probe.names._grown
        seen.probe.names._grown = lambda module: looked.append(module) or grown(module)
        for _ in range(3):
            model(torch.ones(1, 2)).sum().backward()
    assert [e.module for e in seen.events if isinstance(e, ForwardUse)] == ["0", "Linear"] * 3
    assert looked == _hidden
