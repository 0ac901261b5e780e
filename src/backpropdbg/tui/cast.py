"""The app on tape: it plays a script before nobody, and what it draws is kept with the times of the player."""

import asyncio
import io

from rich.console import Console
from textual import events
from textual.driver import Driver
from textual.geometry import Size

from backpropdbg.pages.cast import Moment
from backpropdbg.situation import Situation
from backpropdbg.tui.app import DebuggerApp
from backpropdbg.tui.config import Settings
from backpropdbg.tui.matrices import Matrices
from backpropdbg.tui.player import PACE, Player, Script
from backpropdbg.wire.session import Session

SIZE = (120, 36)
CALM = 5
TICK = 0.02
PATIENCE = 10.0
BEGIN = "\x1b[?25l\x1b[2J\x1b[H"  # no cursor, an empty screen


class Tape:
    """What was drawn, and when. clock: seconds of the play, which stand still while the screen is drawn."""

    def __init__(self) -> None:
        self.clock = 0.0
        self.moments = [Moment(0.0, "o", BEGIN)]

    def note(self, kind: str, text: str) -> None:
        """Add an event; what is drawn at one time is one event."""
        last = self.moments[-1]
        if kind == last.kind == "o" and last.at == self.clock:
            self.moments[-1] = Moment(last.at, kind, last.text + text)
        else:
            self.moments.append(Moment(self.clock, kind, text))


class TapeDriver(Driver):
    """A terminal of a fixed size that only listens."""

    def write(self, data: str) -> None:
        """Keep it."""
        assert isinstance(self._app, TapedApp)
        self._app.tape.note("o", data)
        self._app.drawn += 1

    def start_application_mode(self) -> None:
        """Tell the size."""
        size = Size(*(self._size or SIZE))
        asyncio.get_running_loop().create_task(self._app._post_message(events.Resize(size, size)))

    def disable_input(self) -> None:
        """There is none."""

    def stop_application_mode(self) -> None:
        """Leave the last picture as it is."""


class TapedPlayer(Player):
    """Plays as fast as the screen is drawn; only the clock of the tape waits."""

    def __init__(self, app: "TapedApp", script: Script, speed: float) -> None:
        super().__init__(script, speed, app.play_line, app.caption)
        self.app = app

    async def play(self) -> None:
        """Show the first stop for a moment, then play the script."""
        await self._ready.wait()
        await self._wait(PACE)
        await super().play()
        await self._wait(PACE)
        self.app.shut(1 if self.failed else self.app.exit_code)

    async def _wait(self, seconds: float) -> None:
        await self.app.settle()
        self.app.tape.clock += seconds / self.speed


class TapedApp(DebuggerApp):
    """The app before nobody. drawn: how often it was."""

    def __init__(self, session: Session, script: Script, speed: float, settings: Settings) -> None:
        super().__init__(session, settings=settings)
        self.tape = Tape()
        self.drawn = 0
        self.player = TapedPlayer(self, script, speed)
        self.driver_class = TapeDriver
        self.console = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", legacy_windows=False)

    def show(self, situation: Situation) -> None:
        """Draw a stop, with a marker on the tape for each that is another one."""
        before = self.situation
        super().show(situation)
        if before is None or before.position != situation.position:
            where = f"iteration {situation.iteration}, {situation.phase}: {situation.where}"
            self.tape.note("m", where)

    def complete(self) -> bool:
        """True where nothing that shows waits for an answer."""
        matrices = self.base.query_one(Matrices)
        shown = [p for p in matrices.panes if p.display and p.size.area and p.matrix is not None]
        asked = [p for p in shown if p.matrix is not None and p.matrix.state == "value" and p.window_shown is None]
        return not self.running and not (asked and matrices.answers)

    async def settle(self) -> None:
        """Wait until all is drawn."""
        calm, seen = 0, -1
        for _ in range(round(PATIENCE / TICK)):
            calm = calm + 1 if self.drawn == seen and self.complete() else 0
            if calm >= CALM:
                return
            seen = self.drawn
            await asyncio.sleep(TICK)


def play_to_tape(
    session: Session, script: Script, speed: float, settings: Settings | None = None, size: tuple[int, int] = SIZE
) -> tuple[Tape, int, str]:
    """Play a script. Returns the tape, the exit code, and what failed or ""."""
    app = TapedApp(session, script, speed, settings or Settings())
    app.run(size=size, mouse=False)
    assert app.player is not None
    app.tape.note("x", str(app.return_code or 0))
    return app.tape, app.return_code or 0, app.player.failed
