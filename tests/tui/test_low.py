"""Screens too low for all: the command line and the keys stay, and nothing overlaps."""

from itertools import pairwise

import pytest
from fake_session import STOP
from msgspec.structs import replace
from test_app import opened, screen, until

from backpropdbg.tui.results import Results
from backpropdbg.wire.session import Stopped


@pytest.mark.parametrize("size", [(80, 24), (80, 18), (80, 16), (80, 14), (120, 12), (100, 30)])
async def test_the_command_line_stays_however_low_the_screen_is(size: tuple[int, int]) -> None:
    words = tuple(f"sentence {n} {'word ' * 30}" for n in range(6))
    async with opened(size, stop=None) as (app, session, pilot):
        session.say(Stopped(replace(STOP, explanation=words)))
        for text in ("", "one line", "\n".join(f"result {n}" for n in range(30))):
            await until(pilot, lambda: "sentence 0" in screen(app))
            app.query_one(Results).show(text)
            await until(pilot, lambda text=text: text.partition("\n")[0] in screen(app))
            lines = screen(app).splitlines()
            assert "(bpdb)" in lines[-2] and "quit" in lines[-1]
            assert "term " in screen(app), "the ledger shows"
            places = [app.query_one(f"#{name}").region for name in ("tiles", "explanation", "results", "bottom")]
            assert all(one.bottom <= other.y for one, other in pairwise(place for place in places if place.area))
