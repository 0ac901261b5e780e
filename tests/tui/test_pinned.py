"""Parameters, stops and optimizer as panes: on a large screen at once, else put there; each follows every stop."""

import re
from pathlib import Path

import pytest
from fake_session import MARKS, OPTIMIZER, STOP
from msgspec.structs import replace
from test_app import opened, screen, until
from test_tiling import where

from backpropdbg.questions import OptimizerOf, ParametersOf, StopsOf
from backpropdbg.tui.config import Settings
from backpropdbg.tui.overlays import Overlay
from backpropdbg.tui.results import Results
from backpropdbg.tui.tiling import EXTRA, PANES, default
from backpropdbg.wire.session import Ended, Stopped


def asked(session, kind: type) -> int:
    return sum(isinstance(question, kind) for question in session.asked)


def test_small_and_middling_screens_have_the_panes_that_they_had() -> None:
    for size in ((80, 24), (120, 36), (160, 50), (250, 47)):
        assert sorted(default(*size).panes) == sorted(PANES)
    assert sorted(default(200, 50).panes) == sorted((*PANES, *EXTRA))


@pytest.mark.parametrize("size", [(200, 50), (250, 70)])
async def test_a_large_screen_shows_all_and_each_follows_every_stop(size: tuple[int, int]) -> None:
    async with opened(size) as (app, session, pilot):
        for part in ("parameters: 2000", "* ", "hit 2 times", "display 1: loss = 59.92", "line 3 [red]"):
            await until(pilot, lambda part=part: part in screen(app))
        assert set(where(app)) == {*PANES, *EXTRA} and min(box[3] for box in where(app).values()) >= 5
        before = [asked(session, kind) for kind in (ParametersOf, StopsOf, OptimizerOf)]
        session.say(Stopped(replace(STOP, position=18, focus="layer.499.weight")))
        await until(pilot, lambda: re.search(r"\*   weight +3 ", screen(app)))
        assert all(asked(session, k) > n for k, n in zip((ParametersOf, StopsOf, OptimizerOf), before, strict=True))
        session.marks[:] = MARKS[2:]
        await pilot.press("colon", *"clear 1", "enter")
        await until(pilot, lambda: "hit 2 times" not in screen(app) and "did clear 1" in screen(app))
        session.say(Ended("killed", -9))
        await until(pilot, lambda: app.ended)
        before = len(session.asked)
        await pilot.press("p", *"layer", "escape", "o", "B")
        assert len(session.asked) == before


async def test_keys_and_clicks_in_the_panes() -> None:
    async with opened((200, 50)) as (app, session, pilot):
        await until(pilot, lambda: "parameters: 2000" in screen(app) and "line 3 [red]" in screen(app))
        await pilot.press("p")
        await until(pilot, lambda: "type to filter" in screen(app) and app.current == "parameters")
        await pilot.press(*"layer.77")
        await until(pilot, lambda: "parameters: 11 of 2000" in screen(app))
        await pilot.press("down", "enter")
        await until(pilot, lambda: session.sent == ["focus layer.770.weight"] and app.focused is None)
        assert "layer.77" in screen(app) and app.screen is app.base
        await pilot.press("p", "escape")
        await until(pilot, lambda: "*   weight" in screen(app) and "type to filter" not in screen(app))
        x, y, _, _ = where(app)["parameters"]
        row = next(n for n, line in enumerate(screen(app).splitlines()) if "*   weight" in line) - 2 - y
        await pilot.click(offset=(x + 8, y + row))
        await until(pilot, lambda: session.sent[1:] == ["focus layer.499.weight"])
        await pilot.press("B")
        await until(pilot, lambda: "> breakpoint 1" in screen(app) and "off or on" in screen(app))
        await pilot.press("s", "enter", "B")
        await until(pilot, lambda: session.sent[2:] == ["step", "disable 1"] and app.focused is None)
        await until(pilot, lambda: "> breakpoint 1" not in screen(app) and "print loss (disabled)" in screen(app))
        await pilot.press("o", "end")
        await until(pilot, lambda: OPTIMIZER.splitlines()[-1] in screen(app))
        await pilot.press("escape", "down")
        assert app.focused is None and session.sent[4:] == [] and not isinstance(app.screen, Overlay)


@pytest.mark.parametrize(("key", "pane"), [("p", "parameters"), ("B", "stops"), ("o", "optimizer")])
async def test_from_over_the_screen_to_a_pane_that_is_remembered_and_back(key: str, pane: str, tmp_path: Path) -> None:
    settings = Settings(state=tmp_path / "layout.json")
    async with opened(settings=settings) as (app, _, pilot):
        first = set(where(app))
        await pilot.press(key)
        await until(pilot, lambda: isinstance(app.screen, Overlay) and "f2: a pane" in screen(app))
        await pilot.press("f2")
        await until(pilot, lambda: set(where(app)) == {*first, pane} and app.screen is app.base)
        assert app.query_one(Results).text == f"{pane} is shown: h hides it"
        before = where(app)[pane]
        await pilot.press("shift+up")
        await until(pilot, lambda: where(app)[pane] != before)
    async with opened(settings=settings) as (app, session, pilot):
        await until(pilot, lambda: set(where(app)) == {*first, pane})
        await pilot.press("Z")
        await until(pilot, lambda: set(where(app)) == {"ledger"})
        await pilot.press("Z", key, "escape")
        await until(pilot, lambda: app.current == pane and app.focused is None)
        await pilot.press("f2")
        await until(pilot, lambda: set(where(app)) == first and f"{key} shows it over the screen" in screen(app))
        await pilot.press("f2", key)
        await until(pilot, lambda: isinstance(app.screen, Overlay))
        await pilot.press("escape", "colon", *f"layout show {pane}", "enter")
        await until(pilot, lambda: set(where(app)) == {*first, pane})
        await pilot.press("colon", *f"layout move {pane} right", "enter")
        await until(pilot, lambda: app.query_one(Results).text == f"{pane} is moved right")
        await pilot.press("0")
        await until(pilot, lambda: set(where(app)) == first)
        assert session.sent == []


async def test_a_large_screen_has_a_layout_of_its_own(tmp_path: Path) -> None:
    settings = Settings(state=tmp_path / "layout.json")
    async with opened((200, 50), settings=settings) as (app, _, pilot):
        await pilot.press("colon", *"layout hide stops", "enter")
        await until(pilot, lambda: set(where(app)) == {*PANES, *EXTRA} - {"stops"})
        await pilot.resize_terminal(120, 36)
        await until(pilot, lambda: set(where(app)) == set(PANES) - {"timeline"})
        await pilot.resize_terminal(200, 50)
        await until(pilot, lambda: set(where(app)) == {*PANES, *EXTRA} - {"stops"})
    async with opened((200, 50), settings=settings) as (app, _, pilot):
        await until(pilot, lambda: set(where(app)) == {*PANES, *EXTRA} - {"stops"})


async def test_a_small_screen_gives_it_the_whole_screen() -> None:
    async with opened((80, 24)) as (app, session, pilot):
        await pilot.press("p", "f2")
        await until(pilot, lambda: set(where(app)) == {"parameters"} and "Z gives the screen back" in screen(app))
        await pilot.press("s")
        await until(pilot, lambda: session.sent == ["step"] and not app.busy and "parameters: 2000" in screen(app))
        await pilot.press("colon", *"layout move parameters up", "enter")
        await until(pilot, lambda: "has no place that it could be moved from" in screen(app))
        await pilot.press("Z")
        await until(pilot, lambda: set(where(app)) == {"graph", "ledger", "matrices"})
