"""The Debug Adapter Protocol beside the program: a daemon thread reads, the stopped thread carries commands out.

Start it before torch is imported. In a forked worker (another pid) all of it is inert.
"""

import contextlib
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

from backpropdbg.errors import BackpropdbgError, WireError
from backpropdbg.hurry import GivenUp, allowing
from backpropdbg.questions import Answer, Question
from backpropdbg.situation import Progress, Situation, Window
from backpropdbg.wire.messages import (
    RUNNING,
    AnswerBody,
    AskArguments,
    DisconnectArguments,
    EvaluateArguments,
    PrintedArguments,
    PrintedBody,
    ProgressBody,
    Request,
    RestBody,
    ResultBody,
    TensorArguments,
    convert,
)
from backpropdbg.wire.peer import CAPABILITIES, Peer
from backpropdbg.wire.session import Result
from backpropdbg.wire.ticker import Ticker

GRACE = 0.7
_NO_EVENT = 0.3
_PAINT = 0.02  # seconds in which a face paints a stop: what is computed for it meanwhile would take its processor
_LINES = {
    "next": "next",
    "stepIn": "step",
    "stepOut": "finish",
    "continue": "continue",
    "stepBack": "rs",
    "reverseContinue": "rc",
}
_COMMANDS = {*_LINES, "evaluate"}
_QUESTIONS = {"backpropdbg/situation", "backpropdbg/tensor", "backpropdbg/printed", "backpropdbg/ask"}


class Host(Protocol):
    """The debugger core, as the server sees it.

    Attributes:
        lacks: the stop was shown without some numbers.
    """

    lacks: bool

    def rest(self, waits: Callable[[], bool]) -> Situation | None:
        """Return this stop with all numbers, in the stopped thread; None once it is to wait: see `hurry`."""

    def execute(self, line: str) -> Result:
        """Carry out one command line, in the stopped thread."""

    def window(self, name: str, rows: int, cols: int, row0: int, col0: int, pool: bool) -> Window | None:
        """Return cells of a matrix of this stop, in the stopped thread."""

    def situation(self) -> Situation | None:
        """Return this stop."""

    def printed(self, position: int, most: int) -> tuple[tuple[str, str], ...]:
        """Return the last characters that the program had printed at a position."""

    def answer(self, question: Question) -> Answer:
        """Return what a face asks about this stop, in the stopped thread."""

    def progress(self) -> Progress | None:
        """Return how far it is; called in another thread."""

    def pause(self) -> None:
        """Stop at the next event; called in the server's thread."""

    def detach(self) -> None:
        """Let the program run on without us; called in the server's thread. `wait_at_stop` returns after it."""

    def quit(self) -> None:
        """Arrange that the program ends; called in the server's thread. `wait_at_stop` returns after it."""


class Server:
    """Serves one face. `fd` is a listening socket, `token` what `attach` must bring, `parent` who started us.

    Attributes:
        break_in: stops the program between two events, where none comes for a while after `pause`.

    Example: `server = Server.from_environment()`, then `server.serve(host)`, then at a stop
    `server.wait_at_stop(situation)`.
    """

    def __init__(self, fd: int, token: str, parent: int) -> None:
        self._pid = os.getpid()
        self._peer = Peer(fd, token, parent)
        self._host: Host | None = None
        self._ticker: Ticker | None = None
        self.break_in: Callable[[], object] = lambda: None
        self._changed = threading.Condition()
        self._jobs: deque[Request] = deque()
        self._backlog: list[tuple[str, object]] = []
        self._ready = self._stopped = self._seen_stop = self._pause_wanted = False
        self._quitting = self._released = False
        threading.Thread(target=self._run, name="backpropdbg-wire", daemon=True).start()

    @classmethod
    def from_environment(cls) -> "Server":
        """Make the server that the parent asked for, and leave no trace of it in the program's environment."""
        fd, token, parent = (os.environ.pop(f"BACKPROPDBG_{name}") for name in ("FD", "TOKEN", "PARENT"))
        return cls(int(fd), token, int(parent))

    def serve(self, host: Host) -> None:
        """From now on `host` answers."""
        self._ticker = Ticker(host.progress, lambda found: self.event("backpropdbg/progress", ProgressBody(found)))
        self._ticker.go()
        with self._changed:
            self._host = host
            pause, released = self._pause_wanted, self._released
        if pause:
            host.pause()
        if released:
            host.detach()

    def event(self, name: str, body: object = None) -> None:
        """Send an event; before the face is ready it is kept for then."""
        if os.getpid() != self._pid:
            return
        with self._changed:
            if not self._ready:
                self._backlog.append((name, body))
                return
        self._peer.event(name, body)

    def wait_at_stop(self, situation: Situation) -> None:
        """Report a stop, then carry out commands in this thread until one of them moves, or the face quits."""
        if os.getpid() != self._pid:
            return
        _flush_output()
        with self._changed:
            self._stopped = self._seen_stop = True
        self.event("stopped", {"reason": situation.reason, "threadId": 1, "situation": situation})
        moved = False
        while not moved:
            self._tick(False)
            request = self._next()
            if request is None:
                return
            self._tick(True)
            moved = self._do(request)

    def _next(self) -> Request | None:
        """Wait for a job, a command first: what was asked before it would hold it up. None where all is over.

        Meanwhile compute what the stop was shown without.
        """
        while True:
            with self._changed:
                while not self._wanted() and not self._lacks():
                    self._changed.wait()
                if not self._wanted():
                    self._changed.wait(_PAINT)
                if self._over():
                    self._stopped = False
                    return None
                if self._jobs:
                    found = next((job for job in self._jobs if job.command in _COMMANDS), self._jobs[0])
                    self._jobs.remove(found)
                    return found
                host = self._host
            rest = host.rest(self._wanted) if host is not None else None
            if rest is not None:
                self.event("backpropdbg/rest", RestBody(rest))

    def _over(self) -> bool:
        return self._quitting or self._released

    def _wanted(self) -> bool:
        return bool(self._jobs) or self._over()

    def _lacks(self) -> bool:
        return self._host is not None and self._host.lacks

    def _hurries(self) -> bool:
        """True where a command waits, or all is over."""
        with self._changed:
            return self._over() or any(job.command in _COMMANDS for job in self._jobs)

    def _tick(self, going: bool) -> None:
        """The program, or a command, is at work or not."""
        if self._ticker is not None:
            (self._ticker.go if going else self._ticker.rest)()

    def _do(self, request: Request) -> bool:
        """Carry out one job and answer it. Returns True where the program runs on.

        A question has to wait for a command that comes meanwhile.
        """
        moves = False
        late: list[Request] = []
        try:
            with allowing(waits=self._hurries if request.command in _QUESTIONS else _never):
                body, moves = self._perform(request)
        except GivenUp:
            with self._changed:
                self._jobs.appendleft(request)
            return False
        except BackpropdbgError as error:
            self._peer.answer(request, error=str(error))
            return False
        except Exception as error:  # a bug of ours must not end the user's program
            self._peer.answer(request, error=f"internal error: {type(error).__name__}: {error}")
            return False
        if moves:
            with self._changed:
                self._stopped = False
                late = list(self._jobs)
                self._jobs.clear()
        _flush_output()
        if not isinstance(body, Result):
            self._peer.answer(request, body)
        elif moves:
            made = ResultBody(body.text, moves, body.again, body.walks)
            self._peer.answer_and_tell(request, made, "continued", {"threadId": 1})
        elif body.ok:
            self._peer.answer(request, ResultBody(body.text, moves, body.again, body.walks))
        else:
            self._peer.answer(request, ResultBody(body.text, moves), error=body.text or "the command failed")
        for left in late:
            self._peer.answer(left, error=RUNNING)
        return moves

    def _perform(self, request: Request) -> tuple[object, bool]:
        host = self._host
        if host is None:
            raise WireError("the program is not ready")
        if request.command == "backpropdbg/situation":
            return host.situation(), False
        if request.command == "backpropdbg/tensor":
            want = convert(request.arguments, TensorArguments)
            if want.rows < 1 or want.cols < 1 or want.row0 < 0 or want.col0 < 0 or want.rows * want.cols > 1_000_000:
                raise WireError(f"bad window: {want.rows} x {want.cols} from [{want.row0}, {want.col0}]")
            window = host.window(want.name, want.rows, want.cols, want.row0, want.col0, want.pool)
            return {"window": window}, False
        if request.command == "backpropdbg/printed":
            asked = convert(request.arguments, PrintedArguments)
            return PrintedBody(host.printed(asked.position, asked.most)), False
        if request.command == "backpropdbg/ask":
            return AnswerBody(host.answer(convert(request.arguments, AskArguments).question)), False
        line = _LINES.get(request.command) or convert(request.arguments, EvaluateArguments).expression
        result = host.execute(line)
        return result, result.moves

    # ---- the reading thread

    def _run(self) -> None:
        with contextlib.suppress(OSError, WireError, ValueError):
            for request in self._peer.requests():
                if self._dispatch(request):
                    break
        if not self._released:
            self._quit()

    def _dispatch(self, request: Request) -> bool:
        """Answer a request or queue it for the stopped thread. Returns True on disconnect."""
        command = request.command
        if command == "disconnect":
            self._peer.answer(request)
            self._released = not convert(request.arguments, DisconnectArguments).terminateDebuggee
            if self._released:
                self._release()
            return True
        if command == "pause":
            with self._changed:
                host = self._host
                self._pause_wanted = host is None
            self._peer.answer(request)
            if host is not None:
                host.pause()
                self._break_in_later()
        elif command == "configurationDone":
            self._peer.answer(request)
            with self._changed:
                self._ready = True
                for name, body in self._backlog:
                    self._peer.event(name, body)
                self._backlog.clear()
        elif command == "initialize":
            self._peer.answer(request, CAPABILITIES)
        elif command in _COMMANDS or command in _QUESTIONS:
            with self._changed:
                waits = self._stopped or not self._seen_stop
                if waits:
                    self._jobs.append(request)
                    self._changed.notify_all()
            if not waits:
                self._peer.answer(request, error=RUNNING)
        else:
            self._peer.answer(request, error=f"unknown request {command[:60]!r}")
        return False

    def _break_in_later(self) -> None:
        """Where no event comes soon, stop at the line that runs."""

        def unless_stopped() -> None:
            if not self._stopped and not self._quitting and not self._released:
                self.break_in()

        late = threading.Timer(_NO_EVENT, unless_stopped)
        late.daemon = True
        late.start()

    def _release(self) -> None:
        """Let the program go: it runs on without us."""
        with self._changed:
            host = self._host
        if host is not None:
            host.detach()
        with self._changed:
            self._changed.notify_all()

    def _quit(self) -> None:
        """End the process: politely through the host, and for certain after the grace."""
        host = self._host
        if host is None:
            os._exit(0)
        deadline = threading.Timer(GRACE, os._exit, (0,))
        deadline.daemon = True
        deadline.start()
        with contextlib.suppress(Exception):
            host.quit()
        with self._changed:  # only now may a stop end
            self._quitting = True
            self._changed.notify_all()
        deadline.join()


def _never() -> bool:
    return False


def _flush_output() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


__all__ = ["RUNNING", "Host", "Server"]
