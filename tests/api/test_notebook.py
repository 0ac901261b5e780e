"""Recordings, ledgers and updates show themselves: as a page, as tables, and by rich."""

import html
import io
import json
import re
from types import SimpleNamespace

import pytest
import torch
from driving import make_net, seed
from oracle import module_net, state_of, untied_partials
from rich.console import Console

import backpropdbg
from backpropdbg.api.notebook import MOST_STOPS, film, html_table
from backpropdbg.errors import RecordingError
from backpropdbg.figures import cell_text, number_text
from backpropdbg.pages.page import page
from backpropdbg.situation import Row

WEIGHT = "middle_linear.weight"


def record(steps: int = 2, keep: int = 2**28):
    """A recording of a net whose middle layer is used three times, and what plain torch says of its first step."""
    seed(1816)
    net, x, y = make_net("module", 3)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    partials = untied_partials(module_net, state_of(net), x, y, 3)[WEIGHT]
    before, after = net.middle_linear.weight.detach().clone(), list[torch.Tensor]()
    with backpropdbg.record(net, optimizer, keep=keep) as trace:
        for _ in range(steps):
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(net(x), y, reduction="sum").backward()
            optimizer.step()
            after.append(net.middle_linear.weight.detach().clone())
    return SimpleNamespace(trace=trace, partials=partials, before=before, after=after[0])


@pytest.fixture(scope="module")
def made():
    return record()


def norm(t: torch.Tensor) -> str:
    return number_text(float(t.double().norm()))


def data_of(page: str) -> dict:
    found = re.search(r'id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def cells_of(table: str) -> list[list[str]]:
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", table)[1:]
    return [[html.unescape(text) for text in re.findall(r"<td[^>]*>(.*?)</td>", row)] for row in rows]


def test_a_ledger_is_a_table_with_the_numbers_of_plain_torch(made):
    one, two, three = made.partials
    total = three + two + one
    cosines = [float(torch.nn.functional.cosine_similarity(p.double().flatten(), total.double().flatten(), dim=0))
               for p in (three, two, one)]  # fmt: skip
    shown = cells_of(made.trace.iteration(1).ledger(WEIGHT)._repr_html_())
    assert shown == [
        ["carried in", "", "None", "", ""],
        ["A3", "middle_linear#3", norm(three), f"{cosines[0]:+.2f}", ""],
        ["A2", "middle_linear#2", norm(two), f"{cosines[1]:+.2f}", ""],
        ["A1", "middle_linear#1", norm(one), f"{cosines[2]:+.2f}", ""],
        ["running sum", "", norm(total), "+1.00", ""],
        [".grad", "", norm(total), "+1.00", "= running sum, bit for bit"],
    ]


def test_an_update_is_a_table_too(made):
    delta = made.after.double() - made.before.double()
    shown = {row[0]: row[1:] for row in cells_of(made.trace.iteration(1).update(WEIGHT)._repr_html_())}
    assert shown["before"] == [norm(made.before), ""] and shown["after"] == [norm(made.after), ""]
    assert shown["difference"] == [norm(delta), "after - before"]
    assert shown["gradient"] == [norm(0.01 * sum(made.partials)), "-lr * grad, lr=0.01"]


def test_what_is_absent_is_a_word(made):
    frozen = record(keep=0).trace.iteration(1).ledger(WEIGHT)
    assert {row.state for row in frozen.rows} == {"none", "not kept"}
    assert "not kept" in frozen._repr_html_()
    seed(0)
    net, x, _ = make_net("module", 0)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    with backpropdbg.record(net, optimizer) as trace:
        net(x).sum().backward()
        optimizer.step()
    shown = {row.term: row for row in trace.iteration(1).update(WEIGHT).rows}
    assert trace.iteration(1).ledger(WEIGHT).rows[-1].state == "none"
    assert shown["after"].note == "skipped: no gradient" and shown["difference"].note == "did not move, bit for bit"


def test_names_are_never_markup(made):
    shown = html_table("<b>w</b>", [Row("partial", "<i>", "a & b", note="[red]x[/red]")])
    assert "<b>" not in shown and "<i>" not in shown and "a &amp; b" in shown
    out = io.StringIO()
    Console(file=out, width=100).print(made.trace.iteration(1).ledger(WEIGHT), made.trace.iteration(1).update(WEIGHT))
    assert "ledger of middle_linear.weight" in out.getvalue() and norm(made.partials[1]) in out.getvalue()


def test_a_recording_shows_the_page_of_its_most_used_parameter_in_a_frame_that_reaches_nothing(made):
    shown = made.trace._repr_html_()
    assert shown.startswith("<iframe srcdoc=") and 'sandbox="allow-scripts"' in shown
    inside = html.unescape(re.search(r'srcdoc="([^"]*)"', shown)[1])
    assert inside == made.trace.page()
    stops = data_of(inside)["stops"]
    assert {stop["ledger"]["title"] for stop in stops} == {WEIGHT}
    assert [stop["iteration"] for stop in stops] == [1] * (len(stops) // 2) + [2] * (len(stops) // 2)
    second = next(s for s in stops if s["name"] == "middle_linear#2 of 3" and s["phase"] == "backward")
    assert [text for _, row in second["matrices"][0]["rows"] for text, _ in row] == [
        cell_text(float(v)) for v in made.partials[1].flatten()
    ]
    assert all(not stop["graph"]["levels"] and not stop["when"] for stop in stops)


def test_another_parameter_may_be_asked_for(made):
    stops = data_of(made.trace.page("output_linear.bias"))["stops"]
    assert {stop["ledger"]["title"] for stop in stops} == {"output_linear.bias"}
    with pytest.raises(RecordingError, match=r"no parameter 'nope' was recorded; there are: input_linear\.weight"):
        made.trace.page("nope")


def test_a_saved_recording_shows_the_same(made, tmp_path):
    made.trace.save(tmp_path / "run.bptrace")
    again = data_of(backpropdbg.open_trace(tmp_path / "run.bptrace").page())
    live = data_of(made.trace.page())
    for stop in [*again["stops"], *live["stops"]]:
        del stop["program"]
    assert again["stops"] == live["stops"]


def test_where_stops_are_left_out_the_page_says_so(made):
    trace = made.trace
    shown = film(trace._trace, trace._aliases, "few", most=3)
    assert len(shown.slides) == 3 and data_of(page(shown))["left_out"] == "more are left out"
    whole = film(trace._trace, trace._aliases, "all")
    assert 3 < len(whole.slides) < MOST_STOPS and data_of(page(whole))["left_out"] == ""


def test_an_empty_recording_says_so():
    with backpropdbg.record() as trace:
        pass
    assert data_of(trace.page())["stops"] == [] and "<iframe" in trace._repr_html_()
