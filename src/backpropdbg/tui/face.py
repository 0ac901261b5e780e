"""What the app knows of the program, and how it tells the program and the user something."""

import asyncio
import itertools
import os
import threading
from collections.abc import Callable, Mapping, Sequence

from rich.text import Text
from textual import work
from textual.binding import BindingsMap
from textual.widgets import Static

from backpropdbg.situation import Matrix, Situation
from backpropdbg.tui import keys
from backpropdbg.tui.command import CommandLine
from backpropdbg.tui.config import Settings
from backpropdbg.tui.explanation import Explanation
from backpropdbg.tui.header import Header
from backpropdbg.tui.keys import shown
from backpropdbg.tui.paint import clean
from backpropdbg.tui.player import Player, words_of
from backpropdbg.tui.results import Results
from backpropdbg.tui.themes import Themed
from backpropdbg.wire import session as wire

TO_HERE = ["--to", "HERE"]
BAD_RESTART = "restart takes nothing, or --to HERE"
GRACE = 1.9
NOTHING_RUNS = "this is a recording: nothing runs here"


Commands = Callable[[], Mapping[str, str]]


class Face(Themed):
    """What there is to know of the program, and what is told to it.

    Attributes:
        situation: the last stop, or None before the first.
        exit_code: what the app will exit with: else 3 once the program raised or was killed, 1 once it failed, and 0.
        running: the program runs, or walking: the session looks for an event among those that are recorded.
        waiting: a step key waits for its answer; ended: the program's process is gone.
        left_at: position where somebody took over from the player; returning: to there, so that it can go on.
        searched: what was asked, and of which matrix. found: what selects it, and what to say then.
        captioned: what the player has to say.
        awaited: how many answers about the stop are still to come.
        commands: gives the commands of the debugger, with the line that says what each does.
        left: what the session says from now on is for others; detached: since the program is left to itself.
    """

    def __init__(self, session: wire.Session, settings: Settings, commands: Commands) -> None:
        super().__init__(settings.theme, settings.ascii)
        self.commands = commands
        self.settings = settings
        keys.use(settings.keys)
        self._bindings = BindingsMap(keys.bindings())
        self.session = session
        self.situation: Situation | None = None
        self.exit_code = 0
        self.running = True
        self.waiting = self.walking = self.ended = False
        self.quitting = self.detached = self.left = False
        self.body = wire.Body()
        self.player: Player | None = None
        self.searched: tuple[str, str, Matrix] | None = None
        self.found = ("", "")
        self.left_at: int | None = None
        self.returning = False
        self.captioned = ""
        self.awaited = 0

    @property
    def busy(self) -> bool:
        """True while a step key has to wait."""
        return self.running or self.waiting

    @property
    def recorded(self) -> bool:
        """True where a recording is shown, and no program runs."""
        return self.situation is not None and self.situation.recorded

    @property
    def prompt(self) -> str:
        """What stands before the command line; between `commands N` and `end` it says so."""
        if self.body.open:
            return "(commands, end) "
        if self.recorded:
            return "(recording) "
        return "(past) " if self.situation is not None and self.situation.past else "(bpdb) "

    def receive(self, message: wire.Message) -> None:
        """Take a message of the session, from any thread."""
        raise NotImplementedError

    def send(self, line: str) -> None:
        """Send one command line, or do what only the app can: quit, restart, screenshot, layout and theme."""
        words = [] if self.body.takes(line) else words_of(line)
        self.base.query_one("#prompt-word", Static).update(self.prompt)
        if words[:1] in (["quit"], ["q"]):
            code = int(words[1]) if len(words) > 1 and words[1].isdecimal() else self.exit_code
            self.shut(code)
        elif words[:1] == ["restart"]:
            wrong = NOTHING_RUNS if self.recorded else "" if words[1:] in ([], TO_HERE) else BAD_RESTART
            self.receive(wire.Result(line, wrong, ok=not wrong, moves=not wrong))
            if not wrong:
                self.do_restart(to_here=words[1:] == TO_HERE)
        elif words[:1] == ["screenshot"]:
            self.receive(self.screenshot_result(line, words))
        elif words[:1] == ["layout"]:
            text, ok = self.layout_result(words[1:])
            self.receive(wire.Result(line, text, ok=ok))
        elif words[:1] == ["ascii"] and words[1:] in ([], ["on"], ["off"]):
            self.receive(wire.Result(line, self.ascii_result("".join(words[1:]))))
        elif words[:1] == ["theme"]:
            text, ok = self.theme_result(" ".join(words[1:]))
            self.receive(wire.Result(line, text, ok=ok))
        else:
            self.session.command(line)

    def refuse(self, line: str) -> None:
        """Take back what the prompt says where a `commands N` was refused; nothing typed since, the keys are back."""
        self.body.refused(line)
        if not self.body.open:
            self.base.query_one("#prompt-word", Static).update(self.prompt)
            if not self.base.query_one(CommandLine).value:
                self.screen.set_focus(None)

    def fit(self, width: int, height: int) -> None:
        """Lay out for a size of the screen."""
        raise NotImplementedError

    def layout_result(self, words: Sequence[str]) -> tuple[str, bool]:
        """Carry out `layout`. Returns what to say, and whether it is done."""
        raise NotImplementedError

    def carry_out_line(self, line: str) -> None:
        """Send a command that was chosen and not typed, unless the program runs."""
        if self.free():
            self.take_over()
            self.send(line)

    def screenshot_result(self, line: str, words: Sequence[str]) -> wire.Result:
        """Save the screen for `screenshot FILE`; without a name, as a file that is not there yet."""
        numbered = (f"backpropdbg{f'-{n}' if n > 1 else ''}.svg" for n in itertools.count(1))
        try:
            name = words[1] if len(words) > 1 else next(name for name in numbered if not os.path.lexists(name))
            return wire.Result(line, f"saved {self.save_screenshot(name)}")
        except OSError as error:
            return wire.Result(line, f"screenshot: {error}", ok=False)

    def hint(self, text: str) -> None:
        """Draw a dim line where results are."""
        self.base.query_one(Results).show(text, "hint")

    def free(self) -> bool:
        """Return True where a command may be sent now; else say why not."""
        if self.body.open:
            self.hint(f"what a breakpoint does is being written: {shown('command')} goes on with it, end ends it")
            return False
        if self.ended:
            what = (
                "the recording is closed"
                if self.recorded
                else f"the program has ended: {shown('restart')} restarts it,"
            )
            self.hint(f"{what}{':' * self.recorded} {shown('quit')} quits")
        elif self.busy:
            what = "looking through what was recorded" if self.walking else "the program is running"
            self.hint(f"{what}: {shown('interrupt')} interrupts it, {shown('quit')} quits")
        return not (self.busy or self.ended)

    def take_over(self) -> None:
        """Hold the player, where one plays: whoever pressed a key looks around, until space."""
        if self.player is not None and not self.player.stopped:
            self.player.hold()
            self.draw_caption("")
            if self.left_at is None and self.situation is not None and not self.busy:
                self.left_at = self.situation.position

    def play_line(self, line: str) -> None:
        """Send a line of the player's."""
        self.waiting = True
        self.send(line)

    def go_on(self) -> None:
        """Let the player go on, from where it was."""
        self.left_at, self.returning = None, False
        if self.player is not None:
            self.player.go_on()
            self.draw_caption(self.captioned)

    def caption(self, text: str) -> None:
        """Show a caption of the player's; an empty text hides it."""
        self.captioned = text
        self.draw_caption(text)

    def draw_caption(self, text: str) -> None:
        """Draw the caption bar."""
        for bar in self.base.query("#caption").results(Static):  # none where the screen goes down
            bar.display = bool(text)
            bar.update(Text(clean(text)))

    def go_away(self) -> None:
        """Leave the program to itself: it goes on where we were, with the terminal's own screen."""
        self.detached = self.quitting = True
        self.left = True
        self.exit(return_code=0)

    def do_restart(self, to_here: bool = False) -> None:
        """Restart without blocking the screen; to_here: and run to the event of this stop."""
        if self.recorded:
            self.hint(f"{NOTHING_RUNS}: {shown('quit')} quits")
            return
        self.running, self.ended, self.waiting, self.exit_code = True, False, False, 0
        self.walking = False
        self.base.query_one(Header).show(self.situation, "restarting")
        self.base.query_one(Explanation).say("starting the program ...")
        threading.Thread(target=self.session.restart, args=(to_here,), daemon=True).start()

    @work(exclusive=True, group="shut")
    async def shut(self, code: int) -> None:
        """Close the session beside the screen, for two seconds at most, and exit."""
        self.quitting = True
        closer = threading.Thread(target=self.session.close, daemon=True)
        closer.start()
        for _ in range(round(GRACE / 0.02)):
            if not closer.is_alive():
                break
            await asyncio.sleep(0.02)
        self.exit(return_code=code)
