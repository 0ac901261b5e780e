"""Keys for tensors with more than two dimensions: axes, slices, the histogram; a click and arrows follow."""

import pytest
from fake_session import STOP
from msgspec.structs import replace
from test_app import opened, screen, until

from backpropdbg.situation import Matrix
from backpropdbg.tui.matrix import MatrixPane
from backpropdbg.tui.plane import Plane, following
from backpropdbg.tui.select import neighbour
from backpropdbg.wire.session import Stopped

SHAPE = (3, 4, 3)
CUT = replace(
    STOP, shape=SHAPE, element=(2, 1, 0), axes=(0, 2),
    matrices=(Matrix("partial", "A2  partial", SHAPE), Matrix("weight", "weight", SHAPE, scale="weight")),
)  # fmt: skip


def test_a_plane_and_its_elements() -> None:
    plane = Plane(SHAPE, (0, 2), (2, 1, 0))
    assert (plane.size, plane.others, plane.title) == ((3, 3), (1,), "[r,1,c]")
    assert all(plane.cell(plane.element(r, c)) == (r, c) for r in range(3) for c in range(3))
    assert plane.cell((2, 3, 0)) is None and plane.cell((2, 0)) is None
    turned = Plane(SHAPE, (1, 0), (2, 1, 0))
    assert (turned.size, turned.title, turned.element(3, 1)) == ((4, 3), "[c,r,0]", (1, 3, 0))
    for axes, shape in (((), SHAPE), ((0, 1), (3, 4)), ((0, 3), SHAPE)):
        flat = Plane(shape, axes, (0,) * len(shape))
        assert not flat.cuts and flat.title == "" and flat.others == ()


@pytest.mark.parametrize(("shape", "ways"), [(SHAPE, [(0, 1), (0, 2), (1, 2), ()]), ((3, 4), [()] * 2), ((), [()])])
def test_all_pairs_come_in_turn(shape, ways) -> None:
    axes = ()
    for way in ways:
        axes = following(shape, axes)
        assert axes == way
    assert following(shape, (9, 9)) == ()


def test_neighbours_in_a_plane() -> None:
    ways = [neighbour(SHAPE, (2, 1, 0), key, (0, 2)) for key in ("up", "down", "left", "right")]
    assert ways == [(1, 1, 0), None, None, (2, 1, 1)]


async def test_keys_choose_axes_and_slices() -> None:
    async with opened(stop=CUT) as (app, session, pilot):
        await until(pilot, lambda: "A2  partial [r,1,c]" in screen(app))
        await pilot.press("x", ".", "{", "right", "d")
        await until(pilot, lambda: len(session.sent) == 5)
        assert session.sent == ["axes 1,2", "element 2,2,0", "element 2,0,0", "element 2,1,1", "histogram partial"]
        session.sent.clear()
        await pilot.click("#matrix-0", offset=(1 + 1 + 7 + 3, 1 + 1 + 1))
        await until(pilot, lambda: session.sent == ["element 1,1,1"])


async def test_a_matrix_has_no_more_axes() -> None:
    async with opened() as (app, session, pilot):
        await pilot.press("x")
        await until(pilot, lambda: "no more than two axes" in screen(app))
        await pilot.press(".")
        await until(pilot, lambda: "nothing is hidden: x shows" in screen(app))
        assert session.sent == []


async def test_cells_stay_while_only_the_element_is_another_one() -> None:
    """Of another stop they would be wrong until the right ones come."""
    async with opened() as (app, session, pilot):
        pane = app.query_one("#matrix-0", MatrixPane)
        drawn: list[object] = []
        label = pane.label
        pane.label = lambda: (drawn.append(pane.window_shown), label())[1]
        session.say(Stopped(replace(STOP, element=(1, 1))))
        await until(pilot, lambda: pane.element == (1, 1))
        assert drawn and None not in drawn
        session.say(Stopped(replace(STOP, position=18)))
        await until(pilot, lambda: None in drawn and pane.window_shown is not None)
