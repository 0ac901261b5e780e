"""The stepping core: decides when to stop and where the cursor is. It knows no torch hook and no screen."""

import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from msgspec import Struct
from msgspec.structs import replace

from backpropdbg.debugger.describe import describe, tensors, window
from backpropdbg.debugger.locations import Location, check_target
from backpropdbg.debugger.stop import Stop
from backpropdbg.errors import BackpropdbgError, CommandError
from backpropdbg.events import (
    Accumulated,
    BackwardFinished,
    BackwardStarted,
    BackwardUse,
    Event,
    ForwardUse,
    IterationStarted,
    ProgramFinished,
    StepFinished,
    StepStarted,
)
from backpropdbg.situation import Situation, Window
from backpropdbg.trace.history import Trace
from backpropdbg.wire.session import Result


class Quit(BaseException):
    """Raised inside a hook to end the program: crosses the engine and `except Exception`."""


class Program(Protocol):
    """What the core may ask of the program under test."""

    def parameters(self) -> tuple[str, ...]:
        """Names of all parameters."""

    def modules(self) -> tuple[str, ...]:
        """Paths of all modules."""

    def evaluate(self, text: str, names: Mapping[str, object]) -> object:
        """Value of an expression in the stopped thread. Raises CommandError."""

    def show(self, value: object) -> str:
        """A value as text."""

    def truth(self, value: object, text: str) -> bool:
        """A value as a condition. text: the expression, for the error."""

    def stack(self) -> list[Any]:
        """The user's frames, innermost first."""

    def optimizer(self) -> str:
        """The optimizer in one line, "" while there is none."""


class Breakpoint(Struct):
    """A place to stop. hits: how often its place was reached and its condition held."""

    number: int
    location: Location
    condition: str = ""
    temporary: bool = False
    enabled: bool = True
    ignore: int = 0
    hits: int = 0


class Debugger:
    """One program under test.

    Args:
        wait: called in the stopped thread with the situation; returns when the program shall run on.
        redraw: called when the same stop is to be shown anew, with another focus or element.
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
    ) -> None:
        self.program, self.trace, self.title, self.seed = program, trace, title, seed
        self.focus = focus
        self.element: tuple[int, ...] | None = None
        self.breakpoints: list[Breakpoint] = []
        self.reason = "entry"
        self.error = ""
        self.ended = False
        self._wait, self._redraw = wait, redraw
        self._wanted: Callable[[Event], bool] = lambda event: True
        self._paused = threading.Event()
        self._quit = threading.Event()
        self._turn = threading.RLock()
        self._stop: Stop | None = None
        self._numbers = 0
        self._iteration = 0

    # -- what the probe drives -------------------------------------------------------------------

    def on_event(self, event: Event) -> None:
        """Append an event to the trace, and stop there if somebody wants to. Raises Quit.

        While one thread is stopped, others wait here: there is one trace and one stop.
        """
        with self._turn:
            if self._quit.is_set():
                raise Quit
            position = self.trace.append(event)
            if not isinstance(event, IterationStarted) and self._should_stop(event, position):
                self._halt(position)

    def finish(self, code: int = 0) -> None:
        """The program is over: a last stop, from which the past can still be looked at."""
        with self._turn:
            self._finish(code)

    def _finish(self, code: int) -> None:
        self.ended = True
        iteration = self.trace[len(self.trace) - 1].iteration if len(self.trace) > self.trace.first else 1
        self.reason = "finished"
        self._halt(self.trace.append(ProgramFinished(iteration, code)))

    def _should_stop(self, event: Event, position: int) -> bool:
        hit = self._breakpoint_hit(event, position)
        if hit is not None:
            self.reason = f"breakpoint {hit.number}"
            return True
        if self._paused.is_set():
            self.reason = "interrupted"
            return True
        return self._wanted(event)

    def _breakpoint_hit(self, event: Event, position: int) -> Breakpoint | None:
        """Count a hit for each breakpoint that is here; return the first that stops."""
        stops = []
        begins, self._iteration = event.iteration != self._iteration, event.iteration
        for b in list(self.breakpoints):
            if not b.enabled or not b.location.matches(event, self.focus) or (b.location.iteration and not begins):
                continue
            error = ""
            if b.condition:
                holds, error = self._condition(b, event, position)
                if not holds:
                    continue
            b.hits += 1
            if b.hits > b.ignore:
                self.error = self.error or error
                stops.append(b)
                if b.temporary:
                    self.breakpoints.remove(b)
        return stops[0] if stops else None

    def _condition(self, b: Breakpoint, event: Event, position: int) -> tuple[bool, str]:
        """Whether it holds, and why it can't be evaluated (then it counts as true)."""
        stop = self._look(position, _subject(event, self.focus))
        try:
            return self.program.truth(self._evaluate(b.condition, stop), b.condition), ""
        except CommandError as e:
            return True, f"breakpoint {b.number}, condition {e}"

    def _halt(self, position: int) -> None:
        self._paused.clear()
        self._focus_something()
        self._at(position)
        self._wait(self._drawable(position))
        self._stop = None
        self.error = ""
        if self._quit.is_set() and not self.ended:
            raise Quit

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
            self.focus = names[0]
            self.element = None

    def _at(self, position: int) -> Stop:
        self._stop = stop = self._look(position, self.focus)
        return stop

    def _look(self, position: int, parameter: str) -> Stop:
        stop = Stop(self.trace, position, parameter, self.element or ())
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
        if not self.error:
            return made
        return replace(made, explanation=(self.error, *made.explanation))

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

    def quit(self) -> None:
        """End the program at its next event, or at once where it is stopped."""
        self._quit.set()

    # -- moving ----------------------------------------------------------------------------------

    def run_until(self, wanted: Callable[[Event], bool], reason: str = "step") -> None:
        """Let the program run until an event is wanted. Raises CommandError where it has ended."""
        if self.ended:
            raise CommandError("the program has ended; restart runs it again")
        self._wanted, self.reason = wanted, reason

    def is_turning_point(self, event: Event) -> bool:
        """True for the events that `next` stops at."""
        match event:
            case ForwardUse() as e:
                return self.focus in e.parameters
            case BackwardUse(use=use):
                return use.parameter == self.focus
            case Accumulated() as e:
                return e.parameter == self.focus
            case StepStarted() | StepFinished():
                return True
        return False

    @staticmethod
    def ends_phase(event: Event) -> bool:
        """True for the events that `finish` stops at."""
        return isinstance(event, (BackwardStarted, BackwardFinished, StepFinished))

    # -- breakpoints and expressions -------------------------------------------------------------

    def add_breakpoint(self, location: Location, condition: str, temporary: bool) -> Breakpoint:
        """Raises CommandError for a target that does not exist."""
        self.check_target(location)
        self._numbers += 1
        made = Breakpoint(self._numbers, location, condition, temporary)
        self.breakpoints.append(made)
        return made

    def check_target(self, location: Location) -> None:
        """Raise CommandError where a LOC names nothing that is known."""
        check_target(location, (*self.program.modules(), *self.program.parameters()))

    def evaluate(self, text: str) -> object:
        """Value of an expression at the present stop."""
        return self._evaluate(text, self.stop)

    def _evaluate(self, text: str, stop: Stop) -> object:
        event = stop.event
        shown = tensors(stop)
        run = stop.run
        loss = stop.loss
        names: dict[str, object] = {
            **{k: shown[k] for k in ("partial", "running", "grad", "weight", "before", "after")},
            "carried": run.carried if run is not None else None,
            "use": event.use.number if isinstance(event, BackwardUse) else None,
            "uses": stop.uses,
            "iteration": event.iteration,
            "phase": stop.phase,
            "event": type(event).__name__,
            "loss": loss,
        }
        names |= {f"A{use.number}": None for use in run.uses} if run is not None else {}
        names |= {f"A{use.number}": partial for use, partial in run.arrived} if run is not None else {}
        if isinstance(event, ForwardUse):
            names["use"] = event.numbers[event.parameters.index(stop.focus) if stop.focus in event.parameters else 0]
        return self.program.evaluate(text, names)


def _subject(event: Event, focus: str) -> str:
    """The parameter whose tensors a condition at this event is about: its own, else the focused one."""
    match event:
        case BackwardUse(use=use):
            return use.parameter
        case Accumulated() as e:
            return e.parameter
        case ForwardUse() as e if focus not in e.parameters:
            return e.parameters[0]
    return focus
