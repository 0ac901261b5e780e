"""The tree of parameters over the screen: it asks for what it shows, filters, walks, and focuses."""

import re

import pytest
from fake_session import STOP
from test_app import opened, screen, until

from backpropdbg.questions import Line, ParametersOf
from backpropdbg.tui.parameters import ParameterList, heading, line_text


def pages(session) -> list[ParametersOf]:
    return [asked for asked in session.asked if isinstance(asked, ParametersOf)]


def chosen(app) -> str:
    return next((found[1] for found in re.finditer(r"│ (>  .*?)│", screen(app))), "")


@pytest.mark.parametrize("size", [(120, 36), (80, 24)])
async def test_it_opens_at_the_focus_and_asks_for_no_more_than_it_shows(size) -> None:
    async with opened(size) as (app, session, pilot):
        await pilot.press("p")
        await until(pilot, lambda: "parameters: 2000" in screen(app) and chosen(app))
        pane = app.screen.query_one(ParameterList)
        assert pages(session)[0] == ParametersOf("", 0, pane.size.height, True)
        assert pane.at(pane.chosen).name == STOP.focus
        assert chosen(app).split() == [">", "weight", "0", "50.0000", "5.00e-3"]
        await pilot.press("pagedown", "pagedown", "up")
        await until(pilot, lambda: pane.at(pane.chosen) is not None)
        height = pane.size.height
        for asked in pages(session):
            assert asked.count == height
        await pilot.press("down", "down")
        await until(pilot, lambda: chosen(app).startswith("> ") and "weight" in chosen(app))
        assert session.sent == []


async def test_letters_filter_and_enter_focuses() -> None:
    async with opened() as (app, session, pilot):
        await pilot.press("p")
        await until(pilot, lambda: "parameters: 2000" in screen(app))
        await pilot.press(*"layer.77")
        await until(pilot, lambda: "parameters: 11 of 2000" in screen(app))
        assert chosen(app).split()[:2] == [">", "weight"] and "layer.77 " in screen(app)
        await pilot.press("down", "enter")
        await until(pilot, lambda: session.sent == ["focus layer.770.weight"])
        assert app.screen is app.base
        await pilot.press("s")
        await until(pilot, lambda: session.sent[-1] == "step")


async def test_nothing_found_is_said_and_escape_closes() -> None:
    async with opened() as (app, session, pilot):
        await pilot.press("p", *"snq")
        await until(pilot, lambda: "no parameter has this in its name" in screen(app))
        await pilot.press("enter", "down", "escape")
        await until(pilot, lambda: app.screen is app.base)
        assert session.sent == []


async def test_findings_are_letters_that_the_page_explains() -> None:
    async with opened() as (app, _, pilot):
        await pilot.press("p")
        await until(pilot, lambda: "S shared: several uses" in screen(app) and "! not finite" in screen(app))
        assert "T tied" not in screen(app)


async def test_a_click_chooses_and_another_one_focuses() -> None:
    async with opened() as (app, session, pilot):
        await pilot.press("p", *"layer.77")
        await until(pilot, lambda: "parameters: 11 of 2000" in screen(app))
        for _ in range(2):
            await pilot.click("#parameters-list", offset=(10, 3))
        await until(pilot, lambda: session.sent == ["focus layer.770.weight"])


def test_a_line_never_overflows_and_says_what_is_not_there() -> None:
    line = Line(3, "weight" * 30, "x", 12, None, "none", None, "none", "TS-")
    text = line_text(line, 80, False, True).plain
    assert len(text) <= 80 and text.startswith("* ") and "…" in text and "None      no update  TS-" in text
    assert "pending        pending" in line_text(Line(0, "w", "w"), 80, True, True).plain


def test_a_narrow_pane_leaves_out_ratios_and_not_the_name() -> None:
    line = Line(1, "bias", "middle_linear.bias", 3, 0.5, "value", 0.25, "value", "SX")
    assert line_text(line, 38, False, False).plain.split() == ["bias", "3", "0.5000", "SX"]
    assert line_text(Line(0, "middle_linear"), 38, False, False).plain.split() == ["middle_linear"]
    assert "update/weight" in heading(60).plain and "update/weight" not in heading(59).plain
