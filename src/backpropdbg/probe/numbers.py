"""The numbers of uses: the N-th edge into a parameter that a backward of this iteration reached."""

import threading
from collections.abc import Iterable, Sequence
from itertools import count, islice, repeat

from backpropdbg.probe.uses import Edge, kind_of, number_of, slot_of

_MOST = 100_000


class _Thread(threading.local):
    """Stands for the thread that asks: each counts its own sequence numbers, and their idents come again."""

    def __init__(self) -> None:
        self.own = next(_threads)


_threads = count()
_thread = _Thread()


class Numbers:
    """Counts the edges into each parameter through all runs of one iteration.

    A node that fires again (`retain_graph`) keeps its number; what no run has reached before goes on counting.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, int, int, str], int] = {}
        self._newest: dict[str, int] = {}

    def new_iteration(self) -> None:
        """Count from 1 again."""
        self._known, self._newest = {}, {}

    def of(self, names: Iterable[str], edges: Sequence[Edge]) -> list[int]:
        """The numbers of the edges of one run, which come with the names of their parameters, in forward order."""
        known, newest, found = self._known, self._newest, []
        keys = zip(names, repeat(_thread.own), map(number_of, edges), map(slot_of, edges), map(kind_of, edges))
        for key in keys:
            number = known.get(key)
            if number is None:
                name = key[0]
                newest[name] = known[key] = number = newest.get(name, 0) + 1
            found.append(number)
        if len(known) > _MOST:  # an iteration without end: nobody runs backward through the older half any more
            self._known = dict(islice(self._known.items(), _MOST // 2, None))
        return found
