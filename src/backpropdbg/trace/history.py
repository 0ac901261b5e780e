"""The append-only history of events: the only state there is. What is kept obeys a budget."""

import bisect
import linecache
from collections import deque
from collections.abc import Sequence
from typing import Any

from backpropdbg.events import HANDLES, BackwardStarted, BackwardUse, Event, GroupSummed, Held, PartialEdited, handles
from backpropdbg.trace.file import File, Names
from backpropdbg.trace.printed import MOST, Pieces, Printed

DEFAULT_BUDGET = 256 * 2**20
MAX_EVENTS = 50_000
MOST_IN_ONE = 200_000
LAST = 32
_AT_ONCE = 16  # of a full history, the part that is forgotten in one go
_PARTIALS = {BackwardUse, GroupSummed, PartialEdited}


class Trace:
    """Events by position, from 0.

    Args:
        budget: bytes of tensors to keep. Beyond it the oldest keep their norms and say "not kept". Of the newest
            backward (or, without one, the iteration) everything is kept in any case, but where that alone is too much,
            of each parameter's partials only the last LAST; those before are added up, so that the running sum is known
            to the last bit.
        max_events: beyond this many the oldest iterations are forgotten whole; of one that has MOST_IN_ONE by itself,
            all but its newest backward.
        statistics: measure the norm of a tensor before it is let go (one pass over its bytes).
        file: where all is written too. What is let go or forgotten here comes back from there.

    Attributes:
        printed: what the program printed meanwhile.
    """

    def __init__(
        self,
        budget: int = DEFAULT_BUDGET,
        max_events: int = MAX_EVENTS,
        *,
        statistics: bool = True,
        file: File | None = None,
    ) -> None:
        self.printed: Pieces = Printed()
        self._events: list[Event] = []
        self._base = 0
        self._budget, self._max_events, self._statistics = budget, max_events, statistics
        self._kept: deque[Held] = deque()  # an entry for each time that an event shows a tensor in memory
        self._passed = self._spare = 0  # how many entries went; how many of the others the newest backward can spare
        self._entries: dict[int, int] = {}  # by iteration: how many there were before it
        self._needed = 0
        self._partials: dict[str, deque[int]] = {}  # positions in the newest backward, by parameter, before _noted
        self._noted = 0
        self._sums: dict[str, tuple[Held, Held]] = {}  # by parameter: the last that went, and the sum up to it
        self._bytes = 0
        self._starts: dict[int, int] = {}
        self._names: list[tuple[int, Names]] = []  # from which position on
        self._file = file

    def __len__(self) -> int:
        return self._base + len(self._events)

    @property
    def first(self) -> int:
        """Position of the oldest event that is still known."""
        return self._base if self._older is None else 0

    @property
    def _older(self) -> File | None:
        """The file, where it knows what is forgotten here."""
        return self._file if self._base and self._file is not None and self._file.alive else None

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors that are kept."""
        return self._bytes

    def append(self, event: Event) -> int:
        """Add an event; return its position."""
        events, kind, iteration = self._events, type(event), event.iteration
        position = self._base + len(events)
        events.append(event)
        if iteration not in self._starts or kind is BackwardStarted:
            if iteration not in self._starts:
                self._starts[iteration], self._entries[iteration] = position, self._passed + len(self._kept)
            self._needed = self._noted = position
            self._spare = len(self._kept)
            self._let_sums_go()
        shown = HANDLES[kind](event)
        if self._file is not None:
            self._file.add(position, event, shown)
        if shown:
            for held in shown:
                if held.in_memory:
                    if not held.shown:
                        self._bytes += held.nbytes
                    held.shown += 1  # what is shown again lives as long as the newest event that shows it
                    self._kept.append(held)
            if self._bytes > self._budget:
                self._drop_tensors()
                if kind in _PARTIALS:
                    self._fold_partials()
        if len(events) > self._max_events:
            self._forget(iteration)
        return position

    def __getitem__(self, position: int) -> Event:
        if position < self._base:
            if self._older is None or position < 0:
                raise IndexError(f"no event {position}: the oldest that is still known is {self.first}")
            return self._older.events(position, position + 1)[0]
        return self._events[position - self._base]

    def iterations(self) -> list[int]:
        """Numbers of the iterations that are still known, the oldest first."""
        known = list(self._starts)
        older = [] if self._older is None else [n for n in self._older.iterations() if n not in self._starts]
        return [*older, *known]

    def start(self, number: int) -> int | None:
        """Position of an iteration's first event that is still known; None where it is not."""
        found = self._starts.get(number)
        if self._older is not None and (found is None or found <= self._base):
            return self._older.start(number)
        return None if found is None else max(found, self._base)

    def iteration(self, number: int, until: int | None = None) -> Sequence[Event]:
        """Return the events of one iteration, up to and with position `until`."""
        start = self.start(number)
        if start is None:
            return []
        end = len(self) if until is None else until + 1
        following = self.start(number + 1)
        if following is not None:
            end = min(end, following)
        return self.between(start, end)

    def between(self, start: int, end: int) -> Sequence[Event]:
        """Return the events from one position up to another, which is not among them; those that are still known."""
        base = self._base
        if start >= base:
            return self._events[start - base : end - base]
        older = [] if self._older is None else self._older.events(start, min(end, base))
        return [*older, *self._events[: max(end - base, 0)]]

    def find(self, kinds: tuple[type[Event], ...]) -> list[tuple[int, int]]:
        """Position and iteration of every event of one of these kinds that is known in memory."""
        known = enumerate(self._events, self._base)
        return [(position, event.iteration) for position, event in known if isinstance(event, kinds)]

    def note_output(self, stream: str, text: str) -> None:
        """The program prints this now; may be called in any thread."""
        self.printed.note(len(self), stream, text)
        if self._file is not None:
            self._file.print(len(self), stream, text)

    def hear(self, printed: Printed) -> None:
        """Take over what the program printed before the first event."""
        self.printed = printed
        if self._file is not None:
            for stream, text in printed.tail(0, MOST):
                self._file.print(0, stream, text)

    def learn(self, names: Names) -> None:
        """From the newest event on, the parameters are called so."""
        position = max(0, len(self) - 1)
        while self._names and self._names[-1][0] >= position:
            self._names.pop()
        self._names.append((position, names))
        if self._file is not None:
            self._file.learn(position, names)

    @property
    def names(self) -> Names:
        """What the parameters are called now."""
        return self._names[-1][1] if self._names else {}

    def names_at(self, position: int) -> Names:
        """What the parameters were called at a position."""
        if self._names and self._names[-1][0] <= position:
            return self._names[-1][1]
        at = bisect.bisect_right(self._names, position, key=lambda pair: pair[0])
        return self._names[at - 1][1] if at else {}

    def lines(self, path: str) -> Sequence[str]:
        """The lines of a file of the program's; none where it can't be read."""
        linecache.checkcache(path)
        return linecache.getlines(path)

    def news(self, position: int) -> tuple[str, ...]:
        """What there is to say of the history itself at a position; of one in memory, nothing."""
        return ()

    def _drop_tensors(self) -> None:
        while self._bytes > self._budget and self._spare > 0:
            held = self._pass_by()
            if held is not None:
                if self._file is not None:
                    self._file.settle(held)
                held.drop(self._statistics)

    def _pass_by(self) -> Held | None:
        """Take out the oldest entry; return its tensor where no newer event shows it: it does not count any more."""
        held = self._kept.popleft()
        self._passed += 1
        self._spare -= 1
        if held.shown != 1:
            held.shown = max(0, held.shown - 1)  # 0 where it was added up
            return None
        return self._uncounted(held)

    def _uncounted(self, held: Held) -> Held:
        self._bytes -= held.nbytes
        held.shown = 0
        return held

    def _fold_partials(self) -> None:
        """Of the newest backward, let those of a parameter go that are too many, and keep their sum."""
        first, self._noted = max(self._noted, self._base), len(self)
        for position, event in enumerate(self._events[first - self._base :], first):
            shown = handles(event) if type(event) in _PARTIALS else ()  # one, or none
            if not shown or not shown[0].in_memory:
                continue
            mine = self._partials.setdefault(_parameter_of(event), deque())
            mine.append(position)
            while self._bytes > self._budget and len(mine) > LAST:
                oldest = mine.popleft()
                for held in handles(self[oldest]):
                    if held.shown == 1:
                        self._add_up(self._uncounted(held), oldest)

    def _add_up(self, held: Held, position: int) -> None:
        """Let a partial of the newest backward go, and keep the sum up to it in the place of the one before."""
        if self._file is not None:
            self._file.settle(held)
        name = self._term_of(position)
        if name is None:
            held.drop(self._statistics)
            return
        last, before = self._sums.get(name, (None, None))
        total = held.fold(before, self._statistics)
        self._bytes += total.nbytes
        if last is not None and before is not None:
            last.sum_so_far = None
            self._bytes -= before.nbytes
        self._sums[name] = held, total

    def _term_of(self, position: int) -> str | None:
        """The parameter that this partial reaches by itself; None for one of a group, or where another flows on."""
        event, following = self[position], self[position + 1]
        if isinstance(event, GroupSummed):
            return event.parameter if event.group else None  # else the sum of terms, and none itself
        assert isinstance(event, (BackwardUse, PartialEdited))
        replaced = isinstance(following, PartialEdited) and following.use == event.use
        return None if event.use.group or replaced else event.use.parameter

    def _let_sums_go(self) -> None:
        """Another backward is the newest one now."""
        for last, total in self._sums.values():
            last.sum_so_far = None
            self._bytes -= total.nbytes
        self._sums.clear()
        self._partials.clear()

    def _forget(self, current: int) -> None:
        """Let the oldest iterations go, several at once; of a current one without end, all before its backward."""
        oldest = next(iter(self._starts))
        if oldest >= current and len(self._events) < MOST_IN_ONE:
            return
        if self._file is not None:
            self._file.flush()
        end, spared = self._needed, self._spare
        if oldest < current:
            room = len(self) - self._max_events + self._max_events // _AT_ONCE
            stays = next((number for number, start in self._starts.items() if start >= room), current)
            end, spared = self._starts[stays], self._entries[stays] - self._passed
        elif end <= self._base:  # a forward without end: nobody runs backward
            end = self._needed = self._base + len(self._events) // 2
            later = self._events[end - self._base :]
            spared = self._spare = len(self._kept) - sum(h.shown > 0 for event in later for h in handles(event))
        for _ in range(spared):
            self._pass_by()
        del self._events[: end - self._base]
        self._base = end
        for number in [number for number, start in self._starts.items() if start < end]:
            del self._starts[number], self._entries[number]
        self._starts.setdefault(current, end)
        self._entries.setdefault(current, self._passed)


def _parameter_of(event: Any) -> str:
    """The parameter that a partial, or the sum of a group, is of."""
    name: str = event.parameter if type(event) is GroupSummed else event.use.parameter
    return name
