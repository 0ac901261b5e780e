"""The stepping core: decides when to stop and where the cursor is. It knows no torch hook and no screen."""

import threading
from collections.abc import Callable, Iterable
from types import FrameType, ModuleType
from typing import Any

from backpropdbg.debugger import bodies, drawing, expressions, hits, mute, past, turning
from backpropdbg.debugger.answers import answer
from backpropdbg.debugger.breakpoints import Breakpoint
from backpropdbg.debugger.describe import window
from backpropdbg.debugger.known import Known
from backpropdbg.debugger.locations import Location
from backpropdbg.debugger.moves import Move
from backpropdbg.debugger.naming import Names
from backpropdbg.debugger.nodes import Graphs
from backpropdbg.debugger.once import once
from backpropdbg.debugger.params import Tree
from backpropdbg.debugger.program import Program
from backpropdbg.debugger.progress import progress
from backpropdbg.debugger.reach import Reach
from backpropdbg.debugger.sofar import Growing
from backpropdbg.debugger.stop import Stop
from backpropdbg.debugger.story import Stories
from backpropdbg.debugger.timeline import Moments
from backpropdbg.errors import BackpropdbgError, CommandError
from backpropdbg.events import Event, Held, IterationStarted, Paused, ProgramFinished
from backpropdbg.events import Location as Line
from backpropdbg.questions import Answer, Question
from backpropdbg.situation import Progress, Situation, Window
from backpropdbg.trace.history import Trace
from backpropdbg.wire.messages import RUNNING
from backpropdbg.wire.session import Result


class Quit(SystemExit):
    """Raised inside a hook to end the program: crosses the engine and `except Exception`, and ends without a word."""


class Debugger:
    """One program under test.

    Args:
        wait: called in the stopped thread with the situation; returns when the program shall run on.
        redraw: called when the same stop is to be shown anew, with another focus or element.
        say: gets what the commands of a breakpoint print.
        recorded: there is no program, only a trace that ends somewhere; see `open`.
        drawn: a face draws the stops; else they are told in words, and only those are made.

    Attributes:
        displays: expressions to show at each stop, by number.
        edited: what the user put in the place of this stop's partial.
        stopped: numbers of the breakpoints that stopped at a position, also of those that are cleared since.
        reach: which of them may stop at an event.
        muted: uses whose partials are replaced by zeros as they arrive.
        collecting: what the lines are added to that come between `commands N` and `end`.
        frame: how far up the stack the selected frame of the user's is; None: the stop's own line.
        again: what to say in place of the last command once the program was restarted, where that is another.
        notes: what to say first about this stop, e.g. a condition that can't be evaluated.
        hurried: stops are shown at once, without the numbers that take long. lacks: this one was, and `rest` has them.
        move: what the program runs on to.
        pausing: from `pause` to the stop. detached: the program runs on without us.
        looking: position of the recorded event that a move is at, while it looks for the one to stop at.
    """

    def __init__(
        self,
        program: Program,
        trace: Trace,
        wait: Callable[[Situation], None],
        title: str,
        seed: int | None,
        focus: str = "",
        redraw: Callable[[Situation], None] = lambda situation: None,
        say: Callable[[str], None] = lambda text: None,
        recorded: bool = False,
        drawn: bool = True,
    ) -> None:
        self.drawn, self.hurried, self.lacks = drawn, False, False
        self.pausing = self.detached = False
        self.known = Known(program, trace)
        self.names = Names(self.known)
        self.program, self.trace, self.title, self.seed = program, trace, title, seed
        self.focus = focus
        self.element: tuple[int, ...] | None = None
        self.axes: tuple[int, ...] = ()
        self.breakpoints: list[Breakpoint] = []
        self.displays: dict[int, str] = {}
        self.stopped: dict[int, set[int]] = {}
        self.reach = Reach()
        self.muted: list[Location] = []
        self.frame: int | None = None
        self.edited: Held | None = None
        self.collecting: tuple[Breakpoint, list[str]] | None = None
        self.reason = "entry"
        self.notes: list[str] = []
        self.again = ""
        self.ended = self.recorded = recorded
        self.exit_code = 0
        self._wait, self._redraw, self.say = wait, redraw, say
        self.move = Move(turning.is_beginning, "entry")
        self._quit = self._left = False
        self._turn = threading.RLock()
        self._owner = 0
        self._stop: Stop | None = None
        self._before: Stop | None = None
        self._numbers = 0
        self.moments = Moments()
        self.stories = Stories()
        self.tree, self.graphs = Tree(), Graphs()
        self._shown, self._looked_into = Growing(trace), Growing(trace)
        self._walk: int | None = None
        self.looking: int | None = None

    # -- what the probe drives -------------------------------------------------------------------

    def on_event(self, event: Event) -> None:
        """Append an event to the trace, and stop there if somebody wants to. Raises Quit.

        While one thread is stopped, others wait here: there is one trace and one stop.
        """
        with self._turn:
            if self.detached:
                self._leave()
                return
            if self._quit:
                raise Quit(self.exit_code)
            self._owner = threading.get_ident()
            try:
                position = self.trace.append(event)
                self.known.hear(event)
                self.edited = mute.apply(self, event) if self.muted else None
                if not isinstance(event, IterationStarted):
                    self._look_for_a_stop(event, position)
            finally:
                self._owner = 0

    def paused_here(self, why: str, where: Line | None) -> None:
        """Stop here, between two events. Raises Quit. why: "set_trace()" or "interrupted"."""
        if self._owner == threading.get_ident():  # in the middle of an event, or of a stop
            self.pause()
            return
        with self._turn:
            if self.detached or self.ended:
                return
            if self._quit:
                raise Quit(self.exit_code)
            self._owner = threading.get_ident()
            try:
                self.reason, self.edited = why, None
                event = Paused(self._last_iteration(), why, where or self._line())
                self._halt(event, self.trace.append(event))
            finally:
                self._owner = 0

    def finish(self, code: int = 0, raised: str = "") -> None:
        """The program is over: a last stop, from which the past can still be looked at.

        raised: the exception that ended it, in one line; its frames are the program's stack then.
        """
        with self._turn:
            if self.detached:
                return
            self.ended = True
            self.notes += past.not_reached(self.move.reason)
            self.reason, self.edited = "finished", None
            where = self._line() if raised else None
            event = ProgramFinished(self._last_iteration(), code, raised, where)
            self._halt(event, self.trace.append(event))

    def open(self) -> None:
        """Look at a recording, from its first event on, until the face goes."""
        if not len(self.trace):
            raise CommandError("the recording holds no event")
        self._focus_something()
        self._at(past.first(self))
        self._stay()

    def _last_iteration(self) -> int:
        return self.trace[len(self.trace) - 1].iteration if len(self.trace) > self.trace.first else 1

    def _line(self) -> Line | None:
        """The program's own line that runs now; None where none does."""
        frame = next(iter(self.program.stack()), None)
        return Line(frame.f_code.co_filename, frame.f_lineno) if frame is not None else None

    def _look_for_a_stop(self, event: Event, position: int) -> None:
        if self.breakpoints and not self.focus:
            self._focus_something()
        found = hits.live(self, event, position) if self.breakpoints else []
        asked = self.pausing or self.move.wanted(event)
        if found:
            self.reason = found[0].breakpoint.name
            self.notes += [hit.note for hit in found if hit.note]
            self._halt(event, position, [hit.breakpoint for hit in found], passes=not asked)
        elif asked:
            self.reason = "interrupted" if self.pausing else self.move.reason
            self._halt(event, position)

    def _halt(self, event: Event, position: int, breaks: Iterable[Breakpoint] = (), passes: bool = False) -> None:
        """Stop; passes: only for the sake of breakpoints, whose commands may let the program run on unseen."""
        self.pausing = False
        self.known.look(event)
        self._focus_something()
        self.frame = None
        self._at(position)
        if not (bodies.run(self, breaks) and passes) and not (passes and self.move.straight):
            self._stay()
        self._stop = None
        self.known.at(None)
        self.notes.clear()
        if self.detached:
            self._leave()
        elif self._quit and not self.ended:
            raise Quit(self.exit_code)

    def _stay(self) -> None:
        """Wait until a command lets the program run on; one that only walks through what is recorded does not."""
        while True:
            if self._walk is not None:
                position, self._walk, self.frame = self._walk, None, None
                self.pausing = False
                self._at(position)
            self._wait(drawing.shown(self))
            if self._walk is None:
                return

    def _focus_something(self) -> None:
        if not self.known.has(self.focus) and (names := self.known.parameters()):
            self.focus, self.element = self.names.known(self.focus) or names[0], None

    def _at(self, position: int) -> Stop:
        self.known.at(position)
        self._stop = stop = self.draw(position, self.focus)
        return stop

    def look(self, position: int, parameter: str) -> Stop:
        """What one position says about one parameter; it is good until the next one is looked at."""
        return Stop(self.trace, position, parameter, (), growing=self._looked_into)

    def draw(self, position: int, parameter: str) -> Stop:
        """The same, with an element selected and what was edited here."""
        chosen = self.element if parameter == self.focus else None
        stop = Stop(self.trace, position, parameter, chosen or (), growing=self._shown, earlier=self._before)
        self._before = stop
        if self.edited is not None and position == self.present:
            stop.edit(self.edited)
        if self.axes and len(stop.element) > max(2, *self.axes):
            stop.axes = self.axes
        return stop

    # -- what a face asks ------------------------------------------------------------------------

    @property
    def stop(self) -> Stop:
        """The present stop. Raises CommandError where the program runs."""
        if self._stop is None:
            raise CommandError(RUNNING)
        return self._stop

    @property
    def present(self) -> int:
        """Position of the newest event: that is where the program stands."""
        return len(self.trace) - 1

    @property
    def walks(self) -> bool:
        """True where a command wants to look at another event, and the program stays where it is."""
        return self._walk is not None

    @property
    def running(self) -> bool:
        """True while the program runs."""
        return self._stop is None and not self.ended

    def progress(self) -> Progress | None:
        """How far it is, where it is not at a stop; may be called in any thread."""
        return progress(self)

    @property
    def in_past(self) -> bool:
        """True where the stop that is looked at is not the one that the program stands at."""
        return self._stop is not None and (self._stop.position < self.present or self.recorded)

    def select(self, element: tuple[int, ...], axes: tuple[int, ...] | None = None) -> None:
        """Select an element of the focused parameter, and axes to show; what is known of the stop stays known."""
        self.element = self.stop.element = element
        if axes is not None:
            self.axes = self.stop.axes = axes
        self._redraw(drawing.shown(self))

    def refresh(self) -> None:
        """Look at the present stop anew, after the focus changed, or what is shown of it."""
        self._at(self.stop.position)
        self._redraw(drawing.shown(self))

    def situation(self) -> Situation | None:
        """The present stop, None while the program runs."""
        return drawing.situation(self) if self._stop is not None else None

    def rest(self, waits: Callable[[], bool]) -> Situation | None:
        """The present stop, where it was shown without what takes long; see `drawing.rest`."""
        return drawing.rest(self, waits)

    def window(self, name: str, rows: int, cols: int, row0: int, col0: int, pool: bool) -> Window | None:
        """The cells of one matrix of the present stop."""
        return window(self.stop, name, rows, cols, row0, col0, pool)

    def printed(self, position: int, most: int) -> tuple[tuple[str, str], ...]:
        """The last characters that the program had printed at a position, as (stream, text)."""
        return self.trace.printed.tail(position, most)

    def answer(self, question: Question) -> Answer:
        """What a face asks about the present stop."""
        return answer(self, question)

    @once
    def commands(self) -> ModuleType:
        """What there is to execute; it needs this room, too, and is imported at the first command."""
        from backpropdbg.debugger import commands

        return commands

    def execute(self, line: str) -> Result:
        """Run one command line; errors come back as a Result that is not ok."""
        self.again = ""
        try:
            text, moves = self.commands.run(self, line)
        except BackpropdbgError as e:
            return Result(line, str(e), False)
        return Result(line, text, True, moves, self.again, self.walks)

    def pause(self) -> None:
        """Stop at the next event."""
        self.pausing = True

    def quit(self, code: int = 0) -> None:
        """End the program at its next event, or at once where it is stopped; code: that it exits with."""
        self.exit_code = code
        self._quit = True

    def detach(self) -> None:
        """Let the program run on without us; may be called in any thread."""
        self.detached = True

    def _leave(self) -> None:
        """In the program's thread: take every hook out, once."""
        if not self._left:
            self._left = True
            self.program.detach()

    # -- moving ----------------------------------------------------------------------------------

    def walk_to(self, position: int, reason: str, notes: Iterable[str] = ()) -> None:
        """Look at a recorded event; the program stays where it is."""
        self._walk, self.reason = position, reason
        self.notes[:] = notes

    def is_at(self, location: Location, event: Event) -> bool:
        """True where an event is at a place, whatever tied parameters are called there."""
        return location.matches(event, self.focus, self.known.aliases)

    def is_turning_point(self, event: Event) -> bool:
        """True for the events that `next` stops at."""
        if not self.focus:
            self._focus_something()
        return turning.is_turning_point(event, self.focus)

    # -- breakpoints and expressions -------------------------------------------------------------

    def add_breakpoint(self, location: Location, **how: Any) -> Breakpoint:
        """Enter a breakpoint, or a watchpoint, under a number that none had before."""
        self._numbers += 1
        made = Breakpoint(self._numbers, location, **how)
        self.breakpoints.append(made)
        return made

    def selected_frame(self) -> FrameType | None:
        """The frame that `up` or `down` selected."""
        if self.frame is None or self.in_past:
            return None
        frames: list[FrameType] = self.program.stack()
        return frames[self.frame] if self.frame < len(frames) else None

    def evaluate(self, text: str, parameter: str = "") -> object:
        """Value of an expression at the present stop; parameter: whose tensors are meant, if not the focused one's."""
        stop = self.look(self.stop.position, parameter) if parameter else self.stop
        return expressions.evaluate(self, text, stop, self.selected_frame())
