"""Tells a few times a second how far a running program has come, from a thread beside it: no event waits for that."""

import os
import threading
import time
from collections.abc import Callable

from msgspec.structs import replace

from backpropdbg.situation import Progress

EVERY = 0.3
_SPAN = 3.0


class Ticker:
    """Asks and tells while it goes.

    Args:
        ask: how far it is; None where there is nothing to tell. tell: gets that, with the iterations a second.
    """

    def __init__(self, ask: Callable[[], Progress | None], tell: Callable[[Progress], None]) -> None:
        self._ask, self._tell = ask, tell
        self._pid = os.getpid()
        self._going = threading.Event()
        self._seen: list[tuple[float, int]] = []  # when the program began to run, and the last seconds
        threading.Thread(target=self._run, name="backpropdbg-ticker", daemon=True).start()

    def go(self) -> None:
        """The program runs."""
        self._seen.clear()
        self._going.set()

    def rest(self) -> None:
        """It stands."""
        self._going.clear()

    def _run(self) -> None:
        while self._going.wait():
            time.sleep(EVERY)
            if self._going.is_set() and os.getpid() == self._pid:
                self.tick(time.monotonic())

    def tick(self, now: float) -> None:
        """Tell how far it is now."""
        found = self._ask()
        if found is None:
            return
        self._seen.append((now, found.iteration))
        while len(self._seen) > 3 and now - self._seen[2][0] > _SPAN:
            del self._seen[1]
        rates = [_rate(earlier, self._seen[-1]) for earlier in list(self._seen)[1::-1]]
        self._tell(replace(found, rate=next(filter(None, rates), None)))


def _rate(earlier: tuple[float, int], now: tuple[float, int]) -> float | None:
    """Iterations a second; None where there were none."""
    seconds, count = now[0] - earlier[0], now[1] - earlier[1]
    return count / seconds if seconds > 0 and count > 0 else None
