"""The child process: runs the program, with probe, trace, debugger and server beside it once it imports torch.

The server starts before anything else, so that quitting works at any moment.
"""

import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol

from backpropdbg.child.beside import Beside
from backpropdbg.child.launch import Launch, launch
from backpropdbg.child.tee import Heard
from backpropdbg.child.tracebacks import clean, clean_all_that_is_printed, one_line
from backpropdbg.child.when_imported import when_imported
from backpropdbg.situation import Situation
from backpropdbg.wire.server import Server


class _Watching(Protocol):
    """What stands beside the program."""

    def begin(self) -> None:
        """torch is there."""

    def end(self, code: int) -> None:
        """The program ran to its end."""

    def rest(self) -> None:
        """The main thread is done; others may go on."""

    def leave(self) -> None:
        """The program raised."""

    def fail(self, error: BaseException, code: int) -> None:
        """Its traceback is printed, too; it will exit with this code."""

    def close(self, how: str, code: int | None) -> None:
        """All is over. how: in one line. code: what the program exits with, where it is known."""


class _Debugging:
    """The debugger beside the program.

    Args:
        options: "lingers": stop once more at the end, from where the past can be looked at. "mourns": where the
            program raised, too. "drawn": stops are for a screen, or for who reads all of each.
            "hurried": a live screen shows them, first without the numbers that take long.
    """

    def __init__(self, server: Server, program: Launch, options: dict[str, Any]) -> None:
        self._server, self._program, self._options = server, program, options
        self._lingers = bool(options.get("lingers", True))
        self._debugger: Any = None
        self._beside: Any = None
        self._probe: Any = None
        self._file: Any = None
        self._heard = Heard()

    def begin(self) -> None:
        from backpropdbg.child import attached
        from backpropdbg.debugger.core import Debugger
        from backpropdbg.probe.hooks import Policy, Probe
        from backpropdbg.trace.history import DEFAULT_BUDGET, Trace

        keep = int(self._options.get("keep", DEFAULT_BUDGET))
        options = self._options
        policy = Policy(track=tuple(options.get("track", ())), room=keep, unfuse=bool(options.get("unfuse")))
        self._probe = probe = Probe(lambda event: debugger.on_event(event), policy)
        program = self._program
        self._beside = beside = Beside(probe)
        if "record" in options:
            from backpropdbg.child.recorder import new_file

            self._file = new_file(options["record"], program, beside, self._say)
        trace = Trace(keep, file=self._file)
        self._heard.by(trace)
        self._debugger = debugger = Debugger(
            beside,
            trace,
            self._server.wait_at_stop,
            program.title,
            program.seed,
            program.focus,
            self._redraw,
            self._say,
            drawn=bool(options.get("drawn", True)),
        )
        debugger.hurried = bool(options.get("hurried"))
        attached.debugger = debugger
        if self._lingers:
            self._server.break_in = _breaker(debugger)
        self._server.serve(debugger)
        if options.get("hooks", True):
            probe.install()

    def rest(self) -> None:
        if self._debugger is None and self._lingers:
            self.begin()  # a program without torch: there is nothing to see, but that can be said

    def _redraw(self, situation: Situation) -> None:
        self._server.event("stopped", {"reason": "redraw", "threadId": 1, "situation": situation})

    def _say(self, text: str) -> None:
        self._server.event("output", {"category": "console", "output": text})

    def leave(self) -> None:
        self._heard.end()
        if self._probe is not None:
            self._probe.remove()

    def end(self, code: int) -> None:
        self.leave()
        if self._lingers and not self._debugger.detached:
            self._debugger.finish(code)

    def fail(self, error: BaseException, code: int) -> None:
        if self._options.get("mourns") and self._debugger is not None and not self._debugger.detached:
            self._beside.over(error)
            self._debugger.finish(code, one_line(error))

    def close(self, how: str, code: int | None) -> None:
        self._heard.end()
        if self._file is not None:
            self._file.close(how, code)


def _breaker(debugger: Any) -> Callable[[], object]:
    """Return what stops the program at the line that runs: by SIGINT, unless the program uses that itself."""

    def interrupted(number: int, frame: FrameType | None) -> None:
        if not debugger.pausing:
            signal.default_int_handler(number, frame)
        else:
            debugger.paused_here("interrupted", None)

    def break_in() -> None:
        if signal.getsignal(signal.SIGINT) is interrupted:
            os.kill(os.getpid(), signal.SIGINT)

    first = threading.current_thread() is threading.main_thread()
    if first and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupted)
    return break_in


class _Reporting:
    """Collects what a report tells, beside the program."""

    def __init__(self, server: Server, program: Launch, options: dict[str, Any]) -> None:
        self._server, self._options = server, options
        self._probe: Any = None
        self._collector: Any = None

    def begin(self) -> None:
        from backpropdbg.probe.hooks import Policy, Probe
        from backpropdbg.probe.known import optimized, shapes
        from backpropdbg.report.collect import Collector

        options = self._options
        policy = Policy(graph=False, track=tuple(options.get("track", ())), unfuse=bool(options.get("unfuse")))
        self._probe = probe = Probe(lambda event: collector(event), policy)
        self._collector = collector = Collector(
            probe.names,
            int(self._options["iterations"]),
            lambda batch: self._server.event("backpropdbg/rows", batch),
            probe.detach,
            lambda: optimized(probe),
            lambda: shapes(probe),
        )
        probe.install()

    def rest(self) -> None:
        pass

    def leave(self) -> None:
        self._finish(failed=True)

    def _finish(self, failed: bool) -> None:
        if self._probe is not None:
            from backpropdbg.probe.known import last_look

            compared = last_look(self._probe)
            self._probe.remove()
            self._collector.finish(compared, failed)

    def fail(self, error: BaseException, code: int) -> None:
        pass

    def end(self, code: int) -> None:
        self._finish(failed=False)

    def close(self, how: str, code: int | None) -> None:
        pass


def _recording(server: Server, program: Launch, options: dict[str, Any]) -> _Watching:
    """What records beside the program; imported where that is asked for: all of it delays the first stop."""
    from backpropdbg.child.recorder import Recorder

    return Recorder(server, program, options)


_MODES: dict[str, Callable[[Server, Launch, dict[str, Any]], _Watching]] = {
    "debug": _Debugging,
    "record": _recording,
    "report": _Reporting,
}


def main() -> int:
    """Run the program that the options (JSON, the only argument) name; return the exit code."""
    server = Server.from_environment()
    options = json.loads(sys.argv[1])
    if options["program"] == "open":
        from backpropdbg.child.looking import look

        return look(server, options["path"], bool(options.get("hurried")))
    program = launch(options)
    watching = _MODES[options.get("mode", "debug")](server, program, options)
    clean_all_that_is_printed()
    threading.excepthook = threading.__excepthook__ = _thread_raised
    call_off = when_imported("torch", watching.begin)
    from backpropdbg.debugger.core import Quit

    code = 0
    try:
        program.run()
    except Quit:
        watching.close("the user quit", None)
        return 0
    except SystemExit as error:
        code = _exit_code(error)
    except BaseException as error:
        watching.leave()
        _raised(server, error)
        if not isinstance(error, KeyboardInterrupt):
            watching.fail(error, program.raised)
        watching.close(f"the program raised {one_line(error)}", program.raised)
        if isinstance(error, KeyboardInterrupt):
            sys.excepthook = lambda *args: None
            raise KeyboardInterrupt from None  # Python then ends the process by the signal
        return program.raised
    call_off()
    watching.rest()
    _wait_for_threads()
    _flush()
    watching.end(code)
    watching.close("the program ended", code)
    return code


def _wait_for_threads() -> None:
    """Wait as the interpreter does at its end: such threads may still train, or wait for the main thread to be over."""
    threading._shutdown()  # type: ignore[attr-defined]


def _flush() -> None:
    """Flush what the program printed; it may have closed its stdout."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()


def _exit_code(error: SystemExit) -> int:
    """What Python makes of `sys.exit(…)`: a text is printed, and the code is 1."""
    if error.code is None or isinstance(error.code, int):
        return error.code or 0
    print(error.code, file=sys.stderr, flush=True)
    return 1


def _raised(server: Server, error: BaseException) -> None:
    """Show the program's own traceback, as the program itself would."""
    clean(error)
    _flush()
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.excepthook(type(error), error, error.__traceback__)
        sys.stderr.flush()
    server.event("backpropdbg/raised", {"error": one_line(error)})


_show_in_thread = threading.excepthook


def _thread_raised(args: threading.ExceptHookArgs) -> None:
    """The same for a thread."""
    if args.exc_value is not None:
        clean(args.exc_value)
    shown = getattr(args.exc_value, "__traceback__", None)
    _show_in_thread(threading.ExceptHookArgs((args.exc_type, args.exc_value, shown, args.thread)))


if __name__ == "__main__":
    sys.exit(main())
