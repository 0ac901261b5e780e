"""The append-only history of events: the only state there is. What is kept obeys a budget."""

from collections import OrderedDict
from collections.abc import Sequence

from backpropdbg.events import BackwardStarted, Event, Held, handles

DEFAULT_BUDGET = 256 * 2**20
MAX_EVENTS = 50_000
MOST_IN_ONE = 200_000


class Trace:
    """Events by position, from 0.

    Args:
        budget: bytes of tensors to keep. Beyond it the oldest keep their norms and say "not kept"; what the newest
            backward (or, without one, the iteration) needs is kept in any case.
        max_events: beyond this many the oldest iterations are forgotten whole; of one that has MOST_IN_ONE by itself,
            all but its newest backward.
        statistics: measure the norm of a tensor before it is let go (one pass over its bytes).
    """

    def __init__(self, budget: int = DEFAULT_BUDGET, max_events: int = MAX_EVENTS, *, statistics: bool = True) -> None:
        self._events: list[Event] = []
        self._base = 0
        self._budget, self._max_events, self._statistics = budget, max_events, statistics
        # An OrderedDict: taking the first of a dict gets slower with each one taken.
        self._kept: OrderedDict[int, tuple[Held, int]] = OrderedDict()
        self._needed = 0
        self._bytes = 0
        self._starts: dict[int, int] = {}

    def __len__(self) -> int:
        return self._base + len(self._events)

    @property
    def first(self) -> int:
        """Position of the oldest event that is still known."""
        return self._base

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors that are kept."""
        return self._bytes

    def append(self, event: Event) -> int:
        """Add an event; return its position."""
        events, kept = self._events, self._kept
        position = self._base + len(events)
        events.append(event)
        number = event.iteration
        if number not in self._starts:
            self._starts[number] = self._needed = position
        elif isinstance(event, BackwardStarted):
            self._needed = position
        for held in handles(event):
            if held.kept:
                # A handle that is used again lives as long as the newest event that shows it.
                if kept.pop(id(held), None) is None:
                    self._bytes += held.nbytes
                kept[id(held)] = (held, position)
        if self._bytes > self._budget:
            self._drop_tensors()
        if len(events) > self._max_events:
            self._forget(number)
        return position

    def __getitem__(self, position: int) -> Event:
        if position < self._base:
            raise IndexError(f"no event {position}: the oldest that is still known is {self._base}")
        return self._events[position - self._base]

    def iteration(self, number: int, until: int | None = None) -> Sequence[Event]:
        """Return the events of one iteration, up to and with position `until`."""
        start = self._starts.get(number)
        if start is None:
            return []
        end = len(self) if until is None else until + 1
        following = self._starts.get(number + 1)
        if following is not None:
            end = min(end, following)
        return self._events[max(start, self._base) - self._base : end - self._base]

    def _drop_tensors(self) -> None:
        while self._bytes > self._budget and self._kept:
            key = next(iter(self._kept))
            held, shown = self._kept[key]
            if shown >= self._needed:
                return
            del self._kept[key]
            self._bytes -= held.nbytes
            held.drop(self._statistics)

    def _forget(self, current: int) -> None:
        oldest = min(self._starts)
        if oldest >= current and len(self._events) < MOST_IN_ONE:
            return
        # Of a current iteration without end, keep what the newest backward needs.
        end = self._starts.get(oldest + 1, self._base) if oldest < current else self._needed
        gone = end - self._base
        for held in (h for event in self._events[:gone] for h in handles(event)):
            kept = self._kept.get(id(held))
            if kept is not None and kept[1] < end:
                del self._kept[id(held)]
                self._bytes -= held.nbytes
        del self._events[:gone]
        self._base = end
        del self._starts[oldest]
        self._starts.setdefault(current, end)
