"""Headless replay that keeps each stop, with the cells of its matrices, in place of printing it."""

import sys
from pathlib import Path

from backpropdbg.console import keyboard
from backpropdbg.console.replay import FOR_A_SCREEN, Printer, Replay, carry_out
from backpropdbg.console.script import Script
from backpropdbg.errors import UsageError
from backpropdbg.pages.film import COLS, ROWS, Film, Pieces, Remark
from backpropdbg.pages.page import page
from backpropdbg.situation import Situation, Window
from backpropdbg.wire.client import ChildSession
from backpropdbg.wire.session import Cells, Ended, Printed, ProgramOutput, Result, Session

MOST_PRINTED = 5_000
ON_THE_PAGE = (["ledger"], ["info", "ledger"])


class Camera(Printer):
    """Takes the place of the printer; what it is told goes into a film."""

    def __init__(self, film: Film) -> None:
        super().__init__()
        self.film = film

    def echo(self, line: str) -> None:
        """Commands show with their results."""

    def stop(self, situation: Situation) -> None:
        """Stops are taken with their cells; see `Filming`."""

    def result(self, command: str, text: str, ok: bool) -> None:
        """Keep what a command printed; of one that failed, see `Filming.failed`."""
        words = command.split()
        if ok and text and words not in ON_THE_PAGE and words[0] not in FOR_A_SCREEN:
            self.film.remark(Remark("command", text.rstrip("\n"), command))

    def output(self, stream: str, text: str) -> None:
        """Keep the program's own output."""
        self.film.print(stream, text)

    def said(self, text: str) -> None:
        """Keep what the debugger says between two stops."""
        self.film.remark(Remark("said", text.rstrip("\n")))

    def say(self, text: str) -> None:
        """Keep words of the script."""
        self.film.remark(Remark("say", text))

    def ended(self, message: Ended) -> None:
        """Keep why the program is gone."""
        self.film.remark(Remark("said", message.cause))


class Filming(Replay):
    """Replays a script into a film."""

    def __init__(self, session: Session, film: Film) -> None:
        super().__init__(session, Camera(film))
        self.film = film
        self.fresh: Situation | None = None

    def stopped(self, situation: Situation, redrawn: bool) -> None:
        """Note the stop; its cells are asked for once nothing else is on its way."""
        self.fresh = situation

    def wait(self, command: str | None) -> Result | None:
        """Handle messages as ever, then take what is shown now."""
        result = super().wait(command)
        if self.fresh is not None and self.ended is None:
            situation, self.fresh = self.fresh, None
            self.take(situation)
        return result

    def failed(self, text: str) -> None:
        """The story ends here, on the page too."""
        super().failed(text)
        self.film.remark(Remark("error", text))

    def take(self, situation: Situation) -> None:
        """Add one stop to the film."""
        windows: dict[str, Window] = {}
        for matrix in situation.matrices:
            if matrix.state == "value":
                self.session.window(matrix.name, ROWS, COLS)
                answer = self.answer()
                if isinstance(answer, Cells) and answer.window is not None:
                    windows[matrix.name] = answer.window
        past: Pieces | None = None
        if situation.past or situation.recorded:
            self.session.printed(situation.position, MOST_PRINTED)
            answer = self.answer()
            past = list(answer.pieces) if isinstance(answer, Printed) else []
        self.film.show(situation, windows, past)

    def answer(self) -> Cells | Printed | Ended:
        """Wait for what was asked; other messages are handled as they come."""
        while self.ended is None:
            message = self.inbox.get()
            if isinstance(message, (Cells, Printed)):
                return message
            if isinstance(message, ProgramOutput):
                self.printer.output(message.stream, message.text)
            elif isinstance(message, Ended):
                self.ended = message
                self.printer.ended(message)
        return self.ended


def write_page(script: Script, path: str, session: Session | None = None) -> int:
    """Play a script and write it as one HTML page. Returns the exit code of the replay."""
    film = Film(Path(script.path).stem)
    session = session or ChildSession(script.options, streams=keyboard.streams("pipe"))
    keyboard.pass_on(session.feed)
    code = carry_out(Filming(session, film), script)
    write(path, page(film), "--html")
    told(path, len(film.slides))
    return code


def write(path: str, text: str, option: str) -> None:
    """Write a file that an option asked for. Raises UsageError."""
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"argument {option}: can't write {path!r}: {error.strerror}") from None


def told(path: str, stops: int) -> None:
    """Say what was written."""
    print(f"wrote {path}: {'1 stop' if stops == 1 else f'{stops} stops'}", file=sys.stderr)


def check_target(path: str, endings: tuple[str, ...], option: str) -> None:
    """Raise UsageError where a file can't be what the option is to write: before anything runs."""
    if not path.endswith(endings):
        raise UsageError(f"argument {option}: {path!r} does not end in {' or '.join(endings)}")
    if Path(path).is_dir() or not Path(path).parent.is_dir():
        what = "is a folder" if Path(path).is_dir() else f"there is no folder {str(Path(path).parent)!r}"
        raise UsageError(f"argument {option}: can't write {path!r}: {what}")
