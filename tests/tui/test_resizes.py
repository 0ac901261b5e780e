"""The size that is told last is the size the terminal has."""

import asyncio
import signal
from collections.abc import Iterator

import pytest

from backpropdbg.tui.terminal import in_turn

Told = list[int]


@pytest.fixture
def told() -> Iterator[Told]:
    """What a handler told that reads a size and tells it, and is hit by the next resize between the two."""
    told: Told = []
    size = 0

    def resized(number: int, frame: object) -> None:
        nonlocal size
        size += 1
        seen = size
        if seen < 5:
            signal.raise_signal(signal.SIGWINCH)
        told.append(seen)

    before = signal.signal(signal.SIGWINCH, resized)
    yield told
    signal.signal(signal.SIGWINCH, before)


async def drain(told: Told) -> None:
    signal.raise_signal(signal.SIGWINCH)
    for _ in range(5000):
        if len(told) < 5:
            await asyncio.sleep(0.001)


def test_the_last_size_is_told_last(told: Told) -> None:
    asyncio.run(drain(told))
    assert told == [5, 4, 3, 2, 1]  # what a plain handler does


def test_a_handler_runs_in_its_turn(told: Told) -> None:
    async def play() -> None:
        in_turn("SIGWINCH")
        await drain(told)

    asyncio.run(play())
    assert told == [1, 2, 3, 4, 5]


def test_no_handler_and_no_such_signal_are_left_alone() -> None:
    async def play() -> None:
        in_turn("SIGWINCH")
        in_turn("SIGNONE")

    before = signal.getsignal(signal.SIGWINCH)
    asyncio.run(play())
    assert signal.getsignal(signal.SIGWINCH) == before
