"""A program that ends too early: the rows of that iteration tell what was computed by then, and are marked."""

import io
import json

import msgspec
import pytest
import torch
from torch import nn

from backpropdbg.probe.hooks import Policy, Probe
from backpropdbg.report.collect import Collector
from backpropdbg.report.read import Report
from backpropdbg.report.rows import Batch, Facts, Row

ONES = torch.ones(1, 2)


class Killed(Exception):
    """Stands for a signal: nobody gets to tell anything after it."""


def told(program, how):
    """The report that the parent has: of a child that raised, ended, or was killed."""
    report, sent = Report(), []

    def send(batch):
        sent.append(batch)
        report.add(json.loads(msgspec.json.encode(batch)))

    probe = Probe(lambda event: collector(event), Policy())
    collector = Collector(probe.names, 9, send)
    probe.install()
    try:
        program()
    except Killed:
        probe.remove()
        if how != "killed":
            collector.finish(True, failed=how == "raised")
    else:
        raise AssertionError("the program should have failed")
    return report, sent


def training(when):
    """Two iterations; the second one ends with `when`."""
    torch.manual_seed(0)
    layer = nn.Linear(2, 1, bias=False)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    for number in (1, 2):
        optimizer.zero_grad()
        loss = layer(ONES).square().sum()
        if number == 2 and when == "after forward":
            raise Killed
        loss.backward()
        if number == 2 and when == "after backward":
            raise Killed
        optimizer.step()
    raise Killed


def norm_of_second():
    torch.manual_seed(0)
    w = nn.Linear(2, 1, bias=False).weight.detach()
    for number in (1, 2):
        w.grad = None
        w.requires_grad_()
        (grad,) = torch.autograd.grad((ONES @ w.t()).square().sum(), w)
        if number == 1:
            w = (w - 0.1 * grad).detach()
    return float(grad.norm())


@pytest.mark.parametrize("how", ["raised", "killed"])
def test_after_a_backward_its_partials_are_told_and_marked(how):
    report, _ = told(lambda: training("after backward"), how)
    first, second = (line.row for line in report.lines)
    assert first.labels == () and first.weight_moved is True
    assert second.labels == ("unfinished",) and second.exact is True and second.weight_moved is False
    assert second.partial_norms == (pytest.approx(norm_of_second(), rel=1e-6),) == (second.grad_norm,)
    text = io.StringIO()
    report.write("table", text)
    assert text.getvalue().endswith("\nThe program ended in iteration 2, which is unfinished.\n")


def test_after_a_forward_alone_there_is_a_row_without_a_backward():
    report, _ = told(lambda: training("after forward"), "raised")
    rows = [line.row for line in report.lines]
    assert [(row.iteration, row.runs, row.labels) for row in rows] == [(1, 1, ()), (2, 0, ("unfinished",))]


@pytest.mark.parametrize("how", ["raised", "ended", "killed"])
def test_after_a_step_the_iteration_is_complete(how):
    report, _ = told(lambda: training("at the end"), how)
    rows = [line.row for line in report.lines]
    assert [(row.iteration, row.labels, row.weight_moved) for row in rows] == [(1, (), True), (2, (), True)]
    text = io.StringIO()
    report.write("table", text)
    assert "unfinished" not in text.getvalue()


def test_what_ends_as_it_should_is_not_marked():
    report, _ = told(lambda: training("after backward"), "ended")
    assert all(line.row.labels == () for line in report.lines)


def test_a_draft_is_replaced_and_its_notes_count_once():
    report = Report()
    for draft, runs in ((True, 1), (True, 2), (False, 3)):
        fact = Facts(Row(("w",), (1,), 1, runs))
        report.add(msgspec.to_builtins(Batch((fact,), ("a note",), draft=draft)))
        assert [line.row.runs for line in report.lines] == [runs]
        text = io.StringIO()
        report.write("table", text)
        assert text.getvalue().count("a note") == 1


def test_many_backwards_of_one_iteration_are_told_of_now_and_then():
    def program():
        layer = nn.Linear(2, 1, bias=False)
        for _ in range(100):
            layer(ONES).sum().backward()
        raise Killed

    report, sent = told(program, "killed")
    assert len(sent) == 8 + 3  # after 1 to 8, 16, 32 and 64
    assert [line.row.runs for line in report.lines] == [64] and report.lines[0].row.labels == ("unfinished",)
