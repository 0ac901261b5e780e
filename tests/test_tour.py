"""`demo --tour` in a real terminal: it plays, pauses, hands over, and stays open at its end."""

import os
import sys
from collections.abc import Iterator

import pexpect
import pytest

PATIENCE = 60


@pytest.fixture
def tour() -> Iterator[pexpect.spawn]:
    child = pexpect.spawn(
        sys.executable,
        ["-m", "backpropdbg", "demo", "--tour"],
        env={**os.environ, "TERM": "xterm-256color"},
        dimensions=(36, 120),
        encoding="utf-8",
        timeout=PATIENCE,
    )
    yield child
    child.close(force=True)


def test_the_tour_plays_until_somebody_takes_over(tour):
    tour.expect("What does backward do to its weight each time")
    tour.send(" ")
    tour.expect("paused: space goes on")
    tour.send("n")
    tour.expect("Forward use #1")
    tour.send(" ")
    tour.expect("Think of them as three separate weights")  # it went on from where it was
    tour.send("q")
    tour.expect(pexpect.EOF)
    tour.close()
    assert tour.exitstatus == 0
