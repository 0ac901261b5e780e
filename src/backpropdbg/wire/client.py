"""`ChildSession`: the program under test in a child process, spoken to in the Debug Adapter Protocol."""

import contextlib
import math
import select
import signal
import threading
import time
from collections.abc import Callable, Sequence

from backpropdbg.errors import WireError
from backpropdbg.situation import Situation
from backpropdbg.wire.again import Again
from backpropdbg.wire.asking import Asking
from backpropdbg.wire.jobs import Jobs
from backpropdbg.wire.link import Answer, Link
from backpropdbg.wire.messages import (
    AttachArguments,
    EvaluateArguments,
    Event,
    OutputBody,
    ProgressBody,
    RaisedBody,
    Response,
    RestBody,
    ResultBody,
    StoppedBody,
    convert,
)
from backpropdbg.wire.process import Child, Streams, cause_of, default_command
from backpropdbg.wire.session import (
    Ended,
    Message,
    ProgramOutput,
    Reached,
    Rest,
    Result,
    Rows,
    Running,
    Said,
    Stopped,
)

NO_PROGRAM = "the program has ended; `restart` starts it again"
_SILENCE = 2.0  # a child that closed its socket but lives on is killed after this
_PIPES = Streams()
_LATE = 1.7  # for close(): the pump must have ended by then


class ChildSession(Asking):
    """A `Session` whose program is a child process.

    Args:
        streams: where the program's standard streams lead.
        first: commands to carry out before the first stop is handed out, at each start of the program.

    One thread owns the child; other threads only leave jobs for it, so messages arrive in order.
    Example: `session = ChildSession({"program": "demo", "demo": {}})`, then `session.start(print)`.
    """

    def __init__(
        self,
        options: dict[str, object],
        command: list[str] | None = None,
        streams: Streams = _PIPES,
        first: Sequence[str] = (),
    ) -> None:
        self.options = options
        self._command = command or default_command()
        self._streams, self._again = streams, Again(first)
        self._early: list[Message] = []
        self._receive: Callable[[Message], None] = self._early.append
        self._jobs = Jobs()
        self._lock = threading.Lock()
        self._pump: threading.Thread | None = None
        self._closing = False
        self._child: Child | None = None
        self._link: Link | None = None
        self._reset()

    def _reset(self) -> None:
        self._last: Situation | None = None
        self._released = False
        self._raised = self._failure = ""
        self._kill_at = float("inf")

    # ---- for the face, from any thread

    def prepare(self) -> None:
        """Start the child before there is a face; what it says is kept for `start`."""
        with self._lock:
            if self._pump is not None or self._closing:
                return
            self._pump = threading.Thread(target=self._run, name="backpropdbg-pump", daemon=True)
        self._jobs.post(self._spawn)
        self._pump.start()

    def start(self, receive: Callable[[Message], None]) -> None:
        """Start the child, unless it was prepared; return at once."""
        self._jobs.post(lambda: self._hand_over(receive))
        self.prepare()

    def _hand_over(self, receive: Callable[[Message], None]) -> None:
        self._receive = receive
        for message in self._early:
            self._emit(message)
        self._early.clear()

    def command(self, line: str) -> None:
        """Send one command line; a Result follows (and a Stopped where it moves)."""
        if line.split()[:1] == ["restart"]:
            self._jobs.post(lambda: self._emit(Result(line, "", moves=True)))
            self.restart(to_here=line.split()[1:] == ["--to", "HERE"])
        else:
            self._jobs.post(lambda: self._send_command(line))

    def interrupt(self) -> None:
        """Stop a running program at its next event."""

        def pause() -> None:
            self._request("pause", {})

        self._jobs.post(pause)

    def feed(self, text: str) -> None:
        """Type into the program's standard input, where that is a pseudo terminal."""

        def type_in() -> None:
            if self._child is not None:
                self._child.feed(text)

        self._jobs.post(type_in)

    def signal(self, number: int) -> None:
        """Send a signal to the program and its workers."""

        def send() -> None:
            if self._child is not None:
                self._child.signal_group(number)

        self._jobs.post(send)

    def release(self) -> None:
        """Let the program run to its end without us; Ended follows then."""

        def let_go() -> None:
            self._released = True
            self._request("disconnect", {"terminateDebuggee": False})

        self._jobs.post(let_go)

    def restart(self, to_here: bool = False) -> None:
        """Kill the child and start it again with the same options and breakpoints; to_here: up to the last stop."""
        self._jobs.post(lambda: self._respawn(to_here))

    def close(self) -> None:
        """End the child, in two seconds at most; safe to call twice and at any moment."""
        with self._lock:
            self._closing = True
            pump = self._pump
        if pump is None:
            self._jobs.close()
            return
        self._jobs.wake()
        if pump is threading.current_thread():
            return  # called from receive(): the pump ends the child as soon as that returns
        pump.join(_LATE)
        child = self._child
        if pump.is_alive() and child is not None:  # it hangs in receive()
            child.signal_group(signal.SIGKILL)

    # ---- the pump thread

    def _run(self) -> None:
        try:
            while not self._closing:
                while not self._closing and (job := self._jobs.take()) is not None:
                    job()
                if not self._closing:
                    self._pump_once()
        except Exception:
            if not self._closing:  # a face that is going away may fail in receive()
                raise
        finally:
            self._finish()

    def _leave(self) -> Child | None:
        """There is no child from here on; return the one that there was."""
        child, self._child = self._child, None
        if self._link is not None:
            self._link.open = False
        self._link = None
        return child

    def _finish(self) -> None:
        child = self._child
        try:
            if child is not None:
                self._say_goodbye(child)
                child.close_files()
        finally:
            self._leave()
            self._jobs.close()

    def _say_goodbye(self, child: Child) -> None:
        """Ask to end, keep reading so that nobody waits for room in a pipe, then insist."""
        if self._link is not None:
            self._link.say_goodbye()
        deadline = time.monotonic() + 0.8
        while not child.gone.wait(0.01) and time.monotonic() < deadline:
            child.drain(lambda name, text: None)
        child.end(polite=False)

    def _pump_once(self) -> None:
        """Wait for something to happen, and handle it."""
        child, link = self._child, self._link
        waiting = select.poll()  # made anew each time, which takes epoll three system calls more
        waiting.register(self._jobs.fd, select.POLLIN)
        if child is not None:
            for fd in child.pipes:
                waiting.register(fd, select.POLLIN)
            if link is not None and link.open:
                waiting.register(child.socket, select.POLLIN | (select.POLLOUT if link.busy else 0))
        wait = self._kill_at - time.monotonic()
        ready = dict(waiting.poll(None if wait == float("inf") else math.ceil(1000 * max(0.0, wait))))
        if ready.pop(self._jobs.fd, 0):
            self._jobs.rest()
        if child is None or link is None:
            return
        if link.open and ready.get(child.socket.fileno(), 0) & select.POLLOUT:
            link.flush()
        if link.open and ready:  # the socket first: what the program prints after a Result stays after it
            self._read(link)
        for fd in list(child.pipes) if ready else ():
            if fd in ready and self._child is child:
                name, text, _ = child.read_pipe(fd)
                self._emit_output(name, text)
        if self._child is child and child.gone.is_set():
            self._bury(child)
        elif time.monotonic() >= self._kill_at:
            child.signal_group(signal.SIGKILL)
            self._kill_at = time.monotonic() + _SILENCE

    def _emit(self, message: Message) -> None:
        if not self._closing:
            self._receive(message)

    def _emit_output(self, stream: str, text: str) -> None:
        if text:
            self._emit(ProgramOutput(stream, text))

    def _spawn(self, here: Situation | None = None) -> None:
        self._reset()
        self._again.begin(here)
        try:
            child = Child(self._command, self.options, self._jobs.wake, self._streams)
        except OSError as error:
            self._emit(Ended(f"the program could not be started: {error}", 1))
            return
        self._child = child
        self._link = Link(child, lambda event: self._hear(event, child))
        self._request("initialize", {"clientID": "backpropdbg", "adapterID": "backpropdbg"}, self._must_succeed)
        self._request("attach", AttachArguments(child.token), self._must_succeed)
        for line in self._again.set:
            self._request("evaluate", EvaluateArguments(line), self._repeated)
        self._request("configurationDone", {}, self._must_succeed)

    def _respawn(self, to_here: bool) -> None:
        here = self._last if to_here else None
        child = self._leave()
        if child is not None:
            child.end(polite=False)
            child.close_files()
        self._spawn(here)

    def _bury(self, child: Child) -> None:
        """The process is gone: hand out what it left, then say so."""
        with contextlib.suppress(WireError):
            while self._link is not None and self._link.open and self._link.read():
                pass
        child.drain(self._emit_output)
        code = child.reap()
        child.drain(self._emit_output)
        child.close_files()
        self._leave()
        self._kill_at = float("inf")
        raised = code > 0 and bool(self._raised)
        self._emit(Ended(self._failure or cause_of(code, self._raised if raised else ""), code, raised))

    def _fail(self, cause: str) -> None:
        """What arrives makes no sense: end the child and say why."""
        self._failure = self._failure or cause
        if self._link is not None:
            self._link.open = False
        self._kill_at = min(self._kill_at, time.monotonic())

    # ---- requests

    def _request(self, command: str, arguments: object, answer: Answer = lambda response: None) -> bool:
        """Ask the child; False where there is none."""
        if self._link is None:
            return False
        self._link.request(command, arguments, answer)
        return True

    def _must_succeed(self, response: Response) -> None:
        if not response.success:
            self._fail(f"the program's process refused {response.command}: {response.message}")

    def _send_command(self, line: str) -> None:
        def answer(response: Response) -> None:
            body = convert(response.body, ResultBody)
            text = body.result if response.success else response.message
            if not body.moves and self._child is not None:
                self._child.drain(self._emit_output)
            if response.success:
                self._again.note(line, body.again)
            self._emit(Result(line, text, response.success, body.moves, walks=body.walks))

        if not self._request("evaluate", EvaluateArguments(line), answer):
            self._emit(Result(line, NO_PROGRAM, ok=False))

    # ---- what arrives

    def _read(self, link: Link) -> None:
        """Handle what the child says, or that it says no more."""
        try:
            link.read()
        except WireError as error:
            self._fail(f"the program's process sent nonsense: {error}")
        if not link.open and not self._released:
            self._kill_at = min(self._kill_at, time.monotonic() + _SILENCE)

    def _hear(self, event: Event, child: Child) -> None:
        if event.event == "stopped":
            child.drain(self._emit_output)
            self._stopped(convert(event.body, StoppedBody).situation)
        elif event.event == "backpropdbg/rest":
            self._complete(convert(event.body, RestBody).situation)
        elif event.event == "continued":
            self._emit(Running())
        elif event.event == "backpropdbg/progress":
            self._emit(Reached(convert(event.body, ProgressBody).progress))
        elif event.event == "output":
            self._emit(Said(convert(event.body, OutputBody).output))
        elif event.event == "backpropdbg/rows":
            self._emit(Rows(bytes(event.body)))
        elif event.event == "backpropdbg/raised":
            self._raised = convert(event.body, RaisedBody).error

    def _stopped(self, situation: Situation) -> None:
        """Hand out a stop, once what was to be done first is done."""
        self._last = situation
        if self._again.doing or self._again.repeating:
            return  # drawn anew by what is repeated after a restart; the stop that counts is yet to come
        if self._again.first:
            self._do_first()
        else:
            self._emit(Stopped(situation))

    def _complete(self, situation: Situation) -> None:
        """The rest of a stop is here: it is handed out where the stop was, else with it."""
        self._last = situation
        if not (self._again.doing or self._again.repeating or self._again.first):
            self._emit(Rest(situation))

    def _repeated(self, response: Response) -> None:
        """One of the lines is set again; after the last one a stop that waits for that is handed out."""
        self._again.repeating -= 1
        text = convert(response.body, ResultBody).result if response.success else ""
        if text.startswith("muted: "):
            self._again.muted = text
        if not self._again.repeating and self._again.muted:
            self._emit(Said(f"still {self._again.muted}\n"))
        if not self._again.repeating and self._last is not None:
            self._stopped(self._last)

    def _do_first(self) -> None:
        line, self._again.doing = self._again.first.popleft(), True

        def answer(response: Response) -> None:
            self._again.doing = False
            body = convert(response.body, ResultBody)
            self._emit(Result(line, body.result if response.success else response.message, response.success))
            if body.moves:
                return
            if self._again.first:
                self._do_first()
            elif self._last is not None:
                self._emit(Stopped(self._last))

        self._request("evaluate", EvaluateArguments(line), answer)
