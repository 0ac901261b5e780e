"""A running program shows how far it is."""

from fake_session import STOP
from test_app import opened, screen, until

from backpropdbg.situation import Progress
from backpropdbg.tui.header import rate_text
from backpropdbg.wire.session import Ended, Reached, Stopped


def header(app) -> str:
    return screen(app).splitlines()[0]


async def test_iterations_rate_and_loss_until_the_next_stop() -> None:
    async with opened() as (app, session, pilot):
        session.command("hang")
        await until(pilot, lambda: "running" in header(app))
        session.say(Reached(Progress(900, 900, 57, 0.00123, 45.6)))
        await until(pilot, lambda: "iteration 57" in header(app))
        assert all(word in header(app) for word in ("running", "45.6 it/s", "loss 1.2e-3", "i interrupts"))
        session.say(Reached(Progress(901, 901, 58, "NaN", 0.25)))
        await until(pilot, lambda: "loss NaN!" in header(app) and "4 s/it" in header(app))
        await pilot.press("i")
        await until(pilot, lambda: "BACKWARD" in header(app))
        session.say(Reached(Progress(902, 902, 59)), Stopped(STOP))  # it was on its way
        await until(pilot, lambda: "BACKWARD" in header(app) and not app.running)
        assert session.sent == ["hang", "<interrupt>"] and "59 " not in header(app).replace("59.92", "")


async def test_a_look_through_the_past_tells_where_it_is() -> None:
    async with opened(size=(80, 24)) as (app, session, pilot):
        session.command("hang")
        session.say(Reached(Progress(1234, 99999, 3, looking=True)))
        await until(pilot, lambda: "event 1234 of 99999" in header(app))


async def test_before_the_first_stop_and_after_the_end() -> None:
    async with opened(stop=None) as (app, session, pilot):
        session.say(Reached(Progress(5, 5, 2)))
        await until(pilot, lambda: "iteration 2" in header(app))
        session.say(Ended("killed", -9), Reached(Progress(6, 6, 3)))
        await until(pilot, lambda: "ended" in header(app))
        assert "iteration" not in header(app)


def test_rates() -> None:
    assert [rate_text(x) for x in (1234.5, 45.62, 1.0, 0.5, 0.013)] == [
        "1.23e+03 it/s", "45.6 it/s", "1 it/s", "2 s/it", "76.9 s/it",
    ]  # fmt: skip
