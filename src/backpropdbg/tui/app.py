"""The Textual face: draws each stop and sends what is typed. It knows the session and nothing else."""

import asyncio
import contextlib
import queue
import threading
from collections import deque
from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual import events, work
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Horizontal, VerticalScroll
from textual.message import Message
from textual.screen import Screen
from textual.scroll_view import ScrollView
from textual.widgets import Input, Static

from backpropdbg.situation import Matrix, Situation
from backpropdbg.tui.command import CommandLine
from backpropdbg.tui.explanation import Explanation
from backpropdbg.tui.graph import Graph
from backpropdbg.tui.header import Header
from backpropdbg.tui.help import Help, key_line, tab_line
from backpropdbg.tui.keys import BINDINGS
from backpropdbg.tui.ledger import Ledger
from backpropdbg.tui.matrix import MatrixPane, flat_shape
from backpropdbg.tui.output import OutputPane, Printed
from backpropdbg.tui.paint import clean
from backpropdbg.tui.player import Player, Script, words_of
from backpropdbg.tui.results import Results
from backpropdbg.tui.select import neighbour, next_parameter
from backpropdbg.tui.source import SourcePane
from backpropdbg.tui.terminal import watch_signals
from backpropdbg.wire import session as wire

PANES = 3
PANE_WIDTH = 36
GRACE = 1.9


class Heard(Message):
    """A message of the session, on its way to the app's own thread."""

    def __init__(self, message: wire.Message) -> None:
        super().__init__()
        self.message = message


class DebuggerApp(App[None]):
    """The whole screen.

    Attributes:
        situation: the last stop, or None before the first.
        own_code: exit with the program's own code, as the program does without us.
        exit_code: what the app will exit with: else 3 once the program raised or was killed, 1 once it failed, and 0.
        busy: True while the program runs, or while a step key waits for its answer.
        last_words: what the program wrote to stderr since the last stop; raised: it ended with an exception.
        detached: the app went away and leaves the program to itself; late: what the session says after that.
    """

    TITLE = "backpropdbg"
    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE = False
    AUTO_FOCUS = None
    BINDINGS: ClassVar[list[BindingType]] = [*BINDINGS]

    def __init__(
        self, session: wire.Session, script: Script | None = None, speed: float = 1.0, own_code: bool = False
    ) -> None:
        super().__init__()
        self.session = session
        self.own_code = own_code
        self.situation: Situation | None = None
        self.printed = Printed()
        self.exit_code = 0
        self.running = True
        self.waiting = False
        self.ended = self.raised = False
        self.quitting = self.detached = self.left = False
        self.last_words: deque[str] = deque(maxlen=200)
        self.late: queue.SimpleQueue[wire.Message] = queue.SimpleQueue()
        self.body = wire.Body()
        self.first_matrix = 0
        self.zoomed = False
        self.player = None if script is None else Player(script, speed, self.send, self.caption)

    @property
    def base(self) -> Screen[object]:
        """The screen with the panes, also while the help lies over it."""
        return self.screen_stack[0]

    @property
    def busy(self) -> bool:
        """True while a step key has to wait."""
        return self.running or self.waiting

    @property
    def prompt(self) -> str:
        """What stands before the command line; between `commands N` and `end` it says so."""
        return "(commands, end) " if self.body.open else "(bpdb) "

    def compose(self) -> ComposeResult:
        """Lay out the panes."""
        yield Header(id="header")
        yield Graph(id="graph")
        with Horizontal(id="middle"):
            yield Ledger(id="ledger")
            with Container(id="right"):
                yield SourcePane(id="source")
                yield OutputPane(id="output")
        with Horizontal(id="matrices"):
            for n in range(PANES):
                pane = MatrixPane(id=f"matrix-{n}")
                pane.add_class("matrix")
                yield pane
        yield Static(id="caption")
        yield Explanation(id="explanation")
        yield Results(id="results")
        with Horizontal(id="prompt"):
            yield Static("(bpdb) ", id="prompt-word")
            yield CommandLine(id="command")
            yield Static(id="tabs")
        yield Static(id="keys")

    def on_mount(self) -> None:
        """Paint at once, and start the program."""
        self.base.add_class("tab-1")
        self.fit(self.size.width, self.size.height)
        self.base.query_one(Header).show(None, "starting")
        self.base.query_one(Explanation).say("starting the program ...")
        self.session.start(self.receive)
        watch_signals(self, self.shut)
        if self.player is not None:
            self.run_player(self.player)

    def on_unmount(self) -> None:
        """End the child of a screen that went down by itself."""
        if not self.quitting:
            threading.Thread(target=self.session.close, daemon=True).start()

    def receive(self, message: wire.Message) -> None:
        """Hand a message over to the app's thread; safe from any thread, also after the app is gone.

        Output is collected until the app has time for it, so that a flood of it holds up no key.
        """
        if self.left:
            self.late.put(message)
            return
        if isinstance(message, wire.Result) and message.ok and words_of(message.command)[:1] == ["detach"]:
            self.left = True  # from here on all that comes is for whoever follows us
        if isinstance(message, wire.ProgramOutput) and not self.printed.add(message.stream, message.text):
            return
        with contextlib.suppress(RuntimeError):
            self.post_message(Heard(message))

    def on_heard(self, heard: Heard) -> None:
        """Draw one message."""
        if self.quitting or not self.screen_stack or not self.base.query(Header):
            return  # the screen is going down
        for stream, text in self.printed.take():
            self.base.query_one(OutputPane).write(stream, text)
            if stream == "stderr":
                self.last_words.append(text)
        if isinstance(heard.message, wire.ProgramOutput) and self.situation is None and not self.ended:
            self.base.query_one(Explanation).say("the program runs; no parameter was used yet. : types into its input")
        match heard.message:
            case wire.Stopped(situation):
                self.running = self.ended = self.waiting = False
                if self.own_code:
                    self.exit_code = situation.exit_code or 0
                self.show(situation)
                self.last_words.clear()
            case wire.Running():
                self.running = True
                self.base.query_one(Header).show(self.situation, "running")
            case wire.Result() as result:
                self.show_result(result)
            case wire.Said(text):
                self.base.query_one(OutputPane).write("end", text.rstrip("\n") + "\n")
                self.hint(text)
            case wire.Cells(name, window):
                for pane in self.base.query(MatrixPane):
                    if pane.matrix is not None and pane.matrix.name == name:
                        pane.fill(window)
            case wire.Ended() as ended:
                self.show_end(ended)
        if self.player is not None:
            self.player.hear(heard.message)

    def show(self, situation: Situation) -> None:
        """Draw a stop."""
        if self.base.query_one(Results).kind == "hint":
            self.hint("")
        if self.situation is None and self.player is None:
            use = f"use of {situation.focus}" if situation.focus else "use of a parameter"
            self.hint(f"n goes to the next {use}, s to the next event of all; ? shows every key")
        if self.situation is None or len(self.situation.matrices) != len(situation.matrices):
            self.first_matrix = 0
        self.situation = situation
        self.base.query_one(Header).show(situation, "")
        self.base.query_one(Graph).show(situation)
        self.base.query_one(Ledger).show(situation)
        self.base.query_one(SourcePane).show(situation.source)
        self.base.query_one(Explanation).show(situation)
        self.show_keys(self.size.width)
        self.show_matrices()

    def show_matrices(self) -> None:
        """Draw the frames of as many matrices as have room, and ask for their cells once they have a size."""
        if self.situation is None:
            return
        shown = self.shown_matrices(self.situation)
        for n, pane in enumerate(self.base.query(MatrixPane)):
            pane.display = n < len(shown)
            if n < len(shown):
                pane.show(shown[n], self.situation.element)
        tallest = max([flat_shape(matrix.shape)[0] for matrix in shown], default=0)
        frame = 2 if self.base.has_class("compact") else 3
        self.base.query_one("#matrices").styles.height = max(frame + 4, min(tallest + frame, self.size.height // 3))
        self.call_after_refresh(self.ask_cells)

    def shown_matrices(self, situation: Situation) -> list[Matrix]:
        """Return the matrices that have room side by side: from the chosen one on, else rather those with a value."""
        found = situation.matrices
        room = max(1, min(PANES, self.size.width // PANE_WIDTH))
        if self.first_matrix:
            return [*found[self.first_matrix :], *found[: self.first_matrix]][:room]
        chosen = sorted(found, key=lambda matrix: matrix.state != "value")[:room]
        return [matrix for matrix in found if matrix in chosen]

    def on_matrix_pane_sized(self) -> None:
        """Fetch the cells that fit now."""
        if self.screen_stack:
            self.ask_cells()

    def ask_cells(self) -> None:
        """Ask for the cells that the panes have room for."""
        for pane in self.base.query(MatrixPane):
            matrix = pane.matrix
            if pane.display and pane.size.area and matrix is not None and matrix.state == "value" and not self.ended:
                if self.zoomed or pane.nearly_fits():
                    self.session.window(matrix.name, *pane.room(), *pane.origin(), pool=False)
                else:
                    self.session.window(matrix.name, *pane.room())

    def show_result(self, result: wire.Result) -> None:
        """Draw what a command printed."""
        self.waiting = False
        if result.moves:
            self.running = True
            self.base.query_one(Header).show(self.situation, "running")
        if result.ok and words_of(result.command)[:1] == ["detach"]:
            self.go_away()
            return
        self.base.query_one(Results).show(result.text, "result" if result.ok else "error")

    def go_away(self) -> None:
        """Leave the program to itself: it goes on where we were, with the terminal's own screen."""
        self.detached = self.quitting = True
        self.left = True
        self.exit(return_code=0)

    def show_end(self, ended: wire.Ended) -> None:
        """Say why the program is gone; the app stays up."""
        self.running = self.waiting = False
        self.ended, self.raised = True, ended.raised
        self.exit_code = 3 if ended.raised or ended.code < 0 else min(ended.code, 1)
        if self.own_code:
            self.exit_code = ended.code if ended.code >= 0 else 128 - ended.code
        self.base.query_one(Header).show(self.situation, "ended")
        self.base.query_one(Explanation).say(ended.cause, alarm=True)
        self.hint("R restarts the program, q quits")
        self.show_keys(self.size.width)
        output = self.base.query_one(OutputPane)
        output.open_line = False
        output.write("end", f"{ended.cause} (exit code {ended.code})\n")

    def send(self, line: str) -> None:
        """Send one command line, or do what only the app can: quit, restart and screenshot."""
        words = [] if self.body.takes(line) else words_of(line)
        self.base.query_one("#prompt-word", Static).update(self.prompt)
        if words[:1] in (["quit"], ["q"]):
            code = int(words[1]) if len(words) > 1 and words[1].isdecimal() else self.exit_code
            self.shut(code)
        elif words[:1] == ["restart"]:
            self.receive(wire.Result(line, "", moves=True))
            self.do_restart()
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
            self.hint("the program has ended: R restarts it, q quits")
        elif self.busy:
            self.hint("the program is running: i interrupts it, q quits")
        return not (self.busy or self.ended)

    def take_over(self) -> None:
        """End the player, where one plays."""
        if self.player is not None and not self.player.stopped:
            self.player.stop()
            self.caption("")

    def action_move(self, command: str) -> None:
        """Send a step, unless the program runs."""
        self.take_over()
        if self.free():
            self.waiting = True
            self.send(command)

    def action_interrupt(self) -> None:
        """Stop a running program."""
        if self.running and not self.ended:
            self.session.interrupt()
        else:
            self.hint("the program is not running: q quits")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave `:`, `b` and tab alone where they are text, or close the help."""
        typed = isinstance(self.focused, CommandLine) or self.screen is not self.base
        return not (typed and action in ("type", "parameter"))

    def action_type(self, text: str) -> None:
        """Open the command line with `text` typed."""
        self.base.query_one(CommandLine).open(text)

    def action_leave(self) -> None:
        """Leave the command line, or clear the results."""
        if self.focused is not None:
            self.screen.set_focus(None)
        else:
            self.base.query_one(Results).show("")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Send what was typed, and go back to the keys."""
        line = event.value.strip().removeprefix(":").strip()
        self.base.query_one(CommandLine).remember(line)
        self.screen.set_focus(None)
        word = line.split()[0] if line else ""
        if word in ("interrupt", "i") and self.running:
            self.action_interrupt()
        elif word in ("quit", "q", "restart", "screenshot") or (word and not self.busy):
            self.take_over()
            self.send(line)
        elif self.running and not self.ended and word == "detach":
            self.go_away()
        elif self.running and not self.ended:
            self.session.feed(event.value + "\n")
            self.hint("typed into the program's standard input")
        elif word:
            self.free()

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

    def action_tab(self, number: int) -> None:
        """Show matrices, source or output where there is no room for all."""
        for n in (1, 2, 3):
            self.base.set_class(n == number, f"tab-{n}")
        self.base.query_one("#tabs", Static).update(tab_line(number))
        self.call_after_refresh(self.ask_cells)

    def action_more(self) -> None:
        """Show the next matrices, where there are more than have room."""
        found = self.situation.matrices if self.situation else ()
        if self.situation and len(found) > len(self.shown_matrices(self.situation)):
            self.first_matrix = (self.first_matrix + 1) % len(found)
            self.show_matrices()
        else:
            self.hint("all matrices of this stop are on the screen")

    def action_zoom(self) -> None:
        """Show true cells around the selected element, or all of a large tensor, pooled."""
        self.zoomed = not self.zoomed
        pooled = [p for p in self.base.query(MatrixPane) if p.display and p.is_pooled]
        if self.zoomed and not pooled:
            self.zoomed = False
            self.hint("every cell here is a true one already; z is for tensors that don't fit")
            return
        self.hint("true cells around the selected element: z shows all" if self.zoomed else "")
        self.ask_cells()

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

    def do_restart(self) -> None:
        """Restart without blocking the screen."""
        self.running, self.ended, self.waiting, self.exit_code = True, False, False, 0
        self.base.query_one(Header).show(self.situation, "restarting")
        self.base.query_one(Explanation).say("starting the program ...")
        threading.Thread(target=self.session.restart, daemon=True).start()

    def action_help(self) -> None:
        """Show all keys."""
        self.push_screen(Help())

    def action_picture(self) -> None:
        """Save the screen."""
        result = self.screenshot_result("screenshot", ())
        self.base.query_one(Results).show(result.text, "hint" if result.ok else "error")

    def action_pause(self) -> None:
        """Pause the player, or let it go on."""
        if self.player is not None and not self.player.stopped:
            self.player.toggle()
            self.hint("paused: space goes on, a step key takes over" if self.player.paused else "")

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

    def caption(self, text: str) -> None:
        """Show a caption bar; an empty text hides it."""
        bar = self.base.query_one("#caption", Static)
        bar.display = bool(text)
        bar.update(Text(clean(text)))

    @work(group="player")
    async def run_player(self, player: Player) -> None:
        """Play the script to its end."""
        await player.play()
        if player.failed:
            self.exit_code = self.exit_code or 1
        elif not player.stopped:
            player.stop()
            self.caption("")

    def on_resize(self, event: events.Resize) -> None:
        """Lay out for the new size, and fetch cells that fit."""
        self.fit(event.size.width, event.size.height)
        self.call_after_refresh(self.show_matrices)
        self.call_after_refresh(self.base.refresh)  # whole: the terminal may have lost what we think it shows

    def show_keys(self, width: int) -> None:
        """Name the keys that work now."""
        typing = isinstance(self.focused, CommandLine)
        over = self.ended or (self.situation is not None and self.situation.phase == "finished")
        self.base.query_one("#keys", Static).update(key_line(width, typing, over))

    def on_descendant_focus(self) -> None:
        """The command line has the keyboard; while the program runs it is the program's standard input."""
        self.base.query_one("#prompt-word", Static).update("(stdin) " if self.running else self.prompt)
        self.show_keys(self.size.width)

    def on_descendant_blur(self) -> None:
        """The keys are back."""
        self.base.query_one("#prompt-word", Static).update(self.prompt)
        self.call_after_refresh(self.show_keys, self.size.width)

    def fit(self, width: int, height: int) -> None:
        """Choose between the whole screen and the small one."""
        screen = self.base
        screen.set_class(width < 100 or height < 30, "compact")
        self.show_keys(width)
        number = next((n for n in (1, 2, 3) if screen.has_class(f"tab-{n}")), 1)
        screen.query_one("#tabs", Static).update(tab_line(number))
