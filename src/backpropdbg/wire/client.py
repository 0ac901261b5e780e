"""`ChildSession`: the program under test in a child process, spoken to in the Debug Adapter Protocol."""

import contextlib
import os
import re
import selectors
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from msgspec import Struct

from backpropdbg.errors import WireError
from backpropdbg.situation import Situation, Timeline, Window
from backpropdbg.wire.messages import (
    AttachArguments,
    EvaluateArguments,
    Event,
    Framer,
    OutputBody,
    PrintedArguments,
    PrintedBody,
    RaisedBody,
    Request,
    Response,
    ResultBody,
    TensorArguments,
    TimelineArguments,
    convert,
    frame,
    parse,
    raw,
)
from backpropdbg.wire.process import Child, Streams, default_command
from backpropdbg.wire.session import (
    Body,
    Cells,
    Ended,
    Message,
    Moments,
    Printed,
    ProgramOutput,
    Result,
    Rows,
    Running,
    Said,
    Stopped,
)

NO_PROGRAM = "the program has ended; `restart` starts it again"
_KEPT = re.compile(
    r"(b|break|tbreak|condition|ignore|enable|disable|clear|focus|element|watch|display|undisplay|track|mute|unmute|commands)\b"
)
_SILENCE = 2.0  # a child that closed its socket but lives on is killed after this
_PIPES = Streams()
_LATE = 1.7  # for close(): the pump must have ended by then


class _StoppedBody(Struct):
    situation: Situation


class _CellsBody(Struct):
    window: Window | None = None


class ChildSession:
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
        self._streams, self._first = streams, tuple(first)
        self._early: list[Message] = []
        self._receive: Callable[[Message], None] = self._early.append
        self._jobs: deque[Callable[[], None]] = deque()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._lock = threading.Lock()
        self._pump: threading.Thread | None = None
        self._closing = False
        self._child: Child | None = None
        self._kept: list[str] = []
        self._body = Body()
        self._reset()

    def _reset(self) -> None:
        self._framer = Framer()
        self._out = bytearray()
        self._seq = 0
        self._pending: dict[int, Callable[[Response], None]] = {}
        self._todo = deque(self._first)
        self._doing = False
        self._last: Situation | None = None
        self._hears, self._released = True, False
        self._raised = self._failure = ""
        self._kill_at = float("inf")

    # ---- for the face, from any thread

    def prepare(self) -> None:
        """Start the child before there is a face; what it says is kept for `start`."""
        with self._lock:
            if self._pump is not None or self._closing:
                return
            self._pump = threading.Thread(target=self._run, name="backpropdbg-pump", daemon=True)
        self._post(self._spawn)
        self._pump.start()

    def start(self, receive: Callable[[Message], None]) -> None:
        """Start the child, unless it was prepared; return at once."""
        self._post(lambda: self._hand_over(receive))
        self.prepare()

    def _hand_over(self, receive: Callable[[Message], None]) -> None:
        self._receive = receive
        for message in self._early:
            self._emit(message)
        self._early.clear()

    def command(self, line: str) -> None:
        """Send one command line; a Result follows (and a Stopped where it moves)."""
        if line.split()[:1] == ["restart"]:
            self._post(lambda: self._emit(Result(line, "", moves=True)))
            self.restart(to_here=line.split()[1:] == ["--to", "HERE"])
        else:
            self._post(lambda: self._send_command(line))

    def window(self, name: str, rows: int, cols: int, row0: int = 0, col0: int = 0, pool: bool = True) -> None:
        """Ask for at most rows x cols cells of a matrix of this stop; Cells follows."""
        self._post(lambda: self._send_window(TensorArguments(name, rows, cols, row0, col0, pool)))

    def printed(self, position: int, most: int = 20_000) -> None:
        """Ask for the last characters that the program had printed at a position; Printed follows."""

        def answer(response: Response) -> None:
            if response.success:
                self._emit(Printed(position, convert(response.body, PrintedBody).pieces))

        self._post(lambda: self._ask("backpropdbg/printed", PrintedArguments(position, most), answer))

    def timeline(self, first: int, last: int, columns: int) -> None:
        """Ask for the iterations from `first` to `last`, at most `columns` of them; Moments follows."""

        def answer(response: Response) -> None:
            if response.success:
                self._emit(Moments(convert(response.body, Timeline)))

        self._post(lambda: self._ask("backpropdbg/timeline", TimelineArguments(first, last, columns), answer))

    def _ask(self, command: str, arguments: object, answer: Callable[[Response], None]) -> None:
        self._request(command, arguments, answer)

    def interrupt(self) -> None:
        """Stop a running program at its next event."""

        def pause() -> None:
            self._request("pause", {}, lambda response: None)

        self._post(pause)

    def feed(self, text: str) -> None:
        """Type into the program's standard input, where that is a pseudo terminal."""

        def type_in() -> None:
            if self._child is not None:
                self._child.feed(text)

        self._post(type_in)

    def signal(self, number: int) -> None:
        """Send a signal to the program and its workers."""

        def send() -> None:
            if self._child is not None:
                self._child.signal_group(number)

        self._post(send)

    def release(self) -> None:
        """Let the program run to its end without us; Ended follows then."""

        def let_go() -> None:
            self._released = True
            self._request("disconnect", {"terminateDebuggee": False}, lambda response: None)

        self._post(let_go)

    def restart(self, to_here: bool = False) -> None:
        """Kill the child and start it again with the same options and breakpoints; to_here: up to the last stop."""
        self._post(lambda: self._respawn(to_here))

    def close(self) -> None:
        """End the child, in two seconds at most; safe to call twice and at any moment."""
        with self._lock:
            self._closing = True
            pump = self._pump
        if pump is None:
            self._close_wake()
            return
        self._wake()
        if pump is threading.current_thread():
            return  # called from receive(): the pump ends the child as soon as that returns
        pump.join(_LATE)
        child = self._child
        if pump.is_alive() and child is not None:  # it hangs in receive()
            child.signal_group(signal.SIGKILL)

    # ---- the pump thread

    def _post(self, job: Callable[[], None]) -> None:
        self._jobs.append(job)
        self._wake()

    def _wake(self) -> None:
        with self._lock, contextlib.suppress(BlockingIOError):
            if self._wake_write >= 0:
                os.write(self._wake_write, b"x")

    def _close_wake(self) -> None:
        with self._lock:
            if self._wake_write >= 0:
                os.close(self._wake_read)
                os.close(self._wake_write)
            self._wake_read = self._wake_write = -1

    def _run(self) -> None:
        try:
            while not self._closing:
                while self._jobs and not self._closing:
                    self._jobs.popleft()()
                if not self._closing:
                    self._pump_once()
        except Exception:
            if not self._closing:  # a face that is going away may fail in receive()
                raise
        finally:
            self._finish()

    def _finish(self) -> None:
        child, self._child = self._child, None
        try:
            if child is not None:
                self._say_goodbye(child)
                child.close_files()
        finally:
            self._close_wake()

    def _say_goodbye(self, child: Child) -> None:
        """Ask to end, keep reading so that nobody waits for room in a pipe, then insist."""
        with contextlib.suppress(OSError):
            child.socket.send(bytes(self._out) + frame(Request(self._seq + 1, "disconnect", raw({}))))
        deadline = time.monotonic() + 0.8
        while not child.gone.wait(0.01) and time.monotonic() < deadline:
            child.drain(lambda name, text: None)
        child.end(polite=False)

    def _pump_once(self) -> None:
        """Wait for something to happen, and handle it."""
        child = self._child
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_read, selectors.EVENT_READ)
            if child is not None:
                for fd in child.pipes:
                    selector.register(fd, selectors.EVENT_READ)
                if self._hears:
                    events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0)
                    selector.register(child.socket, events)
            wait = self._kill_at - time.monotonic()
            ready = {
                key.fd: events for key, events in selector.select(None if wait == float("inf") else max(0.0, wait))
            }
        if self._wake_read in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake_read, 65536)
        if child is None:
            return
        if self._hears and ready.get(child.socket.fileno(), 0) & selectors.EVENT_WRITE:
            self._flush(child)
        if self._hears:  # the socket first: what the program prints after a Result stays after it
            self._read_socket(child)
        for fd in list(child.pipes):
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

    def _spawn(self) -> None:
        self._reset()
        try:
            child = Child(self._command, self.options, self._wake, self._streams)
        except OSError as error:
            self._emit(Ended(f"the program could not be started: {error}", 1))
            return
        self._child = child
        self._request("initialize", {"clientID": "backpropdbg", "adapterID": "backpropdbg"}, self._must_succeed)
        self._request("attach", AttachArguments(child.token), self._must_succeed)
        for line in self._kept:
            self._request("evaluate", EvaluateArguments(line), lambda response: None)
        self._request("configurationDone", {}, self._must_succeed)

    def _respawn(self, to_here: bool) -> None:
        here = self._last if to_here else None
        child, self._child = self._child, None
        if child is not None:
            child.end(polite=False)
            child.close_files()
        self._spawn()
        if here is not None:
            self._todo.append(f"goto iteration {here.iteration} {here.event} {here.nth}")

    def _bury(self, child: Child) -> None:
        """The process is gone: hand out what it left, then say so."""
        with contextlib.suppress(WireError):
            while self._read_socket(child):
                pass
        child.drain(self._emit_output)
        code = child.reap()
        child.drain(self._emit_output)
        child.close_files()
        self._child = None
        self._kill_at = float("inf")
        raised = code > 0 and bool(self._raised)
        self._emit(Ended(self._failure or _cause(code, self._raised if raised else ""), code, raised))

    def _fail(self, cause: str) -> None:
        """What arrives makes no sense: end the child and say why."""
        self._failure = self._failure or cause
        self._hears = False
        self._kill_at = min(self._kill_at, time.monotonic())

    # ---- requests

    def _request(self, command: str, arguments: object, answer: Callable[[Response], None]) -> bool:
        child = self._child
        if child is None:
            return False
        self._seq += 1
        self._pending[self._seq] = answer
        self._out += frame(Request(self._seq, command, raw(arguments)))
        self._flush(child)
        return True

    def _flush(self, child: Child) -> None:
        try:
            while self._out:
                del self._out[: child.socket.send(self._out)]
        except BlockingIOError:
            pass
        except OSError:
            self._out.clear()

    def _must_succeed(self, response: Response) -> None:
        if not response.success:
            self._fail(f"the program's process refused {response.command}: {response.message}")

    def _send_command(self, line: str) -> None:
        def answer(response: Response) -> None:
            body = convert(response.body, ResultBody)
            text = body.result if response.success else response.message
            if not body.moves and self._child is not None:
                self._child.drain(self._emit_output)
            if response.success and (self._body.takes(line) or _KEPT.match(line.strip())):
                self._keep(body.again or line.strip())
            self._emit(Result(line, text, response.success, body.moves))

        if not self._request("evaluate", EvaluateArguments(line), answer):
            self._emit(Result(line, NO_PROGRAM, ok=False))

    def _keep(self, line: str) -> None:
        """Remember a line for the next start: every breakpoint, the last focus, and the last element of that."""
        word = line.split()[0]
        outdated = {"focus": ("focus", "element"), "element": ("element",)}.get(word, ())
        self._kept = [*(kept for kept in self._kept if kept.split()[0] not in outdated), line]

    def _send_window(self, want: TensorArguments) -> None:
        def answer(response: Response) -> None:
            window = convert(response.body, _CellsBody).window if response.success else None
            self._emit(Cells(want.name, window))

        if not self._request("backpropdbg/tensor", want, answer):
            self._emit(Cells(want.name, None))

    # ---- what arrives

    def _read_socket(self, child: Child) -> bool:
        """Read what waits. Returns False where nothing more can come now."""
        try:
            data = child.socket.recv(2**20)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._hears = False
            if not self._released:
                self._kill_at = min(self._kill_at, time.monotonic() + _SILENCE)
            return False
        try:
            self._framer.feed(data)
            while self._child is child and (body := self._framer.next()) is not None:
                self._handle(parse(body), child)
        except WireError as error:
            self._fail(f"the program's process sent nonsense: {error}")
            return False
        return True

    def _handle(self, message: Request | Response | Event, child: Child) -> None:
        if isinstance(message, Response):
            answer = self._pending.pop(message.request_seq, None)
            if answer is not None:
                answer(message)
        elif isinstance(message, Event):
            if message.event == "stopped":
                child.drain(self._emit_output)
                self._stopped(convert(message.body, _StoppedBody).situation)
            elif message.event == "continued":
                self._emit(Running())
            elif message.event == "output":
                self._emit(Said(convert(message.body, OutputBody).output))
            elif message.event == "backpropdbg/rows":
                self._emit(Rows(bytes(message.body)))
            elif message.event == "backpropdbg/raised":
                self._raised = convert(message.body, RaisedBody).error

    def _stopped(self, situation: Situation) -> None:
        """Hand out a stop, once what was to be done first is done."""
        self._last = situation
        if self._doing:
            return  # drawn anew by what is repeated after a restart; the stop that counts is yet to come
        if self._todo:
            self._do_first()
        else:
            self._emit(Stopped(situation))

    def _do_first(self) -> None:
        line, self._doing = self._todo.popleft(), True

        def answer(response: Response) -> None:
            self._doing = False
            body = convert(response.body, ResultBody)
            self._emit(Result(line, body.result if response.success else response.message, response.success))
            if body.moves:
                return
            if self._todo:
                self._do_first()
            elif self._last is not None:
                self._emit(Stopped(self._last))

        self._request("evaluate", EvaluateArguments(line), answer)


def _cause(code: int, raised: str) -> str:
    if raised:
        return f"the program raised {raised}"
    if code < 0:
        try:
            return f"the program was killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"the program was killed by signal {-code}"
    return "the program ended" if code == 0 else f"the program ended with exit code {code}"
