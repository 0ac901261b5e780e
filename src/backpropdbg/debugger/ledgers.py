"""The ledgers of the newest iteration, which grow as the program goes on: a condition may ask at each of its uses."""

from backpropdbg.ledger import Ledger
from backpropdbg.trace.history import Trace


class Ledgers:
    """By parameter, those that were asked for."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._iteration = 0
        self._known: dict[str, tuple[Ledger, int]] = {}  # up to and with which position

    def at(self, parameter: str, position: int) -> Ledger:
        """The ledger as it was at a position; of one that is asked for in order, only what is new is added."""
        number = self._trace[position].iteration
        if number != self._iteration:
            self._iteration = number
            self._known.clear()
        ledger, known = self._known.get(parameter, (None, 0))
        if ledger is None or position < known:
            ledger = Ledger(parameter, [])
            ledger.take(self._trace.iteration(number, position))
        else:
            ledger.take([self._trace[n] for n in range(known + 1, position + 1)])
        self._known[parameter] = ledger, position
        return ledger
