"""The stepping core: decides when to stop and where the cursor is. It knows no torch hook and no screen."""

import threading
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

from msgspec.structs import replace

from backpropdbg.debugger import expressions
from backpropdbg.debugger.breakpoints import Breakpoint
from backpropdbg.debugger.describe import describe, source, window
from backpropdbg.debugger.locations import Location
from backpropdbg.debugger.naming import Names
from backpropdbg.debugger.program import Program
from backpropdbg.debugger.stop import Stop
from backpropdbg.debugger.watch import changed
from backpropdbg.errors import BackpropdbgError, CommandError
from backpropdbg.events import (
    Accumulated,
    BackwardFinished,
    BackwardStarted,
    BackwardUse,
    Event,
    ForwardUse,
    GradCleared,
    Held,
    IterationStarted,
    Paused,
    ProgramFinished,
    StepFinished,
    StepStarted,
)
from backpropdbg.events import Location as Line
from backpropdbg.situation import Situation, Window
from backpropdbg.trace.history import Trace
from backpropdbg.wire.session import Result


class Quit(SystemExit):
    """Raised inside a hook to end the program: crosses the engine and `except Exception`, and ends without a word."""


class Debugger:
    """One program under test.

    Args:
        wait: called in the stopped thread with the situation; returns when the program shall run on.
        redraw: called when the same stop is to be shown anew, with another focus or element.
        say: gets what the commands of a breakpoint print.

    Attributes:
        displays: expressions to show at each stop, by number.
        edited: what the user put in the place of this stop's partial.
        collecting: what the lines are added to that come between `commands N` and `end`.
        frame: how far up the stack the selected frame of the user's is; None: the stop's own line.
        notes: what to say first about this stop, e.g. a condition that can't be evaluated.
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
    ) -> None:
        self.names = Names(program)
        self.program, self.trace, self.title, self.seed = program, trace, title, seed
        self.focus = focus
        self.element: tuple[int, ...] | None = None
        self.breakpoints: list[Breakpoint] = []
        self.displays: dict[int, str] = {}
        self.frame: int | None = None
        self.edited: Held | None = None
        self.collecting: tuple[Breakpoint, list[str]] | None = None
        self.reason = "entry"
        self.notes: list[str] = []
        self.ended = False
        self.exit_code = 0
        self._wait, self._redraw, self.say = wait, redraw, say
        # A zero_grad before there is anything to see is no place to begin at.
        self._wanted: Callable[[Event], bool] = lambda event: not (isinstance(event, GradCleared) and not event.grads)
        self._move = "entry"
        self._paused = threading.Event()
        self._quit = threading.Event()
        self._detached = threading.Event()
        self._left = False
        self._turn = threading.RLock()
        self._owner = 0
        self._stop: Stop | None = None
        self._numbers = 0
        self._iteration = 0

    # -- what the probe drives -------------------------------------------------------------------

    def on_event(self, event: Event) -> None:
        """Append an event to the trace, and stop there if somebody wants to. Raises Quit.

        While one thread is stopped, others wait here: there is one trace and one stop.
        """
        with self._turn:
            if self._detached.is_set():
                self._leave()
                return
            if self._quit.is_set():
                raise Quit(self.exit_code)
            self._owner = threading.get_ident()
            try:
                position = self.trace.append(event)
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
            if self._detached.is_set() or self.ended:
                return
            if self._quit.is_set():
                raise Quit(self.exit_code)
            self._owner = threading.get_ident()
            try:
                frames = self.program.stack() if where is None else []
                where = Line(frames[0].f_code.co_filename, frames[0].f_lineno) if frames else where
                self.reason = why
                self._halt(self.trace.append(Paused(self._last_iteration(), why, where)))
            finally:
                self._owner = 0

    def finish(self, code: int = 0) -> None:
        """The program is over: a last stop, from which the past can still be looked at."""
        with self._turn:
            if self._detached.is_set():
                return
            self.ended = True
            self.reason = "finished"
            self._halt(self.trace.append(ProgramFinished(self._last_iteration(), code)))

    def _last_iteration(self) -> int:
        return self.trace[len(self.trace) - 1].iteration if len(self.trace) > self.trace.first else 1

    def _look_for_a_stop(self, event: Event, position: int) -> None:
        hits = self._hits(event, position)
        interrupted, arrived = self._paused.is_set(), self._wanted(event)
        if hits or interrupted or arrived:
            self.reason = hits[0].name if hits else "interrupted" if interrupted else self._move
            self._halt(position, hits, passes=not interrupted and not arrived)

    def _hits(self, event: Event, position: int) -> list[Breakpoint]:
        """Count a hit for each breakpoint that is here; return those that stop."""
        stops = []
        begins, self._iteration = event.iteration != self._iteration, event.iteration
        if self.breakpoints and not self.focus:
            self._focus_something()
        for b in list(self.breakpoints):
            if not b.enabled:
                continue
            note = ""
            if b.watch is not None:
                note = changed(b, self.program, Stop(self.trace, position, b.watch.focus or self.focus, ()))
                here = bool(note)
            else:
                here = self.is_at(b.location, event) and (begins or not b.location.iteration)
            if not here:
                continue
            if b.condition:
                holds, error = self.holds(b, event, position)
                if not holds:
                    continue
                note = error or note
            b.hits += 1
            if b.hits > b.ignore:
                self.notes += [note] * bool(note)
                stops.append(b)
                if b.temporary:
                    self.breakpoints.remove(b)
        return stops

    def is_at(self, location: Location, event: Event) -> bool:
        """True where an event is at a place, whatever tied parameters are called there."""
        return location.matches(event, self.focus, self.program.aliases)

    def holds(self, b: Breakpoint, event: Event, position: int) -> tuple[bool, str]:
        """Whether a condition holds, and why it can't be evaluated (then it counts as true)."""
        stop = Stop(self.trace, position, expressions.subject(event, self.focus), ())
        try:
            return self.program.truth(self._evaluate(b.condition, stop), b.condition), ""
        except CommandError as e:
            return True, f"{b.name}, condition {e}"

    def _halt(self, position: int, hits: Iterable[Breakpoint] = (), passes: bool = False) -> None:
        """Stop; passes: only for the sake of breakpoints, whose commands may let the program run on unseen."""
        self._paused.clear()
        self._focus_something()
        self.frame = self.edited = None
        self._at(position)
        if not (self._run_commands(hits) and passes):
            self._wait(self._drawable(position))
        self._stop = None
        self.notes.clear()
        if self._detached.is_set():
            self._leave()
        elif self._quit.is_set() and not self.ended:
            raise Quit(self.exit_code)

    def _run_commands(self, hits: Iterable[Breakpoint]) -> bool:
        """Run what breakpoints have to do; True where one of their commands lets the program run on."""
        from backpropdbg.debugger.commands import goes_on

        for b in hits:
            for line in b.commands:
                if goes_on(line):
                    return True
                result = self.execute(line)
                if result.text:
                    self.say(result.text if result.ok else f"{b.name}, {line}: {result.text}")
                if not result.ok:
                    self.notes.append(f"{b.name}, {line}: {result.text}")
                    return False
                if result.moves:
                    return True
        return False

    def _drawable(self, position: int) -> Situation:
        """The situation of a stop. A failure of ours must not reach the program: it is shown in place of the stop."""
        try:
            return self.situation_now()
        except Exception as error:
            event = self.trace[position]
            line = f"internal error: {type(error).__name__}: {error}".splitlines()[0]
            return Situation(
                position, event.iteration, "forward", type(event).__name__, "this stop can't be drawn", self.title,
                None, self.seed, "", self.focus, (), (), self.program.parameters(), (), (), (), "running sum", (),
                None, (line,), "", self.reason,
            )  # fmt: skip

    def _focus_something(self) -> None:
        names = self.program.parameters()
        if names and self.focus not in names:
            self.focus, self.element = self.names.known(self.focus) or names[0], None

    def _at(self, position: int) -> Stop:
        self._stop = stop = self._look(position, self.focus)
        return stop

    def _look(self, position: int, parameter: str) -> Stop:
        stop = Stop(self.trace, position, parameter, self.element or ())
        if self.edited is not None:
            stop.edit(self.edited)
        shown = next((held for held in (stop.weight, stop.grad, stop.partial) if held is not None), None)
        shape = shown.shape if shown is not None else None
        fits = self.element is not None and parameter == self.focus
        if shape is not None and not (fits and len(stop.element) == len(shape)):
            stop.element = tuple(0 for _ in shape)
        return stop

    # -- what a face asks ------------------------------------------------------------------------

    @property
    def stop(self) -> Stop:
        """The present stop. Raises CommandError where the program runs."""
        if self._stop is None:
            raise CommandError("the program is running; interrupt it first")
        return self._stop

    def refresh(self) -> None:
        """Look at the present stop anew, after the focus or the element changed."""
        self._at(self.stop.position)
        self._redraw(self.situation_now())

    def situation_now(self) -> Situation:
        """The present stop as a value."""
        made = describe(
            self.stop, self.title, self.seed, self.program.optimizer(), self.program.parameters(), self.reason
        )
        frame = self.selected_frame()
        shown = made.source
        if frame is not None:
            shown = source(Line(frame.f_code.co_filename, frame.f_lineno), frame.f_code.co_name)
        return replace(
            made,
            explanation=(*self.notes, *made.explanation),
            source=shown,
            displays=tuple(self.displayed(text) for text in self.displays.values()),
            names=self.program.aliases(self.focus) if self.focus else (),
        )

    def situation(self) -> Situation | None:
        """The present stop, None while the program runs."""
        return self.situation_now() if self._stop is not None else None

    def window(self, name: str, rows: int, cols: int, row0: int, col0: int, pool: bool) -> Window | None:
        """The cells of one matrix of the present stop."""
        return window(self.stop, name, rows, cols, row0, col0, pool)

    def execute(self, line: str) -> Result:
        """Run one command line; errors come back as a Result that is not ok."""
        from backpropdbg.debugger.commands import run

        try:
            text, moves = run(self, line)
        except BackpropdbgError as e:
            return Result(line, str(e), False)
        return Result(line, text, True, moves)

    def pause(self) -> None:
        """Stop at the next event."""
        self._paused.set()

    @property
    def pausing(self) -> bool:
        """True from `pause` to the stop."""
        return self._paused.is_set()

    def quit(self, code: int = 0) -> None:
        """End the program at its next event, or at once where it is stopped; code: that it exits with."""
        self.exit_code = code
        self._quit.set()

    def detach(self) -> None:
        """Let the program run on without us; may be called in any thread."""
        self._detached.set()

    @property
    def detached(self) -> bool:
        """True once the program runs on without us."""
        return self._detached.is_set()

    def _leave(self) -> None:
        """In the program's thread: take every hook out, once."""
        if not self._left:
            self._left = True
            self.program.detach()

    # -- moving ----------------------------------------------------------------------------------

    def run_until(self, wanted: Callable[[Event], bool], reason: str = "step") -> None:
        """Let the program run until an event is wanted. Raises CommandError where it has ended."""
        if self.ended:
            raise CommandError("the program has ended; restart runs it again")
        self._wanted, self._move = wanted, reason

    def is_turning_point(self, event: Event) -> bool:
        """True for the events that `next` stops at."""
        if not self.focus:
            self._focus_something()
        match event:
            case ForwardUse() as e:
                return self.focus in e.parameters
            case BackwardUse(use=use):
                return use.parameter == self.focus
            case Accumulated() as e:
                return e.parameter == self.focus
            case StepStarted() as e:
                return self.focus in e.grads
            case StepFinished():
                events = self.trace.iteration(event.iteration)
                begun = next((e for e in reversed(events) if isinstance(e, StepStarted)), None)
                return begun is None or self.focus in begun.grads
        return False

    @staticmethod
    def ends_phase(event: Event) -> bool:
        """True for the events that `finish` stops at."""
        return isinstance(event, (BackwardStarted, BackwardFinished, StepFinished))

    # -- breakpoints and expressions -------------------------------------------------------------

    def add_breakpoint(self, location: Location, **how: Any) -> Breakpoint:
        """Enter a breakpoint, or a watchpoint, under a number that none had before."""
        self._numbers += 1
        made = Breakpoint(self._numbers, location, **how)
        self.breakpoints.append(made)
        return made

    def selected_frame(self) -> FrameType | None:
        """The frame that `up` or `down` selected."""
        if self.frame is None:
            return None
        frames: list[FrameType] = self.program.stack()
        return frames[self.frame] if self.frame < len(frames) else None

    def evaluate(self, text: str, parameter: str = "") -> object:
        """Value of an expression at the present stop; parameter: whose tensors are meant, if not the focused one's."""
        stop = Stop(self.trace, self.stop.position, parameter, ()) if parameter else self.stop
        return self._evaluate(text, stop, self.selected_frame())

    def displayed(self, text: str) -> str:
        """An expression and its value, on one line."""
        try:
            return f"{text} = {' '.join(self.program.show(self.evaluate(text)).split())}"
        except CommandError as e:
            return str(e)

    def _evaluate(self, text: str, stop: Stop, frame: FrameType | None = None) -> object:
        try:
            return self.program.evaluate(text, expressions.values(text, stop), frame)
        except CommandError as e:
            other = expressions.subject(stop.event, stop.focus)
            if other == stop.focus or "None at this stop" not in str(e):
                raise
            raise CommandError(f"{e}: names are about {stop.focus}; focus {other} is about what is here") from None
