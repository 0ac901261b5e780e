"""The places of the panes: they fill the screen at any size and after any move, and are remembered."""

import json
import random
from pathlib import Path

import pytest
from test_app import opened, screen, until

from backpropdbg.tui.arranged import Arranged
from backpropdbg.tui.config import Settings
from backpropdbg.tui.remembered import as_json, load, save, state_path
from backpropdbg.tui.results import Results
from backpropdbg.tui.tiles import Tiles
from backpropdbg.tui.tiling import (
    Box,
    Column,
    Row,
    Tiling,
    boxes,
    default,
    heighten,
    move,
    shown,
    stack,
    swap,
    widen,
    with_hidden,
)

WANTED = {"graph": 5, "timeline": 6, "output": 8, "matrices": 8}
PANES = default(120).panes


def columns(tiling: Tiling) -> list[list[tuple[str, ...]]]:
    return [[column.panes for column in row.columns] for row in tiling.rows]


def cells(found: dict[str, Box]) -> list[tuple[int, int]]:
    return [(x, y) for b in found.values() for x in range(b.x, b.x + b.width) for y in range(b.y, b.y + b.height)]


@pytest.mark.parametrize("size", [(80, 20), (100, 24), (120, 29), (250, 63), (13, 4)])
def test_the_panes_fill_the_screen_and_never_overlap_whatever_is_done(size: tuple[int, int]) -> None:
    chance = random.Random(7)
    tiling = default(size[0])
    for _ in range(150):
        found = boxes(tiling, *size, WANTED)
        assert sorted(cells(found)) == [(x, y) for x in range(size[0]) for y in range(size[1])]
        assert sorted(found) == sorted(PANES) == sorted(tiling.panes)
        pane = chance.choice(PANES)
        tiling = chance.choice([
            move(tiling, pane, chance.choice(["up", "down", "left", "right"])),
            widen(tiling, pane, chance.randint(-9, 9), size[0]),
            heighten(tiling, pane, chance.randint(-9, 9), found),
            swap(tiling, pane, chance.choice([p for p in PANES if p != pane])),
            with_hidden(shown(tiling, set(PANES) - {pane}), tiling),
        ])  # fmt: skip


def test_moves() -> None:
    tiling = Tiling((Row((Column(("a",)), Column(("b", "c")))), Row((Column(("d",)),))))
    assert columns(move(tiling, "a", "right")) == [[("b", "c", "a")], [("d",)]]
    assert columns(move(tiling, "b", "right")) == [[("a",), ("c",), ("b",)], [("d",)]]
    assert columns(move(tiling, "b", "left")) == [[("a",), ("b",), ("c",)], [("d",)]]
    assert columns(move(tiling, "b", "down")) == [[("a",), ("c", "b")], [("d",)]]
    assert columns(move(tiling, "b", "up")) == [[("b",)], [("a",), ("c",)], [("d",)]]
    assert columns(move(tiling, "d", "up")) == [[("a",), ("b", "c"), ("d",)]]
    assert columns(move(move(tiling, "d", "up"), "d", "down")) == columns(tiling)
    assert [move(tiling, *at) for at in (("a", "left"), ("d", "down"), ("d", "right"))] == [tiling] * 3
    assert columns(swap(tiling, "a", "c")) == [[("c",), ("b", "a")], [("d",)]]


@pytest.mark.parametrize("pane", PANES)
@pytest.mark.parametrize("width", [120, 200])
def test_what_was_hidden_comes_back_to_its_place(pane: str, width: int) -> None:
    whole = default(width)
    back = with_hidden(shown(whole, set(PANES) - {pane}), whole)
    assert columns(back) == columns(whole) and back.hidden == {pane}


def test_heights() -> None:
    assert stack(20, [5, None, None], [0, 1, 0]) == [5, 8, 7]
    assert stack(20, [5, 6], [2, 0]) == [7, 13] and stack(10, [None, 20], [0, 0]) == [3, 7]
    assert stack(4, [5, 5, 5], [0, 0, 0]) == [2, 1, 1] and stack(7, [], []) == []


def test_a_wider_pane_takes_from_its_neighbour_alone_and_leaves_it_some() -> None:
    tiling = default(200)
    before, after = (boxes(t, 200, 50, WANTED) for t in (tiling, widen(tiling, "ledger", 5, 200)))
    assert [after[p].width - before[p].width for p in ("ledger", "source", "output")] == [5, -5, 0]
    least = boxes(widen(tiling, "ledger", 500, 200), 200, 50, WANTED)
    assert least["source"].width == 12 and widen(tiling, "graph", 5, 200) == tiling
    taller = boxes(heighten(tiling, "ledger", 2, before), 200, 50, WANTED)
    assert [taller[p].height - before[p].height for p in ("ledger", "source", "matrices", "graph")] == [2, 2, -2, 0]


def test_what_is_remembered_is_the_same_again_and_rubbish_is_nothing(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "layout.json"
    tiling = heighten(move(default(120), "output", "right"), "ledger", -2, boxes(default(120), 120, 30, WANTED))
    tiling = with_hidden(shown(tiling, set(PANES) - {"source"}), tiling)
    save(path, tiling)
    assert load(path, PANES) == tiling and list(path.parent.iterdir()) == [path]
    for rubbish in ("", "[", "[]", "7", "{}", '{"rows": [7], "hidden": [], "taller": {}}', "[" * 100_000, "\x00"):
        path.write_text(rubbish)
        assert load(path, PANES) is None
    good = as_json(tiling)
    for wrong in ({"rows": []}, {"rows": 3}, {"hidden": None}, {"taller": {"ledger": "2"}}):
        path.write_text(json.dumps({**good, **wrong}))
        assert load(path, PANES) is None
    path.write_bytes(b"\xff\xfe")
    assert load(path, PANES) is None
    save(path, None)
    assert not path.exists() and load(path, PANES) is None
    save(Path("/proc/none/layout.json"), tiling)


def test_panes_that_are_new_or_gone_are_no_trouble(tmp_path: Path) -> None:
    path = tmp_path / "layout.json"
    save(
        path, Tiling((Row((Column(("gone", "ledger", "ledger")),)), Row((Column(("matrices",)),))), frozenset({"gone"}))
    )
    found = load(path, PANES)
    assert found is not None and sorted(found.panes) == sorted(PANES) and found.hidden == frozenset()
    save(path, Tiling((Row((Column(("gone",)),)),)))
    assert load(path, PANES) is None


def test_where_it_is_remembered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert state_path({}) == tmp_path / ".local/state/backpropdbg/layout.json"
    assert state_path({"XDG_STATE_HOME": "/s"}) == Path("/s/backpropdbg/layout.json")


def where(app: Arranged) -> dict[str, tuple[int, int, int, int]]:
    return {child.id: tuple(child.region) for child in app.query_one(Tiles).children if child.region.area}


async def test_keys_move_zoom_hide_and_resize_and_all_is_there_the_next_time(tmp_path: Path) -> None:
    settings = Settings(state=tmp_path / "layout.json")
    async with opened(settings=settings) as (app, session, pilot):
        await pilot.press("escape")
        await until(pilot, lambda: not app.query_one(Results).display)
        first = where(app)
        assert set(first) == {"graph", "ledger", "source", "output", "matrices"}
        await pilot.press("w")
        assert app.current == "source" and app.query_one("#source").has_class("current")
        await pilot.press("Z")
        await until(pilot, lambda: set(where(app)) == {"source"} and "gives the screen back" in screen(app))
        await pilot.press("w")
        await until(pilot, lambda: set(where(app)) == {"output"})
        await pilot.press("s")
        await until(pilot, lambda: session.sent == ["step"] and not app.busy)
        await pilot.press("Z", "W", "escape")
        await until(pilot, lambda: where(app) == first and app.current == "source")
        await pilot.press("shift+up")
        await until(pilot, lambda: where(app)["source"][2] == 120)
        await pilot.press("0", "h")
        await until(pilot, lambda: "source" not in where(app) and "H shows all panes" in screen(app))
        assert app.current == "ledger"
        await pilot.press("escape", "]", "+", "+")
        await until(pilot, lambda: where(app)["ledger"][2:] == (first["ledger"][2] + 4, first["ledger"][3] + 2))
        last = where(app)
    async with opened(settings=settings) as (app, _, pilot):
        await pilot.press("escape")
        await until(pilot, lambda: where(app) == last)
        await pilot.press("H")
        await until(pilot, lambda: set(where(app)) == {*first, "timeline"})
        await pilot.press("colon", *"layout reset", "enter")
        await until(pilot, lambda: app.query_one(Results).text == "the panes are as at first")
        await pilot.press("escape")
        await until(pilot, lambda: where(app) == first)
    assert not (tmp_path / "layout.json").exists()


async def test_the_layout_command() -> None:
    async with opened() as (app, session, pilot):
        for line, told in (
            ("layout zoom matrices", "matrices: Z gives the screen back"),
            ("layout hide source", "source is hidden"),
            ("layout show timeline", "timeline is shown"),
            ("layout", "panes: graph, timeline, ledger, source, output, matrices; hidden: source"),
            ("layout zoom nothing", "layout: there is no pane 'nothing'; it is one of graph, timeline"),
            (
                "layout spin",
                "layout: reset, or zoom, hide or show and a pane, or move, a pane and one of up, down",
            ),
        ):
            await pilot.press("colon", *line, "enter")
            await until(pilot, lambda told=told: app.query_one(Results).text.startswith(told))
        await until(pilot, lambda: set(where(app)) == {"graph", "timeline", "ledger", "output", "matrices"})
        told = [app.hide(pane) for pane in app.tiling.panes]
        assert told[-1] == "matrices is the only pane" and session.sent == []


async def test_the_mouse_chooses_swaps_resizes_and_zooms() -> None:
    async with opened() as (app, _, pilot):
        await pilot.press("escape")
        await until(pilot, lambda: not app.query_one(Results).display)
        first = where(app)
        await pilot.click("#source", offset=(5, 3))
        await until(pilot, lambda: app.current == "source")
        x, y, width, height = first["ledger"]
        await pilot.mouse_down(offset=(x + width - 1, y + 3))
        await pilot.hover(offset=(x + width + 6, y + 3))
        await pilot.mouse_up(offset=(x + width + 6, y + 3))
        await until(pilot, lambda: where(app)["ledger"][2] == width + 7 and where(app)["source"][0] == x + width + 7)
        await pilot.mouse_down(offset=(x + 9, y + height - 1))
        await pilot.hover(offset=(x + 9, y + height + 1))
        await pilot.mouse_up(offset=(x + 9, y + height + 1))
        await until(pilot, lambda: where(app)["ledger"][3] == height + 2)
        await pilot.press("0", "escape")
        await until(pilot, lambda: where(app) == first)
        await pilot.mouse_down(offset=(first["output"][0] + 4, first["output"][1]))
        await pilot.mouse_up(offset=(x + 9, y + 4))
        await until(pilot, lambda: where(app)["output"] == first["ledger"])
        await pilot.press("0", "escape")
        await until(pilot, lambda: where(app) == first)
        await pilot.click("#ledger", offset=(4, 0), times=2)
        await until(pilot, lambda: set(where(app)) == {"ledger"})


async def test_a_small_screen_says_that_panes_are_tabs() -> None:
    async with opened((80, 24)) as (app, _, pilot):
        await pilot.press("shift+up")
        await until(pilot, lambda: "on a small screen panes are tabs: 1 ... 4" in screen(app))
        await pilot.press("Z")
        await until(pilot, lambda: set(where(app)) == {"ledger"})
        await pilot.press("2")
        await until(pilot, lambda: set(where(app)) == {"graph", "ledger", "source"})


async def test_a_state_file_that_cannot_be_written_is_no_trouble() -> None:
    async with opened(settings=Settings(state=Path("/proc/none/layout.json"))) as (app, _, pilot):
        await pilot.press("h")
        await until(pilot, lambda: "ledger" not in where(app))
