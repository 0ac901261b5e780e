"""What the keys do. The app adds what is drawn."""

import asyncio
import threading
from collections.abc import Sequence

from rich.text import Text
from textual import work
from textual.app import App
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.scroll_view import ScrollView
from textual.widgets import Static

from backpropdbg.situation import Situation
from backpropdbg.tui.command import CommandLine
from backpropdbg.tui.explanation import Explanation
from backpropdbg.tui.header import Header
from backpropdbg.tui.help import TABS, Help, tab_line
from backpropdbg.tui.ledger import Ledger, ledger_table
from backpropdbg.tui.matrices import Matrices
from backpropdbg.tui.matrix import MatrixPane
from backpropdbg.tui.output import OutputPane
from backpropdbg.tui.paint import clean
from backpropdbg.tui.player import Player, words_of
from backpropdbg.tui.results import Results
from backpropdbg.tui.select import neighbour, next_parameter
from backpropdbg.tui.timeline import TimelinePane
from backpropdbg.wire import session as wire

TO_HERE = ["--to", "HERE"]
BAD_RESTART = "restart takes nothing, or --to HERE"
EVER = 10**12
GRACE = 1.9
ENDED = "the program has ended: R restarts it, q quits"
NOTHING_RUNS = "this is a recording: nothing runs here"


class Actions(App[None]):
    """The keys and the command line.

    Attributes:
        situation: the last stop, or None before the first.
        exit_code: what the app will exit with: else 3 once the program raised or was killed, 1 once it failed, and 0.
        running: the program runs, or walking: the session looks for an event among those that are recorded.
        waiting: a step key waits for its answer; ended: the program's process is gone.
        left_at: position where somebody took over from the player; returning: to there, so that it can go on.
        captioned: what the player has to say.
        left: what the session says from now on is for others; detached: since the program is left to itself.
    """

    def __init__(self, session: wire.Session) -> None:
        super().__init__()
        self.session = session
        self.situation: Situation | None = None
        self.exit_code = 0
        self.running = True
        self.waiting = self.walking = self.ended = False
        self.quitting = self.detached = self.left = False
        self.body = wire.Body()
        self.player: Player | None = None
        self.left_at: int | None = None
        self.returning = False
        self.captioned = ""

    @property
    def base(self) -> Screen[object]:
        """The screen with the panes, also while the help lies over it."""
        return self.screen_stack[0]

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
        return "(past) " if self.situation is not None and self.situation.past else "(bpdb) "

    def receive(self, message: wire.Message) -> None:
        """Take a message of the session, from any thread."""
        raise NotImplementedError

    def send(self, line: str) -> None:
        """Send one command line, or do what only the app can: quit, restart and screenshot."""
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
        else:
            self.session.command(line)

    def screenshot_result(self, line: str, words: Sequence[str]) -> wire.Result:
        """Save the screen for `screenshot FILE`."""
        try:
            return wire.Result(line, f"saved {self.save_screenshot(words[1] if len(words) > 1 else 'backpropdbg.svg')}")
        except OSError as error:
            return wire.Result(line, f"screenshot: {error}", ok=False)

    def hint(self, text: str) -> None:
        """Draw a dim line where results are."""
        self.base.query_one(Results).show(text, "hint")

    def free(self) -> bool:
        """Return True where a command may be sent now; else say why not."""
        if self.ended:
            self.hint("the recording is closed: q quits" if self.recorded else ENDED)
        elif self.busy:
            what = "looking through what was recorded" if self.walking else "the program is running"
            self.hint(f"{what}: i interrupts it, q quits")
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

    def action_move(self, command: str) -> None:
        """Send a step, unless the program runs."""
        self.take_over()
        if self.free():
            self.waiting = True
            self.send(command)

    def action_interrupt(self) -> None:
        """Stop a running program, or a long walk."""
        if self.running and not self.ended:
            self.session.interrupt()
        elif self.recorded:
            self.hint(f"{NOTHING_RUNS}: q quits")
        else:
            self.hint("the program is not running: q quits")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave `:`, `b` and tab alone where they are text, or close the help."""
        typed = isinstance(self.focused, CommandLine) or self.screen is not self.base
        return not (typed and action in ("type", "parameter", "timeline"))

    def action_type(self, text: str) -> None:
        """Open the command line with `text` typed."""
        self.base.query_one(CommandLine).open(text)

    def action_leave(self) -> None:
        """Leave the command line, or clear the results."""
        if self.focused is not None:
            self.screen.set_focus(None)
        else:
            self.base.query_one(Results).show("")

    def on_command_line_typed(self, event: CommandLine.Typed) -> None:
        """Send what was typed."""
        line = event.text.strip().removeprefix(":").strip()
        self.base.query_one(CommandLine).remember(line)
        word = line.split()[0] if line else ""
        if word in ("interrupt", "i") and self.running:
            self.action_interrupt()
        elif word in ("quit", "q", "restart", "screenshot") or (word and not self.busy):
            self.take_over()
            self.send(line)
        elif self.walking:
            self.free()
        elif self.running and not self.ended and word == "detach":
            self.go_away()
        elif self.running and not self.ended:
            self.session.feed(event.text + "\n")
            self.hint("typed into the program's standard input")
        elif word:
            self.free()

    def on_command_line_unclear(self, event: CommandLine.Unclear) -> None:
        """List the words that what was typed may go on with."""
        self.hint("  ".join(event.words))

    def action_parameter(self, every: bool) -> None:
        """Focus the next parameter: of the same module, or of all."""
        if self.situation is None or not self.free():
            return
        name = next_parameter(self.situation.parameters, self.situation.focus, every)
        if name is None:
            self.hint("no other parameter here" if every else "this module has no other parameter: shift+tab goes on")
        else:
            self.send(f"focus {name}")

    def action_arrow(self, key: str) -> None:
        """Select the neighbouring element."""
        if self.situation is None or not self.free():
            return
        element = neighbour(self.situation.shape, self.situation.element, key)
        if element is not None:
            self.send(f"element {','.join(map(str, element))}")

    def on_matrix_pane_picked(self, event: MatrixPane.Picked) -> None:
        """Select the element that was clicked."""
        if self.free():
            self.send(f"element {','.join(map(str, event.element))}")

    def action_tab(self, number: int) -> None:
        """Show matrices, source, output or timeline where there is no room for all."""
        for n in range(1, len(TABS) + 1):
            self.base.set_class(n == number, f"tab-{n}")
        self.base.query_one("#tabs", Static).update(tab_line(number))
        self.call_after_refresh(self.base.query_one(Matrices).ask)
        self.call_after_refresh(self.ask_timeline)

    def action_timeline(self) -> None:
        """Give the keyboard to the timeline and show it; where it has the keyboard already, hide it again."""
        pane, base = self.base.query_one(TimelinePane), self.base
        hide = self.focused is pane
        self.screen.set_focus(None if hide else pane)
        if base.has_class("compact"):
            self.action_tab(1 if hide else len(TABS))
        elif not base.has_class("tall"):
            base.set_class(not hide, "timeline")
            self.call_after_refresh(self.ask_timeline)

    def ask_timeline(self) -> None:
        """Ask for as many iterations as the timeline has room for."""
        pane = self.base.query_one(TimelinePane)
        if pane.display and pane.size.area and self.situation is not None and not self.ended:
            self.session.timeline(1, EVER, pane.columns)

    def on_timeline_pane_sized(self) -> None:
        """Fetch the iterations that fit now."""
        if self.screen_stack:
            self.ask_timeline()

    def on_timeline_pane_chosen(self, event: TimelinePane.Chosen) -> None:
        """Go to an iteration."""
        if not event.iteration:
            self.hint("the timeline ends here")
        else:
            self.action_move(f"goto iteration {event.iteration}")

    def action_story(self) -> None:
        """Show what each use adds to the selected element, in place of norms and cosines; or those again."""
        self.base.query_one(Ledger).toggle()

    def action_copy(self) -> None:
        """Hand the rows of the ledger to the terminal's clipboard."""
        if self.situation is not None:
            table = ledger_table(self.situation)
            self.copy_to_clipboard(table)
            self.hint(f"copied {table.count(chr(10)) - 1} rows, as tab-separated text; some terminals forbid it")

    def action_more(self) -> None:
        """Show the next matrices, where there are more than have room."""
        if not self.base.query_one(Matrices).more():
            self.hint("all matrices of this stop are on the screen")

    def action_zoom(self) -> None:
        """Show true cells around the selected element, or all of a large tensor, pooled."""
        matrices = self.base.query_one(Matrices)
        if not matrices.zoom():
            self.hint("every cell here is a true one already; z is for tensors that don't fit")
        else:
            self.hint("true cells around the selected element: z shows all" if matrices.zoomed else "")

    def action_page(self, way: int) -> None:
        """Scroll the results where there are some, else the ledger, else the output."""
        results, ledger = self.base.query_one(Results), self.base.query_one(Ledger)
        pane: ScrollView | VerticalScroll = self.base.query_one(OutputPane)
        if results.display and results.max_scroll_y > 0:
            pane = results
        elif ledger.max_scroll_y > 0:
            pane = ledger
        pane.scroll_relative(y=way * max(1, pane.size.height - 1), animate=False)

    def action_restart(self) -> None:
        """Start the program again."""
        self.take_over()
        self.do_restart()

    def do_restart(self, to_here: bool = False) -> None:
        """Restart without blocking the screen; to_here: and run to the event of this stop."""
        if self.recorded:
            self.hint(f"{NOTHING_RUNS}: q quits")
            return
        self.running, self.ended, self.waiting, self.exit_code = True, False, False, 0
        self.walking = False
        self.base.query_one(Header).show(self.situation, "restarting")
        self.base.query_one(Explanation).say("starting the program ...")
        threading.Thread(target=self.session.restart, args=(to_here,), daemon=True).start()

    def action_help(self) -> None:
        """Show all keys, or close that again."""
        if self.screen is self.base:
            self.push_screen(Help())
        else:
            self.pop_screen()

    def action_picture(self) -> None:
        """Save the screen."""
        result = self.screenshot_result("screenshot", ())
        self.base.query_one(Results).show(result.text, "hint" if result.ok else "error")

    def action_pause(self) -> None:
        """Pause the player, or let it go on."""
        if self.player is None or self.player.stopped:
            return
        if not self.player.paused:
            self.player.hold()
            self.hint("paused: space goes on, a step key takes over")
        elif self.left_at is None or (self.situation is not None and self.situation.position == self.left_at):
            self.hint("")
            self.go_on()
        elif self.free():
            self.returning = self.waiting = True
            self.send(f"goto {self.left_at}")

    async def action_quit(self) -> None:
        """End the program and the app."""
        self.shut(self.exit_code)

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
