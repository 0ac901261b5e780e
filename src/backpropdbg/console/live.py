"""`run` without a screen: at a prompt, or straight through. What the debugger says goes to stderr; the program keeps
this process's own output, and its input too where that is no terminal.
"""

import contextlib
import os
import queue
import signal
import sys
from collections import deque
from collections.abc import Sequence
from types import FrameType

from backpropdbg.console import keyboard
from backpropdbg.console.render import harmless, render_stop
from backpropdbg.debugger.commands import check
from backpropdbg.errors import CommandError
from backpropdbg.wire.client import ChildSession
from backpropdbg.wire.session import Body, Ended, Message, ProgramOutput, Result, Said, Session, Stopped

FAILED = 1


def run_through(options: dict[str, object], commands: Sequence[str]) -> int:
    """Run a program with these commands, then to its end. Returns its exit code, negative for a signal."""
    watched = commands or "record" in options
    alone: dict[str, object] = {} if watched else {"hooks": False}  # nobody could see a stop
    session = ChildSession({**options, **alone, "lingers": False, "drawn": False}, streams=keyboard.streams("inherit"))
    return _Live(session, commands, asks=False).run()


def prompt(options: dict[str, object], commands: Sequence[str]) -> int:
    """Debug a program at a plain prompt. Returns its exit code, negative for a signal."""
    return _Live(
        ChildSession({**options, "mourns": True, "drawn": False}, streams=keyboard.streams("inherit")),
        commands,
        asks=True,
    ).run()


class _Live:
    def __init__(self, session: Session, commands: Sequence[str], asks: bool) -> None:
        self._session, self._asks = session, asks
        self._todo = deque(commands)
        self._quiet = not commands and not asks
        self._inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._wake_read, self._wake_write = os.pipe()
        self._again, self._body = "", Body()
        self._asking = self._interrupted = self._leaving = False
        self._ended: Ended | None = None
        self._finished: int | None = None

    def run(self) -> int:
        """Until the program is gone and nobody wants it again."""
        keyboard.forward(self._signalled)
        try:
            self._session.start(self._receive)
            return self._loop()
        finally:
            self._session.close()

    def _receive(self, message: Message) -> None:
        self._inbox.put(message)
        os.write(self._wake_write, b"x")

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        """Ctrl-C breaks in, the second time it is the program's, as without us."""
        if self._asking and number == signal.SIGINT:
            raise KeyboardInterrupt
        if number != signal.SIGINT or not self._asks or self._interrupted or self._leaving:
            self._session.signal(number)
        else:
            self._interrupted = True
            self._session.interrupt()
        if number != signal.SIGINT and self._asks:
            raise SystemExit(128 + number)

    def _next(self) -> Message:
        """The next message; what is typed meanwhile is for the program."""
        while True:
            with contextlib.suppress(queue.Empty):
                return self._inbox.get_nowait()
            if keyboard.is_terminal():
                text = keyboard.typed(self._wake_read)
                if text:
                    self._session.feed(text)
            else:
                return self._inbox.get()

    def _loop(self) -> int:
        while True:
            message = self._next()
            if isinstance(message, Said):
                self._say(message.text)
            elif isinstance(message, Ended):
                self._ended = message
                if not self._asks or self._leaving or not message.code:
                    return message.code if message.code or self._finished is None else self._finished
                self._say(f"{message.cause}; restart runs it again")
                if (code := self._at_stop()) is not None:
                    return code
            elif isinstance(message, Stopped):
                self._interrupted = False
                if not message.situation.past:
                    self._finished = message.situation.exit_code
                if not self._quiet:
                    self._say(render_stop(message.situation))
                if (code := self._at_stop()) is not None:
                    return code

    def _at_stop(self) -> int | None:
        """Carry out commands until one moves. Returns an exit code where it is over."""
        while True:
            line = self._line()
            if not line.strip():
                continue
            word = "" if self._body.takes(line) else line.split()[0]
            if word in ("quit", "q"):
                if (code := self._quit(line)) is not None or self._leaving:
                    return code
                continue
            if word == "restart":
                self._ended = None
            if self._ended is not None:
                self._say("the program has ended; restart runs it again")
                continue
            self._session.command(line)
            result = self._result()
            if result is None:
                return None if self._asks and self._ended is None else self._gone()
            if result.text:
                self._say(result.text)
            if not result.ok and not self._asks and not self._quiet:
                return FAILED
            if word == "detach" and result.ok:
                self._leaving = True
                self._session.release()
                return None
            if result.moves:
                return None

    def _gone(self) -> int | None:
        """The program went away during a command."""
        assert self._ended is not None
        self._inbox.put(self._ended)
        return None

    def _result(self) -> Result | None:
        """The answer to a command; None where the program ended instead."""
        while True:
            message = self._next()
            if isinstance(message, Result):
                return message
            if isinstance(message, Said):
                self._say(message.text)
            elif isinstance(message, Ended):
                self._ended = message
                return None

    def _line(self) -> str:
        """The next command."""
        if self._todo:
            line = self._todo.popleft()
            self._say(f"{keyboard.PROMPT}{line}")
            return line
        if not self._asks:
            return "continue"
        self._asking = True
        try:
            asked = keyboard.ask("> " if self._body.open else keyboard.PROMPT)
        except KeyboardInterrupt:
            sys.stderr.write("\n")
            return ""
        finally:
            self._asking = False
        if asked is None:
            self._body.open = False
            return "quit"
        self._again = asked.strip() or self._again
        return self._again

    def _quit(self, line: str) -> int | None:
        """End the program; one that ran to its end finishes by itself, with the code it wants."""
        words = line.split()
        try:
            check(line)
        except CommandError as error:
            self._say(str(error))
            return None
        if len(words) > 1:
            return int(words[1])
        if self._finished is None:
            return 0 if self._ended is None else self._ended.code
        self._leaving = True
        self._session.release()
        return None

    def _say(self, text: str) -> None:
        sys.stderr.write(harmless(text.rstrip("\n")) + "\n")
        sys.stderr.flush()


def follow(session: Session, inbox: "queue.SimpleQueue[Message]") -> int:
    """Let the program run on without us, and pass its streams on. Returns its exit code, negative for a signal.

    inbox: gets what the session says already.
    """
    keyboard.forward(lambda number, frame: session.signal(number))
    session.release()
    keyboard.pass_on(session.feed)
    while True:
        message = inbox.get()
        if isinstance(message, ProgramOutput):
            stream = sys.stderr if message.stream == "stderr" else sys.stdout
            stream.write(message.text)
            stream.flush()
        elif isinstance(message, Ended):
            return message.code


def end_like(code: int) -> int:
    """Return the exit code; where the program died of a signal, so does this process."""
    if code >= 0:
        return code
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # one core file is enough
    with contextlib.suppress(OSError, ValueError):
        signal.signal(-code, signal.SIG_DFL)  # not SIGKILL's, which has no handler
    with contextlib.suppress(OSError):
        os.kill(os.getpid(), -code)
    return 128 - code
