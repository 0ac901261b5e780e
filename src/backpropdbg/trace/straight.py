"""Events that go straight to a file: nobody looks back while they are recorded, so memory keeps none of them."""

from backpropdbg.events import Event, handles
from backpropdbg.trace.file import File, Names
from backpropdbg.trace.printed import MOST, Printed


class Straight:
    """What a program does, for as long as it takes to write it down.

    Attributes:
        names: what the parameters are called now. iteration: of the newest event; None before the first.
    """

    def __init__(self, file: File) -> None:
        self._file = file
        self._count = 0
        self.names: Names = {}
        self.iteration: int | None = None

    def append(self, event: Event) -> None:
        """Add an event."""
        self._file.add(self._count, event, handles(event))
        self._count += 1
        self.iteration = event.iteration

    def learn(self, names: Names) -> None:
        """From the newest event on, the parameters are called so."""
        self.names = names
        self._file.learn(max(0, self._count - 1), names)

    def note_output(self, stream: str, text: str) -> None:
        """The program prints this now; may be called in any thread."""
        self._file.print(self._count, stream, text)

    def hear(self, printed: Printed) -> None:
        """Take over what the program printed before the first event."""
        for stream, text in printed.tail(0, MOST):
            self._file.print(0, stream, text)
