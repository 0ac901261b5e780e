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


class Stretch(NamedTuple):
    """A part of the list: one line for each of `period` nodes; or, if they come more than once, one line for all."""

    first: int
    period: int
    times: int

    @property
    def lines(self) -> int:
        """How many lines that makes."""
        return self.period if self.times == 1 else 1

    @property
    def end(self) -> int:
        """The node after the last one."""
        return self.first + self.period * self.times


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


def stretches(states: Sequence[str], found: Sequence[Repeat], here: int) -> list[Stretch]:
    """Return the parts of the list: the middle of a repeat is one line, as far as its repetitions are alike.

    The first and the last repetition stay, and those around the node `here` (-1: there is none).
    """
    together = [one for repeat in found for one in _of_repeat(states, repeat, here)]
    parts, at = [], 0
    for one in [*together, Stretch(len(states), 0, 1)]:
        if one.first > at:
            parts.append(Stretch(at, one.first - at, 1))
        parts += [one] if one.period else []
        at = one.end
    return parts


def _of_repeat(states: Sequence[str], repeat: Repeat, here: int) -> Iterator[Stretch]:
    """Yield what of a repeat is put together."""
    first, period, times = repeat
    near = (here - first) // period if here >= first else -2
    apart = {0, times - 1, near - 1, near, near + 1}
    turn = 0
    while turn < times:
        end, alike = turn, [states[first + turn * period]] * period
        while end < times and end not in apart and states[first + end * period : first + (end + 1) * period] == alike:
            end += 1
        if end - turn >= SHORT:
            yield Stretch(first + turn * period, period, end - turn)
        turn = max(end, turn + 1)


def cut(parts: Sequence[Stretch], first: int, count: int) -> Iterator[Stretch]:
    """Yield what is on some lines: a node, or nodes that are put together."""
    for part in parts:
        if first < part.lines and part.times == 1:
            last = min(part.lines, first + count)
            yield from (Stretch(part.first + n, 1, 1) for n in range(max(0, first), last))
        elif first < part.lines:
            yield part
        begun = max(0, part.lines - max(0, first))
        count -= min(count, begun)
        first = max(0, first - part.lines)
        if count <= 0:
            return


def line_of(parts: Sequence[Stretch], node: int) -> int:
    """Return the line that a node is on; -1 for a node that there is not."""
    before = 0
    for part in parts:
        if part.first <= node < part.end:
            return before + (node - part.first if part.times == 1 else 0)
        before += part.lines
    return -1
