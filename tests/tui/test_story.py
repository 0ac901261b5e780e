"""One element's story: bars that add up to `.grad`, compared with plain torch; and how to come to an element."""

import math

import oracle
import pytest
import torch
from driving import seed
from fake_session import LEDGER, STOP, story_of
from msgspec.structs import replace
from playing import play
from test_app import opened, screen, until

from backpropdbg.demo.dynamic_net import DynamicNet
from backpropdbg.questions import StoryOf, Turn
from backpropdbg.situation import Matrix, Row
from backpropdbg.tui.ledger import TURNS, Ledger
from backpropdbg.tui.lined import text_of
from backpropdbg.tui.plane import element_of, flat_index, flat_shape
from backpropdbg.tui.story import Bar, bar_text, bars
from backpropdbg.wire.session import Answered, Stopped

WEIGHT = "middle_linear.weight"


def test_the_bars_are_the_partials_of_plain_torch_and_end_at_grad() -> None:
    seed(1816)
    net, x, y = DynamicNet(4, 5, 3, 3), torch.randn(8, 4), torch.randn(8, 3)
    partials = oracle.untied_partials(oracle.module_net, oracle.state_of(net), x, y, 3)[WEIGHT]
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    before = net.middle_linear.weight.detach().clone()

    def train() -> None:
        torch.nn.functional.mse_loss(net(x), y, reduction="sum").backward()
        optimizer.step()

    at = (3, 1)
    lines = ("element 3,1", f"until accumulate {WEIGHT}", "until update")
    seen = play(train, f"focus {WEIGHT}", *lines)
    stop = next(s for s in reversed(seen.situations) if s.event == "Accumulated")
    assert stop.element == at
    shown = {row.term: bar for row, bar in zip(stop.ledger, bars(stop.ledger), strict=True) if bar is not None}
    total = 0.0
    for number in (3, 2, 1):
        value = partials[number - 1][at].item()
        assert shown[f"A{number}"] == Bar(pytest.approx(total), pytest.approx(total + value))
        total += value
    grad = net.middle_linear.weight.grad
    assert grad is not None and shown[".grad"] == shown["running sum"] == Bar(0.0, pytest.approx(grad[at].item()))
    assert shown["A1"].end == pytest.approx(grad[at].item(), rel=1e-5)
    end = seen.situations[-1]
    assert end.event == "StepFinished"
    shown = {row.term: bar for row, bar in zip(end.update, bars(end.update), strict=True) if bar is not None}
    moved = (net.middle_linear.weight.detach().double() - before.double())[at].item()
    assert shown["difference"] == Bar(0.0, pytest.approx(moved)) and "before" not in shown and "after" not in shown
    assert shown["rounding"].end == pytest.approx(moved)


def test_absent_and_non_finite_terms_have_no_bar() -> None:
    rows = (
        Row("carried", "carried in", element=1.0), Row("partial", "A2", element="NaN"),
        Row("partial", "A1", state="not computed"), Row("label", "A1 was", element=9.0),
        Row("partial", "A0", element=-3.0),
        Row("carried", "run 2: carried in", state="none"), Row("partial", "B1", element=2.0),
    )  # fmt: skip
    assert bars(rows) == [Bar(0.0, 1.0), None, None, None, Bar(1.0, -2.0), None, Bar(0.0, 2.0)]
    assert [bar is None for bar in bars(LEDGER)] == [True, False, False, True, False, True]


@pytest.mark.parametrize(
    ("bar", "text"),
    [
        (Bar(0, 2), "  |++"), (Bar(2, -2), "--|--"), (Bar(-2, 0), "++|  "), (Bar(-1, -2), "--|  "), (None, "  |  "),
        (Bar(0, 0.01), "  |+ "), (Bar(0, -0.01), " -|  "), (Bar(0.01, 0), "  |- "), (Bar(1, 1), "  |  "),
    ],
)  # fmt: skip
def test_a_bar(bar, text: str) -> None:
    assert bar_text(bar, -2.0, 2.0, 5).plain == text
    assert bar_text(Bar(0, -0.01), -0.01, 2.0, 5).plain == "-|   "
    assert bar_text(Bar(0, 0.01), -2.0, 0.01, 5).plain == "   |+"
    for low, high in ((0.0, 0.0), (-1e308, 1e308)):
        assert bar_text(None, low, high, 5).plain == "     "


@pytest.mark.parametrize("size", [(120, 36), (80, 24)])
async def test_enter_tells_the_story_and_the_norms_come_back(size: tuple[int, int]) -> None:
    async with opened(size) as (app, session, pilot):
        await pilot.press("enter")
        await until(pilot, lambda: "element W[2,0]" in screen(app) and "each begins where" in screen(app))
        lines = {line.strip("│> ").split()[0]: line for line in screen(app).splitlines() if "use #" in line}
        assert "+0.0772" in lines["A3"] and "|+++++" in lines["A3"] and "pulls it down" in lines["A3"]
        assert "-0.0864" in lines["A2"] and "-|---" in lines["A2"] and "cancels" in lines["A2"]
        assert "pending" in lines["A1"] and "2.4075" not in screen(app)
        session.say(Stopped(replace(STOP, element=(1, 1))))
        await until(pilot, lambda: "element W[1,1]" in screen(app))
        await pilot.press("enter")
        await until(pilot, lambda: "2.4075" in screen(app) and "each begins where" not in screen(app))
        assert session.sent == []


@pytest.mark.parametrize("shape", [(), (4,), (3, 5), (2, 3, 4), (2, 1, 3, 2)])
def test_every_element_has_a_cell_of_its_own(shape: tuple[int, ...]) -> None:
    rows, columns = flat_shape(shape)
    found = [element_of(shape, r, c) for r in range(rows) for c in range(columns)]
    assert len(set(found)) == math.prod(shape)
    assert [flat_index(shape, element) for element in found] == list(range(math.prod(shape)))


async def test_a_click_picks_an_element() -> None:
    async with opened() as (_, session, pilot):
        await pilot.click("#matrix-0", offset=(1 + 1 + 7 + 3, 1 + 1 + 2))
        await until(pilot, lambda: session.sent == ["element 2,1"])
        for offset in ((1, 3), (35, 3), (12, 1)):
            await pilot.click("#matrix-0", offset=offset)
        assert session.sent == ["element 2,1"]
    many = replace(STOP, matrices=(Matrix("partial", "P", (3, 3, 1)),))
    async with opened(stop=many) as (_, session, pilot):
        await pilot.click("#matrix-0", offset=(1 + 1 + 3, 1 + 1))
        await until(pilot, lambda: session.sent == ["element 0,0,0"])


def row_of(app, word: str) -> str:
    return next(line for line in screen(app).splitlines() if word in line)


@pytest.mark.parametrize("size", [(120, 44), (80, 30)])
async def test_a_story_goes_on_over_iterations(size: tuple[int, int]) -> None:
    async with opened(size) as (app, session, pilot):
        await pilot.press("enter")
        await until(pilot, lambda: "over iterations" in screen(app))
        assert session.asked[-1] == StoryOf("element", TURNS)
        app.query_one(Ledger).scroll_end(animate=False)
        await until(pilot, lambda: "iteration 1 " in screen(app))
        assert "None" in row_of(app, "iteration 8") and "no update" in row_of(app, "iteration 8")
        assert "NaN!" in row_of(app, "iteration 9") and "-1.00e-4" in row_of(app, "iteration 9")
        last = row_of(app, "> iteration 1 ")
        assert "+0.0772  |+++" in last
        assert "not kept" in last and "pending" in last


async def test_no_note_is_under_the_scroll_bar() -> None:
    async with opened((80, 24)) as (app, _, pilot):
        await pilot.press("enter")
        await until(pilot, lambda: "AccumulateGrad has not run yet" in screen(app))


@pytest.mark.parametrize("size", [(120, 36), (80, 24)])
async def test_no_note_is_cut(size: tuple[int, int]) -> None:
    notes = ("= running sum, bit for bit", "what float rounding left", "one more " * 12 + "end")
    rows = tuple(
        Row("partial", f"A{n}", f"middle_linear#{n}", norm=1.0, element=0.5, note=note) for n, note in enumerate(notes)
    )
    async with opened(size, stop=replace(STOP, ledger=rows)) as (app, _, pilot):
        await pilot.press("enter")
        await until(pilot, lambda: app.query_one(Ledger).told is not None)
        ledger = app.query_one(Ledger)
        assert all(len(text_of([line])) < ledger.size.width for line in ledger.lines)
        text = " ".join(" ".join(text_of([line]).split()) for line in ledger.lines)
        assert all(note in text for note in notes) and "|+" in text


async def test_all_iterations_are_there_the_newest_first_and_gaps_say_so() -> None:
    async with opened((80, 24)) as (app, session, pilot):
        turns = [Turn(n, float(n), "value", skipped=4 * (n == 9)) for n in (*range(1, 5), *range(9, 40))]

        def ask(question) -> None:
            if isinstance(question, StoryOf):
                session.say(Answered(question, replace(story_of("element"), turns=tuple(turns))))

        session.ask = ask
        await pilot.press("enter")
        ledger = app.query_one(Ledger)
        await until(pilot, lambda: len(ledger.lines) > 40)
        rows = [" ".join(text_of([line]).strip("> ").split()[:2]) for line in ledger.lines]
        newest = [f"iteration {n}" for n in range(39, 8, -1)]
        assert rows[rows.index("over iterations") + 1 :] == [
            *newest,
            "... 4",
            *(f"iteration {n}" for n in (4, 3, 2, 1)),
        ]
        ledger.scroll_end(animate=False)
        await until(pilot, lambda: "> iteration 1 " in screen(app) and "... 4 more" in screen(app))


async def test_e_tells_of_the_row_and_of_the_parameter() -> None:
    async with opened((120, 44)) as (app, session, pilot):
        await pilot.press("e")
        await until(pilot, lambda: "element W[2,0]" in screen(app) and "over iterations" in screen(app))
        await pilot.press("e")
        await until(pilot, lambda: "row W[2,:]" in screen(app) and "along sum" in screen(app))
        assert "+0.0772" in row_of(app, "use #3") and "|.grad|" in row_of(app, "over iterations")
        await pilot.press("e")
        await until(pilot, lambda: "parameter W " in screen(app) and "+0.1544" in row_of(app, "use #3"))
        assert [q.scope for q in session.asked if isinstance(q, StoryOf)] == ["element", "row", "parameter"]
        moved = replace(STOP, element=(1, 1))
        session.say(Stopped(moved))  # the fake tells of another element: that is no answer
        await until(pilot, lambda: "..." in screen(app) and "+0.1544" not in screen(app))
        await pilot.press("enter")
        await until(pilot, lambda: "2.4075" in screen(app) and "over iterations" not in screen(app))
