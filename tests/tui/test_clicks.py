"""The mouse: what is clicked is where the program goes, and the wheel scrolls what is under it."""

import pytest
from fake_session import STOP
from msgspec.structs import replace
from test_app import opened, screen, until
from textual.events import MouseScrollDown
from textual.widget import Widget

from backpropdbg.situation import Row
from backpropdbg.tui.ledger import Ledger
from backpropdbg.wire.session import Stopped


async def click(app, pilot, widget: Widget, word: str) -> None:
    """Click the first letter of a word that is drawn in a widget."""
    region = widget.region
    lines = screen(app).splitlines()[region.y : region.bottom]
    y, line = next((n, line) for n, line in enumerate(lines) if word in line)
    await pilot.click(offset=(line.index(word) + word.rfind(" m") + 1, region.y + y))


@pytest.mark.parametrize(
    ("pane", "word", "sent"),
    [
        ("#ledger", "A1  use #1", "until backward middle_linear.weight#1"),
        ("#graph", "<- middle#1", "until backward middle#1"),
    ],
)
async def test_a_click_on_what_is_to_come_runs_there(pane: str, word: str, sent: str) -> None:
    async with opened() as (app, session, pilot):
        await click(app, pilot, app.query_one(pane), word)
        await until(pilot, lambda: session.sent == [sent])


async def test_a_click_on_what_has_been_goes_there() -> None:
    ledger = tuple(replace(row, position={"A3": 15, "A2": 17}.get(row.term)) for row in STOP.ledger)
    graph = tuple(replace(node, forward_position=n, backward_position=20 - n) for n, node in enumerate(STOP.graph))
    async with opened(stop=replace(STOP, ledger=ledger, graph=graph)) as (app, session, pilot):
        for pane, word, line in (
            ("#ledger", "A3  use #3", "goto 15"),
            ("#graph", "-> middle#3", "goto 4"),
            ("#graph", "<- middle#3", "goto 16"),
        ):
            await click(app, pilot, app.query_one(pane), word)
            await until(pilot, lambda line=line: session.sent == [line] and not app.busy)
            session.sent.clear()
            session.say(Stopped(replace(STOP, ledger=ledger, graph=graph)))
            await until(pilot, lambda: app.situation.graph == graph)
        await click(app, pilot, app.query_one("#ledger"), "A2  use #2")
        await until(pilot, lambda: "backward middle_linear.weight#2: you are here" in screen(app))


async def test_a_click_on_what_is_not_known_any_more_says_so() -> None:
    async with opened() as (app, session, pilot):
        await click(app, pilot, app.query_one("#ledger"), "A3  use #3")
        await until(pilot, lambda: "backward middle_linear.weight#3 has been: S and N go back" in screen(app))
        await click(app, pilot, app.query_one("#graph"), "<- middle#3")
        await until(pilot, lambda: "backward middle#3 has been" in screen(app))
        await click(app, pilot, app.query_one("#graph"), "input_linear")
        await click(app, pilot, app.query_one("#ledger"), "running sum")
        await pilot.pause(0.1)
        assert session.sent == []


async def test_the_wheel_scrolls() -> None:
    rows = tuple(Row("partial", f"A{n}", norm=1.0, here=n == 60) for n in range(60, 0, -1))
    async with opened(stop=replace(STOP, ledger=rows)) as (app, _, pilot):
        ledger = app.query_one(Ledger)
        assert ledger.scroll_offset.y == 0
        await pilot._post_mouse_events([MouseScrollDown], ledger, (5, 5))
        await until(pilot, lambda: ledger.scroll_offset.y > 0 and "A60" not in screen(app))
