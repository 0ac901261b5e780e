"""What a trace asks of the file that it is written to."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from backpropdbg.events import Event
from backpropdbg.held import Held

Names = dict[str, tuple[str, ...]]  # of the parameters: all that each is called, by the first


class File(Protocol):
    """The real one is `writer.Writer`."""

    @property
    def alive(self) -> bool:
        """True while all that is added is written, and can be read."""

    def add(self, position: int, event: Event, shown: Iterable[Held]) -> None:
        """Take an event, and the tensors that it shows."""

    def learn(self, position: int, names: Names) -> None:
        """From this position on, the parameters are called so."""

    def print(self, position: int, stream: str, text: str) -> None:
        """Take what the program printed before the event at a position."""

    def flush(self) -> None:
        """Wait until all that was taken is in the file."""

    def settle(self, held: Held) -> None:
        """A tensor is about to be let go: be sure that it is in the file."""

    def events(self, start: int, end: int) -> Sequence[Event]:
        """Those from `start` on, before `end`."""

    def iterations(self) -> Sequence[int]:
        """Numbers of all iterations, the oldest first."""

    def start(self, number: int) -> int | None:
        """Position of an iteration's first event; None where it is not known."""
