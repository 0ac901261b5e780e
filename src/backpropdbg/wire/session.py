"""What a face sees of the program under test: send lines, get messages. Faces and fakes meet here."""

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from backpropdbg.questions import Answer, Question
from backpropdbg.situation import Progress, Situation, Window


class Stopped(Struct, frozen=True):
    """The program waits at a stop (also after it finished: phase "finished")."""

    situation: Situation


class Rest(Struct, frozen=True):
    """The whole of the stop that was reported last, which was `early`."""

    situation: Situation


class Running(Struct, frozen=True):
    """The program runs on."""


class Reached(Struct, frozen=True):
    """How far it is, a few times a second while the program runs or a long look is on its way."""

    progress: Progress


class Result(Struct, frozen=True):
    """What one command printed. `ok` is False where it failed; then `text` is the one-line error.

    moves: True where the command lets the program run, so a Stopped (or Ended) follows.
    walks: it moves, but only to another event that is recorded; the program stays where it is.
    again: what does the same once the program was restarted, where that is another line.
    """

    command: str
    text: str
    ok: bool = True
    moves: bool = False
    again: str = ""
    walks: bool = False


class Cells(Struct, frozen=True):
    """The answer to `Session.window`; None where the tensor has no value at this stop."""

    name: str
    window: Window | None


class Printed(Struct, frozen=True):
    """The answer to `Session.printed`: pieces of output as (stream, text), the last that stood there at a position."""

    position: int
    pieces: tuple[tuple[str, str], ...]


class Answered(Struct, frozen=True):
    """The answer to `Session.ask`."""

    question: Question
    answer: Answer


class ProgramOutput(Struct, frozen=True):
    """The program's own output. stream: "stdout" or "stderr"."""

    stream: str
    text: str


class Said(Struct, frozen=True):
    """What the debugger has to say between two stops, e.g. by the commands of a breakpoint."""

    text: str


class Rows(Struct, frozen=True):
    """Rows of a report, as JSON."""

    body: bytes


class Ended(Struct, frozen=True):
    """The child process is gone.

    cause: one line, e.g. "the program was killed by SIGKILL" or "the program raised ValueError: …".
    code: its exit code, negative for a signal.
    raised: True where the program ended with an exception of its own.
    """

    cause: str
    code: int
    raised: bool = False


Message = Stopped | Rest | Running | Reached | Result | Cells | Printed | Answered | ProgramOutput | Said | Rows | Ended


class Body:
    """Tells which lines stand between `commands N` and `end`: those are the debugger's, whatever their word.

    Attributes:
        open: after `commands N`, up to `end`.
    """

    def __init__(self) -> None:
        self.open = False

    def takes(self, line: str) -> bool:
        """True for a line in a body, and for its `end`. Call it once for each line, in order."""
        word = line.split()[0] if line.split() else ""
        inside = self.open
        self.open = word == "commands" or (inside and word != "end")
        return inside

    def refused(self, line: str) -> None:
        """Tell that a line failed: a `commands N` that did begins no body."""
        self.open = self.open and line.split()[:1] != ["commands"]


class Session(Protocol):
    """A program under test. Every message arrives through `receive`, from one thread, in order."""

    def start(self, receive: Callable[[Message], None]) -> None:
        """Start the child; return at once."""

    def command(self, line: str) -> None:
        """Send one command line; a Result follows (and a Stopped where it moves)."""

    def window(self, name: str, rows: int, cols: int, row0: int = 0, col0: int = 0, pool: bool = True) -> None:
        """Ask for at most rows x cols cells of a matrix of this stop; Cells follows. pool: fit all in, else cut."""

    def printed(self, position: int, most: int = 20_000) -> None:
        """Ask for the last characters that the program had printed at a position; Printed follows."""

    def ask(self, question: Question) -> None:
        """Ask something about this stop; Answered follows."""

    def feed(self, text: str) -> None:
        """Type into the program's standard input, where that is a pseudo terminal."""

    def signal(self, number: int) -> None:
        """Send a signal to the program and its workers."""

    def release(self) -> None:
        """Let the program run to its end without us; Ended follows then."""

    def interrupt(self) -> None:
        """Stop a running program at its next event."""

    def restart(self, to_here: bool = False) -> None:
        """Kill the child and start it again with the same arguments, seed and breakpoints; to_here: up to this stop."""

    def close(self) -> None:
        """End the child, in two seconds at most; safe to call twice and at any moment."""
