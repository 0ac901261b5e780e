"""Long unrollings in a list: a few neighbours that come again and again become one line, where all are alike."""

from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

LONGEST = 400  # of what comes again, in nodes
LEAST = 5  # times, before it is worth a line
SHORT = 3  # fewer than these are not put together
_TRIES = 4


class Repeat(NamedTuple):
    """From `first` on, `period` nodes come `times` times."""

    first: int
    period: int
    times: int


Block = Repeat  # what one line stands for; a single node comes once


def repeats(marks: Sequence[Hashable]) -> list[Repeat]:
    """Return what comes again at once, often enough, from left to right; the shortest period counts.

    Example: of "xababababab" it is `Repeat(1, 2, 5)`.
    """
    numbers: dict[Hashable, int] = {}
    ids = [numbers.setdefault(mark, len(numbers)) for mark in marks]
    following, newest = [len(ids)] * len(ids), dict[int, int]()
    for at in range(len(ids) - 1, -1, -1):
        following[at] = newest.get(ids[at], len(ids))
        newest[ids[at]] = at
    found, at = [], 0
    while at < len(ids):
        period = next(_periods(ids, following, at), 0)
        times = 1
        while period and ids[at : at + period] == ids[at + times * period : at + (times + 1) * period]:
            times += 1
        if period:
            found.append(Repeat(at, period, times))
        at += period * times or 1
    return found


def _periods(ids: list[int], following: list[int], at: int) -> Iterator[int]:
    """Yield how long what comes `LEAST` times from here on may be, the shortest first."""
    again = following[at]
    for _ in range(_TRIES):
        period = again - at
        if again >= len(ids) or period > LONGEST:
            return
        if ids[at : at + period * (LEAST - 1)] == ids[again : again + period * (LEAST - 1)]:
            yield period
        again = following[again]


def blocks(states: Sequence[str], found: Sequence[Repeat], here: int) -> list[Block]:
    """Return the lines: each node by itself, but for the middle of a repeat, as far as its repetitions are alike.

    The first and the last repetition stay, and those around the node `here` (-1: there is none).
    """
    lines: list[Block] = []
    at = 0
    for first, period, times in found:
        lines += [Block(n, 1, 1) for n in range(at, first)]
        lines += _of_repeat(states, Repeat(first, period, times), here)
        at = first + period * times
    return lines + [Block(n, 1, 1) for n in range(at, len(states))]


def _of_repeat(states: Sequence[str], repeat: Repeat, here: int) -> list[Block]:
    first, period, times = repeat
    near = (here - first) // period if here >= first else -2
    apart = {0, times - 1, near - 1, near, near + 1}
    lines: list[Block] = []
    turn = 0
    while turn < times:
        end, state = turn, states[first + turn * period]
        alike = [state] * period
        while end < times and end not in apart and states[first + end * period : first + (end + 1) * period] == alike:
            end += 1
        start = first + turn * period
        if end - turn >= SHORT:
            lines.append(Block(start, period, end - turn))
        else:
            end = max(end, turn + 1)
            lines += [Block(n, 1, 1) for n in range(start, first + end * period)]
        turn = end
    return lines
