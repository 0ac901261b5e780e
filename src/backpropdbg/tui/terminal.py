"""Signals of the terminal that textual leaves alone, or takes for others."""

import asyncio
import contextlib
import signal
from collections.abc import Callable

from textual.app import App


def in_turn(name: str) -> None:
    """Let the handler of a signal run in the event loop, one call after the other.

    A Python handler can be interrupted by its own signal. Of two resizes at once the first then tells its size last,
    and the app is laid out for a terminal that is no more.
    """
    number = getattr(signal, name, None)
    theirs = None if number is None else signal.getsignal(number)
    if number is not None and callable(theirs):
        _hear(number, theirs, number, None)


def _hear(number: int, call: Callable[..., object], *arguments: object) -> None:
    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
        asyncio.get_running_loop().add_signal_handler(number, call, *arguments)


def watch_signals(app: App[None], end: Callable[[int], object]) -> None:
    """Call `end(exit code)` on SIGTERM and SIGINT, and redraw on a SIGCONT that no Ctrl-Z came before.

    Ctrl-C is a key here, and sends no SIGINT. After `kill -STOP` textual has not left its screen; were it to enter it
    once more, a second thread would read the keyboard for ever. Nothing happens outside of the main thread, or where
    there are no such signals. Resizes are heard in their order, after Ctrl-Z too.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        _hear(number, end, 128 + number)
    in_turn("SIGWINCH")
    app.app_resume_signal.subscribe(app, lambda _: in_turn("SIGWINCH"))
    resume = getattr(signal, "SIGCONT", None)
    theirs = None if resume is None else signal.getsignal(resume)
    if resume is None or not callable(theirs):
        return

    def continued(number: int, frame: object) -> None:
        if getattr(app._driver, "_must_signal_resume", True):
            theirs(number, frame)  # type: ignore[arg-type]
        else:
            app.call_later(app.screen_stack[0].refresh)

    with contextlib.suppress(ValueError):
        signal.signal(resume, continued)
