"""Findings about one tensor: tied, untied, cancelling, not finite, not split, not exact; each with a near miss."""

import math

import pytest
import torch
from torch import nn

from backpropdbg.events import Accumulated, BackwardFinished, BackwardStarted, BackwardUse, Location, Use
from backpropdbg.probe.tensors import HeldTensor
from backpropdbg.report.collect import Collector
from backpropdbg.report.findings import judge


class Words(nn.Module):
    """Embedding and head: tied, or what looks like it."""

    def __init__(self, how="tied"):
        super().__init__()
        self.wte, self.lm_head = nn.Embedding(5, 4), nn.Linear(4, 5, bias=False)
        if how == "tied":
            self.lm_head.weight = self.wte.weight
        elif how == "copied":
            self.lm_head.weight = nn.Parameter(self.wte.weight.detach().clone())
        elif how == "constant":
            for p in self.parameters():
                nn.init.constant_(p, 0.5)
        elif how == "almost":
            self.lm_head.weight = nn.Parameter(self.wte.weight.detach() * (1 + 2**-23))
        elif how == "negated":
            self.lm_head.weight = nn.Parameter(-self.wte.weight.detach())

    def forward(self, tokens):
        return nn.functional.cross_entropy(self.lm_head(self.wte(tokens)), tokens)


def words(how, freeze=False):
    def program():
        torch.manual_seed(0)
        model = Words(how)
        model.lm_head.weight.requires_grad_(not freeze)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(2):
            optimizer.zero_grad()
            model(torch.arange(5)).backward()
            optimizer.step()

    return program


def test_tied_shows_all_names_in_one_row(collect):
    report = collect(words("tied"))
    row = report.line("wte.weight", 2).row
    assert row.names == ("wte.weight", "lm_head.weight") and row.uses == 2
    assert row.findings == ("tied",) and len(report.lines) == 2


def test_untied(collect):
    report = collect(words("copied"))
    assert report.slugs("wte.weight", 1) == report.slugs("lm_head.weight", 2) == {"untied"}
    assert "copy of wte.weight" in report.text("untied", "lm_head.weight")


@pytest.mark.parametrize("how", ["constant", "almost", "negated", "apart"])
def test_what_was_never_a_copy_is_not_untied(collect, how):
    assert {line.row.findings for line in collect(words(how)).lines} == {()}


def test_a_copy_that_is_not_trained_is_not_untied(collect):
    report = collect(words("copied", freeze=True))
    assert "untied" not in report.slugs("wte.weight") | report.slugs("lm_head.weight")


def test_layers_that_are_cloned_on_purpose_are_not_untied(collect):
    def program():
        kind = nn.TransformerEncoderLayer
        model = nn.TransformerEncoder(kind(4, 2, 8, batch_first=True), 2, enable_nested_tensor=False)
        model(torch.randn(2, 3, 4)).square().mean().backward()

    report = collect(program)
    assert report.line("layers.1.linear1.weight").row.runs == 1
    assert not any("untied" in line.row.findings for line in report.lines)


# -- cancels -------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [1.0, 0.83, 0.81, 0.0, -1.0])
def test_cancels_over_the_whole_parameter_in_one_run(collect, factor):
    x = torch.arange(1.0, 5.0)

    def program():
        w = nn.Parameter(torch.ones(4))
        ((w * x).sum() - factor * (w * x).sum()).backward()

    size = torch.linalg.vector_norm(x.double()).item()
    lost = 1 - abs(size - factor * size) / (size + abs(factor) * size)
    line = collect(program).line("w")
    assert line.cancelled == pytest.approx(max(lost, 0.0), abs=1e-7)
    assert ("cancels" in line.row.findings) == (lost > 0.9)


def test_two_runs_do_not_cancel_each_other(collect):
    def program():
        w = nn.Parameter(torch.ones(4))
        w.sum().backward()
        (-w.sum()).backward()

    line = collect(program).line("w")
    assert line.row.grad_norm == 0 and line.cancelled is None and "cancels" not in line.row.findings


def test_one_element_that_cancels_is_not_the_parameter(collect):
    def program():
        w = nn.Parameter(torch.ones(4))
        ((w * torch.ones(4)).sum() - (w * torch.tensor([1.0, 0, 0, 0])).sum()).backward()

    line = collect(program).line("w")
    assert 0 < line.cancelled < 0.9 and "cancels" not in line.row.findings


# -- not-finite ----------------------------------------------------------------------------------


def first_bad(collect, program):
    report = collect(program)
    (line,) = report.lines
    return line.row, {one.slug: one.text for one in line.found}.get("not-finite", "")


def test_not_finite_names_the_use_and_its_line(collect):
    def program():
        w = nn.Parameter(torch.tensor([1.0, 0.0]))
        a = (w * 2).sum()
        b = w.sqrt().sum()  # the gradient of sqrt at 0 is infinite
        (a + b).backward()

    row, text = first_bad(collect, program)
    line = program.__code__.co_firstlineno + 3
    assert text.startswith(f"first seen in the partial of use #2 of 2 ({__file__}:{line})")
    assert row.partial_norms == ("Infinity", math.sqrt(8)) and row.grad_norm == "Infinity" and row.exact is True


def test_not_finite_in_the_loss(collect):
    def program():
        w = nn.Parameter(torch.tensor([1.0]))
        ((w * 2).sum() / 0).backward()

    assert first_bad(collect, program)[1].startswith("first seen in the loss")


def test_not_finite_in_the_weight(collect):
    def program():
        w = nn.Parameter(torch.tensor([1.0, math.nan]))
        w[0].backward()

    row, text = first_bad(collect, program)
    assert text.startswith("first seen in the weight") and row.partial_norms == (1.0,)


def test_not_finite_in_what_a_use_returned(collect):
    def program():
        layer = nn.Linear(2, 1, bias=False)
        nn.init.constant_(layer.weight, 3e38)
        layer(torch.full((1, 2), 2.0)).clamp(max=1.0).sum().backward()

    text = first_bad(collect, program)[1]
    assert text.startswith("first seen in what forward use #1 returned")


@pytest.mark.parametrize("count", [4, 20_000])
def test_very_large_is_finite(collect, count):
    def program():
        w = nn.Parameter(torch.ones(count))
        (w.double() * 3e38).sum().backward()

    row, text = first_bad(collect, program)
    assert text == "" and row.grad_norm == pytest.approx(3e38 * count**0.5, rel=1e-6)


# -- exact, split --------------------------------------------------------------------------------


def test_not_exact_where_something_writes_into_grad_during_the_backward(collect):
    def program(meddle=True):
        torch.manual_seed(0)
        w = nn.Parameter(torch.randn(3))
        w.sum().backward()
        h = w * 2
        if meddle:
            h.register_hook(lambda g: w.grad.add_(1))
        h.sum().backward()

    assert "not-exact" in collect(program).slugs("w")
    assert collect(program).line("w").row.exact is False
    near = collect(lambda: program(False)).line("w").row
    assert near.exact is True and near.findings == ("carried-in:same-iteration", "no-optimizer")


class Names:
    """What a probe would know."""

    def all(self):
        return ("rnn.weight",)

    def aliases(self, name):
        return (name,)

    def frozen(self):
        return ()

    def non_leaves(self):
        return ()


@pytest.mark.parametrize("fused,inside", [(True, 0), (True, 5), (False, 0)])
def test_not_split(fused, inside):
    where = Location("x.py", 1)
    use = Use("rnn.weight", 1, 1, "rnn", 1, "MkldnnRnnLayerBackward0", where, 0, 0, fused, inside=inside)
    grad, weight = HeldTensor(torch.ones(2)), HeldTensor(torch.zeros(2))
    found = []
    collector = Collector(Names(), 1, lambda batch: found.extend(() if batch.draft else batch.facts))
    carried, weights = {"rnn.weight": None}, {"rnn.weight": weight}
    collector(BackwardStarted(1, 1, None, (use,), carried, weights, None, ()))
    collector(BackwardUse(1, 1, use, grad, 1))
    collector(Accumulated(1, 1, "rnn.weight", grad))
    collector(BackwardFinished(1, 1, (), True, None))
    collector.finish(True)
    (line,) = judge(found)
    assert line.row.split is not fused and ("not-split" in line.row.findings) == fused
    texts = [one.text for one in line.found if one.slug == "not-split"]
    hides = "hides 5 uses" if inside else "may hide several uses"
    said = f"one operation {hides}: MkldnnRnnLayerBackward0; with --unfuse it is split"
    assert texts == ([said] if fused else [])


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no fused LSTM on the CPU")
def test_a_fused_lstm_is_not_split(collect):
    def program():
        torch.manual_seed(0)
        rnn = nn.LSTM(3, 4)
        rnn(torch.randn(5, 2, 3))[0].sum().backward()

    row = collect(program).line("weight_hh_l0").row
    assert (row.uses, row.split, "not-split" in row.findings) == (1, False, True)
