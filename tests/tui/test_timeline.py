"""The timeline: what its rows say, its keys and clicks, and that no number breaks it."""

import math

import pytest
from fake_session import MOMENTS, STOP
from msgspec.structs import replace
from test_app import opened, screen, until

from backpropdbg.questions import Moment, Timeline
from backpropdbg.tui.results import Results
from backpropdbg.tui.timeline import TimelinePane, column_of, heights, loss_cells, norm_cells, use_cells
from backpropdbg.wire.session import Ended, Stopped


def lines(app) -> list[str]:
    """The six lines of the timeline, as they stand on the screen."""
    found = screen(app).splitlines()
    top = next(n for n, line in enumerate(found) if line.startswith("╭─ timeline "))
    return [line.strip(" │") for line in found[top + 1 : top + 7]]


async def test_rows_on_the_screen() -> None:
    async with opened() as (app, session, pilot):
        assert session.asked == [] and "timeline" not in screen(app)
        await pilot.press("t")
        await until(pilot, lambda: "59.92" not in lines(app)[2] and "30.0000" in screen(app))
        rule, marks, upper, lower, norm, uses = lines(app)
        assert rule.startswith("────v─────N─") and rule.endswith("─ 3 of 1-6")
        assert marks.split() == ["b", "!", "B", "breakpoint", "1,", "2"]
        assert upper.split() == ["loss", "⣿", "⣶", "⣤", "30.0000"]
        assert lower.split() == ["⣿", "⣿", "⣿", "⣀", "!"]
        assert norm.split() == ["|grad|", "⣿", "-", "0", "!", "⣀", "?", "0"]
        assert uses.split() == ["uses", "3", "0", "+", "1", "2", "1", "12"]
        assert "graph" not in screen(app)
        await pilot.press("t")
        await until(pilot, lambda: "timeline" not in screen(app) and "fwd " in screen(app) and app.focused is None)


@pytest.mark.parametrize(
    ("key", "command"),
    [("left", "goto iteration 2"), ("right", "goto iteration 4"), ("home", "goto iteration 1"),
     ("end", "goto iteration 6"), ("s", "step"), ("N", "rn")],
)  # fmt: skip
async def test_keys_on_it(key: str, command: str) -> None:
    async with opened() as (app, session, pilot):
        await pilot.press("t")
        await until(pilot, lambda: app.query_one(TimelinePane).timeline is not None)
        await pilot.press(key)
        await until(pilot, lambda: session.sent == [command] and not app.busy)
        assert isinstance(app.focused, TimelinePane)
        await pilot.press("escape", "right")
        await until(pilot, lambda: session.sent == [command, "element 2,1"])


async def test_it_ends_at_its_ends() -> None:
    async with opened() as (app, session, pilot):
        session.moments = Timeline(3, 3, 3, 3, (Moment(3, 0, 1.0, 1, 1.0, "value", until=3),))
        await pilot.press("t")
        await until(pilot, lambda: app.query_one(TimelinePane).timeline is not None)
        for key in ("left", "right"):
            app.hint("")
            await pilot.press(key)
            await until(pilot, lambda: app.query_one(Results).text == "the timeline ends here")
        assert session.sent == []


async def test_clicks_jump() -> None:
    async with opened() as (app, session, pilot):
        await pilot.press("t")
        await until(pilot, lambda: "timeline" in screen(app) and app.query_one(TimelinePane).timeline is not None)
        await pilot.click(TimelinePane, offset=(2 + 9 + 2 * 4, 3))
        await until(pilot, lambda: session.sent == ["goto iteration 5"] and not app.busy)
        for x in (1, 2 + 9 + 2 * 6, 110):
            await pilot.click(TimelinePane, offset=(x, 3))
        assert session.sent == ["goto iteration 5"]


async def test_a_tall_screen_shows_it_always_and_a_small_one_as_a_tab() -> None:
    async with opened((120, 50)) as (app, session, pilot):
        await until(pilot, lambda: "3 of 1-6" in screen(app) and "fwd " in screen(app))
        asked = len(session.asked)
        session.say(Stopped(replace(STOP, position=20)))
        await until(pilot, lambda: len(session.asked) > asked)
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: "4 timeline" in screen(app) and "3 of 1-6" not in screen(app))
        await pilot.press("4")
        await until(pilot, lambda: "3 of 1-6" in screen(app) and "-1.253" not in screen(app))
        assert all(part in screen(app) for part in ("fwd ", "pulls up, cancels 89 %", "No weight moves"))
        await pilot.press("1")
        await until(pilot, lambda: "3 of 1-6" not in screen(app))


async def test_it_asks_for_as_many_as_have_room_and_nothing_once_all_is_over() -> None:
    async with opened((120, 50)) as (app, session, pilot):
        await until(pilot, lambda: session.asked != [])
        pane = app.query_one(TimelinePane)
        assert session.asked[-1].columns == pane.columns == pane.size.width - 9 - 30
        session.say(Ended("killed", -9))
        await until(pilot, lambda: app.ended)
        asked = len(session.asked)
        await pilot.resize_terminal(140, 50)
        await pilot.pause(0.1)
        assert len(session.asked) == asked


async def test_ten_thousand_iterations_in_as_many_columns_as_there_are() -> None:
    many = tuple(Moment(100 * n + 1, 0, 1.0 / (n + 1), n % 12, 1.0, "value", until=100 * n + 100) for n in range(79))
    async with opened((120, 50)) as (app, session, pilot):
        session.moments = Timeline(1, 7900, 4242, 7900, many)
        session.say(Stopped(replace(STOP, iteration=4242)))
        await until(pilot, lambda: "4242 of 1-7900" in screen(app))
        assert lines(app)[0].index("v") == 42 == column_of(many, 4242)
        assert lines(app)[0].index("N") == 78
        await pilot.click(TimelinePane, offset=(2 + 9 + 42, 3))
        await until(pilot, lambda: session.sent == ["goto iteration 4201"])


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("values", "bars"),
    [
        ([], []), ([None], [None]), ([NAN], [None]), ([3.0], [4]), ([3.0, 3.0, None], [4, 4, None]),
        ([0.0, 1.0], [1, 8]), ([INF, 0.0, 7.0, -INF, 3.0], [None, 1, 8, None, 4]), ([-1e308, 1e308], [4, 4]),
        ([1e-4, 1e-2, 1.0], [1, 4, 8]), ([1.05, 1e9, 1e9], [1, 8, 8]), ([-1.0, 100.0], [1, 8]),
    ],
)  # fmt: skip
def test_heights(values, bars) -> None:
    found = heights(values, 8)
    assert [b is None for b in found] == [b is None for b in bars]
    assert all(a == b or abs(a - b) <= 1 for a, b in zip(found, bars, strict=True) if a is not None)


def test_a_row_has_a_cell_for_each_moment_whatever_it_holds() -> None:
    for loss in (None, 0.0, -1.0, 1e300, "NaN", "Infinity", "-Infinity"):
        for norm in (None, 0.0, 2.0, "NaN", "Infinity"):
            for state in ("value", "none", "pending", "not computed", "not kept"):
                made = Moment(1, 0, loss, 3, norm if state == "value" else None, state)
                for moments in ((), (made,), (made, *MOMENTS.moments)):
                    for row in (*loss_cells(moments), norm_cells(moments), use_cells(moments)):
                        assert len(row) == len(moments)


def test_zero_none_pending_and_non_finite_gradients_differ() -> None:
    kinds = [
        Moment(n, n, None, 0, None, state) for n, state in enumerate(("none", "pending", "not computed", "not kept"))
    ]
    kinds += [Moment(5, 5, None, 0, size, "value") for size in (0.0, "NaN", 1.0)]
    assert norm_cells(kinds) == "-?x~0!⣤" and len(set(norm_cells(kinds))) == 7
