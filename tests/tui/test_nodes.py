"""The autograd nodes in the graph pane: the key, the command, scrolling, clicks, and what stands there without any."""

import pytest
from fake_session import NODES, STOP
from msgspec.structs import replace
from test_app import opened, screen, until

from backpropdbg.questions import NodeLine, Nodes, NodesOf
from backpropdbg.tui.nodes import NodesPane
from backpropdbg.tui.tiles import Tiles
from backpropdbg.wire.session import Result, Stopped


def pane(app) -> NodesPane:
    return app.query_one(NodesPane)


def asked(session) -> list[NodesOf]:
    return [question for question in session.asked if isinstance(question, NodesOf)]


async def shown(app, pilot) -> None:
    await until(pilot, lambda: pane(app).told is not None and "Backward0" in screen(app))


@pytest.mark.parametrize("way", ["key", "typed", "beforehand"])
async def test_nodes_take_the_place_of_modules_and_give_it_back(way: str) -> None:
    async with opened() as (app, session, pilot):
        assert asked(session) == [] and "fwd  x -> input_linear" in screen(app)
        if way == "key":
            await pilot.press("v")
        elif way == "typed":
            await pilot.press("colon", *"graph nodes", "enter")
        else:  # by -c, or by a script
            session.say(Result("graph nodes", "a long table"))
        await shown(app, pilot)
        await until(pilot, lambda: "v shows the calls of modules again" in screen(app))
        here = ">   7 here         A2 2.41       TBackward0 -> 11 AccumulateGrad middle_linear.weight (A2)"
        await until(pilot, lambda: here in screen(app))
        text = screen(app)
        assert "fwd  x" not in text and "a long table" not in text and "did graph" not in text
        assert "graph: backward 1 of iteration 1, 20001 nodes" in text
        await pilot.press("v")
        await until(pilot, lambda: "fwd  x -> input_linear" in screen(app))
        assert session.sent[-1] == "graph modules" and "Backward0" not in screen(app)


async def test_each_stop_asks_for_what_has_room_and_no_more() -> None:
    async with opened() as (app, session, pilot):
        await pilot.press("v")
        await shown(app, pilot)
        await pilot.pause(0.1)
        before = len(asked(session))
        await pilot.press("s")
        await until(pilot, lambda: len(asked(session)) > before)
        assert asked(session)[-1] == NodesOf(0, pane(app).size.height, around=True)
        assert len(pane(app).told.page) == pane(app).size.height == 9


async def test_it_scrolls_to_the_end_of_twenty_thousand() -> None:
    async with opened() as (app, session, pilot):
        await pilot.press("v")
        await shown(app, pilot)
        app.current = "graph"
        await pilot.press("pagedown")
        await until(pilot, lambda: "Node16Backward0" in screen(app) and "MseLoss" not in screen(app))
        pane(app).scroll_end(animate=False)
        await until(pilot, lambda: "Node19999Backward0" in screen(app))
        await pilot.press("pageup")
        await until(pilot, lambda: "Node19983Backward0" in screen(app) and "Node19999B" not in screen(app))
        await pilot.press("colon", *"graph nodes 5000", "enter")
        await until(pilot, lambda: "Node5000Backward0" in screen(app))
        assert max(question.count for question in asked(session)) < 40


async def test_what_has_no_room_ends_before_the_scroll_bar() -> None:
    async with opened((80, 24)) as (app, session, pilot):
        label = "ClampBackward1, AddmmBackward0, TBackward0, AddBackward0"
        lines = (NodeLine(1, 220, label, "done", 55), *NODES[1:])
        session.nodes = lambda q: Nodes(17, STOP.focus, "", "backward 1", 220, len(lines), 0, 0, lines[: q.count])
        await pilot.press("v")
        await until(pilot, lambda: "55 x (ClampBackward1" in screen(app))
        row = next(row for row in screen(app).splitlines() if "55 x (" in row)
        assert row[78] == "…" and len(row) == 80


async def test_a_click_on_a_use_that_is_to_come_runs_there() -> None:
    async with opened() as (app, session, pilot):
        await pilot.press("v")
        await shown(app, pilot)
        rows = screen(app).splitlines()
        for text, sent in ((" A3 2.33", False), (" ReluBackward0 ->", False), (" A1 pending", True)):
            y = next(n for n, row in enumerate(rows) if text in row)
            await pilot.click(offset=(20, y))
            await pilot.pause(0.05)
            assert (f"until backward {STOP.focus}#1" in session.sent) == sent
        assert "until backward" not in session.sent[0]


async def test_where_there_are_none_the_reason_stands_there() -> None:
    async with opened() as (app, session, pilot):
        session.nodes = lambda question: Nodes(17, STOP.focus, "not recorded: the nodes were not asked for")
        await pilot.press("v")
        await until(pilot, lambda: "│ not recorded: the nodes were not asked for" in screen(app))
        assert app.query_one(Tiles).wanted["graph"] == 5
        session.nodes = lambda question: Nodes(18, STOP.focus, "", "backward 1 of iteration 2", 3, 3, 0, 0, NODES[:3])
        session.say(Stopped(replace(STOP, position=18)))
        await until(pilot, lambda: "MseLossBackward0" in screen(app) and "not recorded" not in screen(app))
        assert app.query_one(Tiles).wanted["graph"] == 5


async def test_a_failed_command_changes_nothing_and_a_hidden_pane_leaves_the_text() -> None:
    async with opened() as (app, session, pilot):
        session.say(Result("graph nodes x", "graph: 'nodes x' is no view", ok=False))
        await until(pilot, lambda: "is no view" in screen(app))
        assert not app.nodes
        app.carry_out("hide", "graph")
        session.answers["graph nodes"] = "backward 1: a table"
        await pilot.press("v")
        await until(pilot, lambda: "backward 1: a table" in screen(app))


async def test_nothing_is_asked_while_modules_show() -> None:
    async with opened() as (app, session, pilot):
        await pilot.press("s", "s")
        await until(pilot, lambda: len(session.sent) == 2 and not app.busy)
        assert asked(session) == []


@pytest.mark.parametrize("size", [(80, 24), (60, 15), (20, 6), (250, 70)])
async def test_at_any_size(size: tuple[int, int]) -> None:
    async with opened() as (app, _, pilot):
        await pilot.press("v")
        await shown(app, pilot)
        await pilot.resize_terminal(*size)
        await until(pilot, lambda: app.size == size)
        await pilot.pause(0.1)
        if size == (80, 24):
            await until(pilot, lambda: ">  7 here" in screen(app).replace("   7", "  7"))
            assert "A2 2.41       TBackward0 -> 11 (A2)" in screen(app)
