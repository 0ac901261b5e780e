"""Where the lines come from that are typed: a terminal, or a pipe that the program reads too."""

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

from backpropdbg.wire.process import Stream, Streams

PROMPT = "(bpdb) "
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # what a terminal sends is meant for the program
_stdin = 0


def forward(handler: Callable[[int, FrameType | None], object]) -> None:
    """Let `handler` have what is meant for the program, but for what whoever started us ignores: so does it then."""
    for number in _FORWARDED:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def is_terminal() -> bool:
    """True where somebody types."""
    return os.isatty(_stdin)


def ask(prompt: str = PROMPT) -> str | None:
    """Return the next line without its end; None where there is none. Raises KeyboardInterrupt.

    Takes no byte more than the line: what follows may be meant for the program.
    """
    if is_terminal() and sys.stdout.isatty():
        return _edited(prompt)
    sys.stderr.write(prompt)
    sys.stderr.flush()
    line = _line()
    if line is not None and not is_terminal():
        sys.stderr.write(line + "\n")
    return line


def _edited(prompt: str) -> str | None:
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  (editing and history come with it)
    try:
        return input(prompt)
    except EOFError:
        sys.stderr.write("\n")
        return None


def _line() -> str | None:
    found = bytearray()
    while True:
        byte = os.read(_stdin, 1)
        if not byte and not found:
            return None
        if not byte or byte == b"\n":
            return found.decode("utf-8", "replace").rstrip("\r")
        found += byte


def streams(output: Stream) -> Streams:
    """The program's input is ours, but for a terminal: it gets one of its own, into which we type."""
    return Streams("pty" if is_terminal() else "inherit", output)


def pass_on(feed: Callable[[str], None]) -> None:
    """Type into the program what is typed here, from now on."""

    def run() -> None:
        while text := os.read(_stdin, 65536):
            feed(text.decode("utf-8", "surrogateescape"))
        feed("\x04")

    if is_terminal():
        threading.Thread(target=run, name="backpropdbg-keyboard", daemon=True).start()


def typed(wake: int) -> str:
    """Wait until a line is typed for the program, or until `wake` can be read; return what was typed, if anything."""
    watched = select.poll()  # `select` refuses descriptors from 1024 on
    for fd in (_stdin, wake):
        watched.register(fd, select.POLLIN)
    ready = {fd for fd, _ in watched.poll()}
    if wake in ready:
        os.read(wake, 4096)
    if _stdin not in ready:
        return ""
    return os.read(_stdin, 65536).decode("utf-8", "surrogateescape") or "\x04"
