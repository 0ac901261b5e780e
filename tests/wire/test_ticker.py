"""How far a running program has come: told while it runs, and not at a stop."""

from backpropdbg.situation import Progress
from backpropdbg.wire.session import Reached, Running, Stopped
from backpropdbg.wire.ticker import Ticker


def test_a_running_program_tells_how_far_it_is(probe) -> None:
    one = probe().start()
    one.until(Stopped)
    one.session.command("spin")
    one.until(Running)
    for _ in range(2):
        assert one.until(Reached).progress == Progress(1, 90, 7, "NaN")
    one.session.interrupt()
    one.until(Stopped)


def test_iterations_a_second_are_those_of_the_last_seconds() -> None:
    found: list[Progress] = []
    asked = iter(
        [Progress(0, 0, 1), Progress(5, 5, 11), None, Progress(9, 9, 31), Progress(9, 9, 31), Progress(9, 9, 31)]
    )
    ticker = Ticker(lambda: next(asked), found.append)
    for now in (10.0, 11.0, 11.5, 13.0, 15.0, 17.5):
        ticker.tick(now)
    assert [p.rate for p in found] == [None, 10.0, 10.0, 20 / 4, 30 / 7.5]
