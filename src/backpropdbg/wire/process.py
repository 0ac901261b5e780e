"""One child process: spawned with a socket, two pipes and a one-time token; watched and ended."""

import codecs
import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Literal

import msgspec
from msgspec import Struct

Stream = Literal["pipe", "pty", "inherit", "none"]
QUIT_TIME = 0.8
TERM_TIME = 0.3
KILL_TIME = 0.6
_CHUNK = 65536
_MOST_READS = 1000


class Streams(Struct, frozen=True):
    """Where the program's standard streams lead.

    Attributes:
        input: a pseudo terminal that `Child.feed` types into, what this process has, or nothing.
        output: pipes that are read here (stdout and stderr), or what this process has.
    """

    input: Stream = "none"
    output: Stream = "pipe"


class Child:
    """The program's process and the ends of its socket and pipes.

    Attributes:
        gone: set once the process has ended (it stays a zombie until `reap`).
        token: what `attach` must bring.
    """

    def __init__(
        self, command: list[str], options: dict[str, object], on_gone: Callable[[], None], streams: Streams
    ) -> None:
        self.keyboard = -1
        self.token = secrets.token_hex(16)
        self.gone = threading.Event()
        self._on_gone = on_gone
        self._lock = threading.Lock()
        self._code: int | None = None
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.socket = socket.create_connection(listener.getsockname(), timeout=5)
            try:
                self.process = self._spawn(command, options, listener, streams)
            except BaseException:
                self.socket.close()
                self._close_keyboard()
                raise
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pipes: dict[int, tuple[str, codecs.IncrementalDecoder]] = {}
        for name, pipe in (("stdout", self.process.stdout), ("stderr", self.process.stderr)):
            if pipe is None:
                continue
            os.set_blocking(pipe.fileno(), False)
            self.pipes[pipe.fileno()] = (name, codecs.getincrementaldecoder("utf-8")("replace"))
        threading.Thread(target=self._watch, name="backpropdbg-watch", daemon=True).start()

    def _spawn(
        self, command: list[str], options: dict[str, object], listener: socket.socket, streams: Streams
    ) -> "subprocess.Popen[bytes]":
        fd = listener.fileno()
        environment = {**os.environ, "BACKPROPDBG_FD": str(fd), "BACKPROPDBG_TOKEN": self.token}
        environment["BACKPROPDBG_PARENT"] = str(os.getpid())
        output = subprocess.PIPE if streams.output == "pipe" else None
        theirs: int | None = {"none": subprocess.DEVNULL, "inherit": None}.get(streams.input, subprocess.DEVNULL)
        if streams.input == "pty":
            self.keyboard, theirs = _open_terminal()
        try:
            return subprocess.Popen(
                [*command, msgspec.json.encode(options).decode()],
                env=environment,
                pass_fds=[fd],
                stdin=theirs,
                stdout=output,
                stderr=output,
                start_new_session=True,
                bufsize=0,
            )
        finally:
            if streams.input == "pty" and theirs is not None:
                os.close(theirs)

    def feed(self, text: str) -> None:
        """Type into the program's standard input; what does not fit any more is lost, as on a terminal."""
        if self.keyboard >= 0:
            with contextlib.suppress(OSError):
                os.write(self.keyboard, text.encode("utf-8", "surrogateescape"))

    def _close_keyboard(self) -> None:
        if self.keyboard >= 0:
            os.close(self.keyboard)
            self.keyboard = -1

    def _watch(self) -> None:
        if sys.platform == "linux":  # leave the zombie, so that its group id can't be reused before we signal it
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
        else:
            self.process.wait()
        self.gone.set()
        self._on_gone()

    def read_pipe(self, fd: int) -> tuple[str, str, bool]:
        """Read once without waiting. Returns (stream name, text, whether to read again)."""
        name, decoder = self.pipes[fd]
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return name, "", False
        except OSError:
            data = b""
        if not data:
            del self.pipes[fd]
            return name, decoder.decode(b"", final=True), False
        return name, decoder.decode(data), True

    def drain(self, emit: Callable[[str, str], None]) -> None:
        """Emit all output that waits in the pipes."""
        for fd in list(self.pipes):
            for _ in range(_MOST_READS):
                name, text, more = self.read_pipe(fd)
                if text:
                    emit(name, text)
                if not more:
                    break

    def end(self, polite: bool) -> None:
        """End the process and its group, in two seconds at most; from any thread, at any moment."""
        if polite:
            self.gone.wait(QUIT_TIME)
        if not self.gone.is_set():
            self.signal_group(signal.SIGTERM)
            self.gone.wait(TERM_TIME)
        self.reap(kill=True)

    def signal_group(self, number: int) -> None:
        """Signal the process and the workers that it started; nothing once it was reaped."""
        with self._lock:
            if self._code is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.process.pid, number)

    def reap(self, kill: bool = False) -> int:
        """Kill what is left of the group, collect the exit code and close everything. Safe to call twice."""
        if kill or self.gone.is_set():
            self.signal_group(signal.SIGKILL)
        with self._lock:
            if self._code is None:
                deadline = time.monotonic() + KILL_TIME
                self.gone.wait(KILL_TIME)
                try:
                    self._code = self.process.wait(max(0.05, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    self._code = -signal.SIGKILL
        return self._code

    def close_files(self) -> None:
        """Close socket and pipes; only from the thread that reads them."""
        self.pipes.clear()
        self._close_keyboard()
        for file in (self.socket, self.process.stdout, self.process.stderr):
            if file is not None:
                with contextlib.suppress(OSError):
                    file.close()


def _open_terminal() -> tuple[int, int]:
    """A pseudo terminal that does not echo: the end that types, and the program's."""
    import pty
    import termios

    ours, theirs = pty.openpty()
    modes = termios.tcgetattr(theirs)
    modes[3] &= ~termios.ECHO
    termios.tcsetattr(theirs, termios.TCSANOW, modes)
    os.set_blocking(ours, False)
    return ours, theirs


def default_command() -> list[str]:
    """The program that we start, with this interpreter's own flags; the options are added as JSON."""
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return [
        sys.executable,
        *flags,
        *(["-u"] if getattr(sys.stdout, "write_through", False) else []),
        "-m",
        "backpropdbg.child.program",
    ]


def cause_of(code: int, raised: str) -> str:
    """Why a program is gone, in one line. raised: its exception, "" where it raised none."""
    if raised:
        return f"the program raised {raised}"
    if code < 0:
        try:
            return f"the program was killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"the program was killed by signal {-code}"
    return "the program ended" if code == 0 else f"the program ended with exit code {code}"
