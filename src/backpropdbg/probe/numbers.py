"""The numbers of uses: the N-th edge into a parameter that a backward of this iteration reached."""

import threading
from collections.abc import Iterable
from itertools import count, islice, repeat
from operator import itemgetter

from backpropdbg.probe.uses import Edge

_MOST = 100_000
_source = itemgetter(0, 1, 2)  # of an edge: the number and slot of its node, and its name


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
        self._known: dict[tuple[str, int, tuple[object, ...]], int] = {}
        self._newest: dict[str, int] = {}

    def new_iteration(self) -> None:
        """Count from 1 again."""
        self._known, self._newest = {}, {}

    def of(self, names: Iterable[str], edges: Iterable[Edge]) -> list[int]:
        """The numbers of the edges of one run, which come with the names of their parameters, in forward order."""
        known, newest, found = self._known, self._newest, []
        for key in zip(names, repeat(_thread.own), map(_source, edges), strict=False):
            number = known.get(key)
            if number is None:
                name = key[0]
                newest[name] = known[key] = number = newest.get(name, 0) + 1
            found.append(number)
        if len(known) > _MOST:  # an iteration without end: nobody runs backward through the older half any more
            self._known = dict(islice(self._known.items(), _MOST // 2, None))
        return found
