"""The Textual face: draws each stop and sends what is typed. It knows the session and nothing else."""

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import ClassVar

from textual import events, work
from textual.app import ComposeResult
from textual.command import Provider
from textual.containers import Horizontal, Vertical
from textual.geometry import Size
from textual.message import Message
from textual.widgets import Static

from backpropdbg.situation import SOON as DOTS
from backpropdbg.situation import Progress, Situation
from backpropdbg.tui.arranged import BARS, LOW
from backpropdbg.tui.command import CommandLine
from backpropdbg.tui.config import Settings
from backpropdbg.tui.explanation import Explanation
from backpropdbg.tui.face import Commands
from backpropdbg.tui.finder import Finder
from backpropdbg.tui.frames import hasten
from backpropdbg.tui.graph import Graph
from backpropdbg.tui.header import Header
from backpropdbg.tui.help import key_line
from backpropdbg.tui.keys import shown
from backpropdbg.tui.ledger import Ledger
from backpropdbg.tui.looks import Looks
from backpropdbg.tui.matrices import Matrices
from backpropdbg.tui.nodes import NodesPane
from backpropdbg.tui.optimizer import OptimizerPane
from backpropdbg.tui.output import OutputPane, Printed
from backpropdbg.tui.overlays import KINDS
from backpropdbg.tui.parameters import ParametersPane
from backpropdbg.tui.player import Player, Script, words_of
from backpropdbg.tui.quiet import Quiet
from backpropdbg.tui.results import Results
from backpropdbg.tui.source import SourcePane
from backpropdbg.tui.stage import Stage
from backpropdbg.tui.stops import StopsPane
from backpropdbg.tui.terminal import watch_signals
from backpropdbg.tui.tiles import Tiles
from backpropdbg.tui.timeline import TimelinePane
from backpropdbg.wire import session as wire

SOON = 0.1
OWN_KEYS = (
    (TimelinePane, "timeline"),
    (ParametersPane, "parameters"),
    (StopsPane, "stops"),
    (OptimizerPane, "optimizer"),
)
NO_USE_YET = "the program runs; no parameter was used yet"


class Heard(Message):
    """A message of the session, on its way to the app's own thread."""

    def __init__(self, message: wire.Message) -> None:
        super().__init__()
        self.message = message


def place(situation: Situation) -> tuple[object, ...]:
    """Return what a stop shows: of which event, of which parameter, from which element on."""
    return situation.position, situation.focus, situation.element, situation.axes


class DebuggerApp(Looks):
    """The whole screen.

    Attributes:
        own_code: exit with the program's own code, as the program does without us.
        begins: what is said until the first stop.
        last_words: what the program wrote to stderr since the last stop; raised: it ended with an exception.
        late: what the session says after the app left the program to itself.
    """

    TITLE = "backpropdbg"
    CSS_PATH = "app.tcss"
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {Finder}
    AUTO_FOCUS = None

    def __init__(
        self,
        session: wire.Session,
        script: Script | None = None,
        speed: float = 1.0,
        own_code: bool = False,
        settings: Settings | None = None,
        commands: Commands = dict,
        begins: str = "starting the program ...",
    ) -> None:
        hasten()
        super().__init__(session, settings or Settings(), commands)
        self.own_code, self.begins = own_code, begins
        self.raised = False
        self.printed = Printed()
        self.last_words: deque[str] = deque(maxlen=200)
        self.late: queue.SimpleQueue[wire.Message] = queue.SimpleQueue()
        self.player = None if script is None else Player(script, speed, self.play_line, self.caption)

    def compose(self) -> ComposeResult:
        """Lay out the panes."""
        yield Header(id="header")
        with Tiles(id="tiles"):
            yield Graph(id="graph")
            yield NodesPane(self.ask, id="graph-nodes", classes="hidden")
            yield TimelinePane(id="timeline")
            yield Ledger(id="ledger")
            yield SourcePane(id="source")
            yield OutputPane(id="output")
            yield OutputPane(id="output-past", classes="hidden")
            yield Matrices(self.session, id="matrices")
            for name, kind in KINDS.items():
                yield kind(self.ask, id=name)
        yield Static(id="caption")
        yield Explanation(id="explanation")
        yield Results(id="results")
        with Vertical(id="bottom"):
            with Horizontal(id="prompt"):
                yield Quiet("(bpdb) ", id="prompt-word")
                yield CommandLine(id="command")
                yield Quiet(id="tabs")
            yield Quiet(id="keys")

    def get_default_screen(self) -> Stage:
        """Return the screen that has the panes."""
        return Stage()

    @property
    def stage(self) -> Stage:
        """That screen."""
        assert isinstance(self.base, Stage)
        return self.base

    def redraw(self) -> None:
        """Draw all anew, the keys and tabs too."""
        super().redraw()
        self.fit(self.size.width, self.size.height)

    def on_mount(self) -> None:
        """Paint at once, and start the program."""
        self.fit(self.size.width, self.size.height)
        self.base.query_one(Header).show(None, "starting")
        self.base.query_one(Explanation).say(self.begins)
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
        if self.quitting or not self.screen_stack or not self.base.children:
            return  # the screen is going down
        for stream, text in self.printed.take():
            self.base.query_one(OutputPane).write(stream, text)
            if stream == "stderr":
                self.last_words.append(text)
        if isinstance(heard.message, wire.ProgramOutput) and self.situation is None and not self.ended:
            self.base.query_one(Explanation).say(f"{NO_USE_YET}. {shown('command')} types into its input")
        match heard.message:
            case wire.Stopped(situation):
                self.running = self.ended = self.waiting = self.walking = False
                self.note_end(situation)
                self.show(situation)
                if self.returning:
                    self.go_on()
            case wire.Rest(situation):
                self.show_rest(situation)
            case wire.Running():
                self.show_running()
            case wire.Result() as result:
                self.show_result(result)
            case wire.Said(text):
                self.base.query_one(OutputPane).write("end", text.rstrip("\n") + "\n")
                self.hint(text)
            case wire.Cells(name, window):
                self.base.query_one(Matrices).fill(name, window)
                self.answered()
            case wire.Answered(_, answer):
                self.show_answer(answer)
                self.answered()
            case wire.Reached(progress):
                self.show_progress(progress)
            case wire.Printed() as printed:
                self.show_printed(printed)
            case wire.Ended() as ended:
                self.show_end(ended)
        if self.player is not None:
            self.player.hear(heard.message)

    def note_end(self, situation: Situation) -> None:
        """Remember what to exit with, and which words to leave behind; a look at the past changes neither."""
        if situation.past or situation.recorded:
            return
        self.raised = bool(situation.raised)
        if self.own_code:
            self.exit_code = situation.exit_code or 0
        elif self.raised:
            self.exit_code = 3
        if not self.raised:
            self.last_words.clear()

    def show(self, situation: Situation) -> None:
        """Draw a stop."""
        if self.base.query_one(Results).kind == "hint":
            self.hint("")
        if self.situation is None and self.player is None:
            use = f"use of {situation.focus}" if situation.focus else "use of a parameter"
            goes = f"{shown('next')} goes to the next {use}, {shown('step')} to the next event of all"
            self.hint(f"{goes}; {shown('help')} shows every key")
        self.situation = situation
        self.base.set_class(situation.past or situation.recorded, "past")
        self.base.query_one("#prompt-word", Static).update(self.prompt)
        self.base.query_one(Header).show(situation, "")
        self.base.query_one(Graph).show(situation)
        self.base.query_one(Ledger).show(situation)
        self.base.query_one(SourcePane).show(situation.source)
        self.base.query_one(Explanation).show(situation)
        self.show_keys(self.size.width)
        self.base.query_one(CommandLine).situation = situation
        self.awaited = self.base.query_one(Matrices).show(situation)
        self.show_output(situation)
        self.ask_all(situation)
        if self.awaited and not situation.early:
            self.stage.wait()

    def answered(self) -> None:
        """One of the answers is drawn; with the last of them all is painted."""
        self.awaited -= 1
        if self.awaited <= 0:
            self.stage.go_on()

    def show_rest(self, situation: Situation) -> None:
        """Draw the numbers of a stop that was drawn without some, unless another one is on the screen."""
        now = self.situation
        if now is None or self.running or not now.early or place(now) != place(situation):
            return
        self.situation = situation
        self.base.query_one(Graph).show(situation)
        self.base.query_one(Ledger).show(situation)
        self.base.query_one(Explanation).show(situation)
        self.base.query_one(CommandLine).situation = situation
        self.base.query_one(Matrices).complete(situation)

    def show_output(self, situation: Situation) -> None:
        """Show all output in the present, and in the past what stood there then."""
        past = situation.past or situation.recorded
        self.base.query_one("#output").set_class(past, "hidden")
        self.base.query_one("#output-past").set_class(not past, "hidden")
        if past:
            self.session.printed(situation.position)

    def show_printed(self, printed: wire.Printed) -> None:
        """Draw what the program had printed up to the stop."""
        if self.situation is not None and self.situation.position == printed.position:
            pane = self.base.query_one("#output-past", OutputPane)
            pane.border_title = f"output up to event {printed.position}"
            pane.replace(printed.pieces)

    def show_result(self, result: wire.Result) -> None:
        """Draw what a command printed."""
        self.waiting = False
        if not result.ok and self.body.open:
            self.refuse(result.command)
        if self.show_found(result) or self.show_view(result):
            return
        self.returning = self.returning and result.ok
        if result.moves:
            self.walking = result.walks
            self.show_running()
        elif result.ok:
            self.ask_stops()
        if result.ok and words_of(result.command)[:1] == ["detach"]:
            self.go_away()
            return
        self.base.query_one(Results).show(result.text, "result" if result.ok else "error")

    def show_running(self) -> None:
        """The next stop is on its way; say so where it is not here soon."""
        self.running = True
        self.set_timer(SOON, self.draw_running)

    def draw_running(self) -> None:
        """Say that the program runs, unless it has stopped since, or that is said already."""
        if self.running and not self.ended and self.screen_stack:
            word, header = "walking" if self.walking else "running", self.base.query_one(Header)
            if header.status != word:
                header.show(self.situation, word)

    def show_progress(self, progress: Progress) -> None:
        """Say how far it is, unless it has stopped since."""
        if self.running and not self.ended:
            self.draw_running()
            self.base.query_one(Header).show_progress(progress)

    def show_end(self, ended: wire.Ended) -> None:
        """Say why the program is gone; the app stays up."""
        self.running = self.waiting = self.walking = False
        self.ended, self.raised = True, ended.raised
        self.base.set_class(False, "past")
        self.exit_code = 3 if ended.raised or ended.code < 0 else min(ended.code, 1)
        if self.own_code:
            self.exit_code = ended.code if ended.code >= 0 else 128 - ended.code
        self.base.query_one(Header).show(self.situation, "ended")
        self.base.query_one(Matrices).answers = False
        early = self.situation is not None and self.situation.early
        unknown = f"; {DOTS} stands for what was never computed" if early else ""
        self.base.query_one(Explanation).say(ended.cause + unknown, alarm=True)
        restarts = "" if self.recorded else f"{shown('restart')} restarts the program, "
        self.hint(f"{restarts}{shown('quit')} quits")
        self.show_keys(self.size.width)
        output = self.base.query_one(OutputPane)
        output.open_line = False
        output.write("end", f"{ended.cause} (exit code {ended.code})\n")

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
        self.call_after_refresh(self.base.refresh)  # whole: the terminal may have lost what we think it shows

    def show_keys(self, width: int) -> None:
        """Name the keys that work now."""
        kind, situation, focused = "live", self.situation, self.base.focused
        if isinstance(focused, CommandLine):
            kind = "typing"
        elif focused is not None:
            kind = next((word for pane, word in OWN_KEYS if pane in map(type, focused.ancestors_with_self)), kind)
        elif self.ended:
            kind = "ended"
        elif situation is not None and (situation.past or situation.recorded):
            kind = "past"
        elif situation is not None and situation.phase == "finished":
            kind = "over"
        self.base.query_one("#keys", Static).update(key_line(width, kind))

    def on_descendant_focus(self) -> None:
        """The command line has the keyboard; while the program runs it is the program's standard input."""
        if isinstance(self.focused, CommandLine):
            self.base.query_one("#prompt-word", Static).update("(stdin) " if self.running else self.prompt)
        self.show_keys(self.size.width)

    def on_descendant_blur(self) -> None:
        """The keys are back."""
        if not self.screen_stack:
            return  # it is the screen that went
        self.base.query_one("#prompt-word", Static).update(self.prompt)
        self.call_after_refresh(self.show_keys, self.size.width)

    def fit(self, width: int, height: int) -> None:
        """Choose between the whole screen and the small ones."""
        screen, self.room = self.base, Size(width, height)
        screen.set_class(self.compact, "compact")
        screen.set_class(height < LOW, "low")
        screen.set_class(self.flat, "flat")
        screen.query_one(Explanation).styles.max_height = max(1, height - BARS) if self.flat else None
        self.show_keys(width)
        tiles = screen.query_one(Tiles)
        tiles.want("graph", self.graph_lines)
        tiles.want("timeline", 6 if self.compact else 8)
        tiles.want("stops", 8)
        tiles.want("optimizer", max(8, height // 6))
        tiles.want("output", max(8, height // 6))
        tiles.wanted.pop("source", None)
        if self.compact:
            tiles.want("source", 8)
        self.arrange()
