"""The child process: runs the program, with probe, trace, debugger and server beside it once it imports torch.

The server starts before anything else, so that quitting works at any moment.
"""

import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any, Protocol

from backpropdbg.launch import Launch, launch
from backpropdbg.situation import Situation
from backpropdbg.tracebacks import clean, is_ours
from backpropdbg.when_imported import when_imported
from backpropdbg.wire.server import Server


class _Program:
    """The program under test, as the debugger's core may see it."""

    def __init__(self, probe: Any) -> None:
        from backpropdbg.probe.evaluate import Evaluator

        self._probe, self._evaluator = probe, Evaluator(probe)

    def parameters(self) -> tuple[str, ...]:
        names: tuple[str, ...] = self._probe.names.all()
        return names

    def modules(self) -> tuple[str, ...]:
        names: tuple[str, ...] = self._probe.names.modules()
        return names

    def aliases(self, name: str) -> tuple[str, ...]:
        names: tuple[str, ...] = self._probe.names.aliases(name)
        return names

    def resolve(self, text: str) -> str | None:
        name: str | None = self._probe.names.resolve(text)
        return name

    def frozen(self) -> tuple[str, ...]:
        names: tuple[str, ...] = self._probe.names.frozen()
        return names

    def evaluate(self, text: str, names: Mapping[str, object]) -> object:
        return self._evaluator.evaluate(text, names)

    def show(self, value: object) -> str:
        return self._evaluator.show(value)

    def truth(self, value: object, text: str) -> bool:
        return self._evaluator.truth(value, text)

    def remember(self, value: Any) -> object:
        from backpropdbg.probe.tensors import copy

        if isinstance(value, (list, tuple)):
            return [self.remember(part) for part in value]
        if isinstance(value, dict):
            return {key: self.remember(part) for key, part in value.items()}
        return copy(value) if hasattr(value, "untyped_storage") else value

    def same(self, remembered: Any, value: Any) -> bool:
        from backpropdbg.probe.tensors import HeldTensor

        if isinstance(value, (list, tuple)) and isinstance(remembered, list):
            return len(value) == len(remembered) and all(map(self.same, remembered, value))
        if isinstance(value, dict) and isinstance(remembered, dict):
            return value.keys() == remembered.keys() and all(self.same(remembered[k], value[k]) for k in value)
        if isinstance(remembered, HeldTensor):
            return hasattr(value, "untyped_storage") and remembered.same_bits(HeldTensor(value))
        if hasattr(value, "untyped_storage"):
            return False
        try:
            with self._probe.inert():
                return bool(value is remembered or value == remembered or (value != value and remembered != remembered))
        except Exception:  # of the program's own `__eq__`
            return False

    def stack(self) -> list[Any]:
        from backpropdbg.probe.frames import user_stack

        return user_stack()

    def optimizer(self) -> str:
        from backpropdbg.probe.optimizers import summary

        return summary(self._probe.optimizer) if self._probe.optimizer is not None else ""

    def track(self, globs: Sequence[str]) -> None:
        self._probe.track(globs)

    def edit(self, value: object) -> None:
        self._probe.edit(value)

    def detach(self) -> None:
        self._probe.detach()


class _Watching(Protocol):
    """What stands beside the program."""

    def begin(self) -> None:
        """torch is there."""

    def end(self, code: int) -> None:
        """The program ran to its end."""

    def leave(self) -> None:
        """The program raised."""


class _Debugging:
    """The debugger beside the program.

    Args:
        lingers: stop once more at the end, from where the past can be looked at.
    """

    def __init__(self, server: Server, program: Launch, options: dict[str, Any]) -> None:
        self._server, self._program, self._options = server, program, options
        self._lingers = bool(options.get("lingers", True))
        self._debugger: Any = None
        self._probe: Any = None

    def begin(self) -> None:
        from backpropdbg import attached
        from backpropdbg.debugger.core import Debugger
        from backpropdbg.probe.hooks import Policy, Probe
        from backpropdbg.trace.history import DEFAULT_BUDGET, Trace

        trace = Trace(int(self._options.get("keep", DEFAULT_BUDGET)))
        self._probe = probe = Probe(lambda event: debugger.on_event(event), Policy())
        program = self._program
        self._debugger = debugger = Debugger(
            _Program(probe),
            trace,
            self._server.wait_at_stop,
            program.title,
            program.seed,
            program.focus,
            self._redraw,
        )
        attached.debugger = debugger
        self._server.break_in = _breaker(debugger)
        self._server.serve(debugger)
        probe.install()

    def _redraw(self, situation: Situation) -> None:
        self._server.event("stopped", {"reason": "redraw", "threadId": 1, "situation": situation})

    def _say(self, text: str) -> None:
        self._server.event("output", {"category": "console", "output": text})

    def leave(self) -> None:
        if self._probe is not None:
            self._probe.remove()

    def end(self, code: int) -> None:
        self.leave()
        if self._debugger is None and self._lingers:
            self.begin()  # a program without torch: there is nothing to see, but that can be said
            self.leave()
        if self._lingers and not getattr(self._debugger, "detached", False):
            self._debugger.finish(code)


def _breaker(debugger: Any) -> Callable[[], object]:
    """Return what stops the program at the line that runs: by SIGINT, unless the program uses that itself."""

    def interrupted(number: int, frame: FrameType | None) -> None:
        if not debugger.pausing:
            signal.default_int_handler(number, frame)
        elif not _inside_ours(frame):
            debugger.paused_here("interrupted", None)

    def break_in() -> None:
        if signal.getsignal(signal.SIGINT) is interrupted:
            os.kill(os.getpid(), signal.SIGINT)

    first = threading.current_thread() is threading.main_thread()
    if first and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupted)
    return break_in


def _inside_ours(frame: FrameType | None) -> bool:
    """True where the debugger itself is at work: it stops by itself."""
    while frame is not None:
        path = frame.f_code.co_filename
        if is_ours(path) and os.path.basename(os.path.dirname(path)) in ("debugger", "trace", "wire"):
            return True
        frame = frame.f_back
    return False


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

        policy = Policy(graph=False, track=tuple(self._options.get("track", ())))
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

    def leave(self) -> None:
        if self._probe is not None:
            from backpropdbg.probe.known import last_look

            compared = last_look(self._probe)
            self._probe.remove()
            self._collector.finish(compared)

    def end(self, code: int) -> None:
        self.leave()


def main() -> int:
    """Run the program that the options (JSON, the only argument) name; return the exit code."""
    server = Server.from_environment()
    options = json.loads(sys.argv[1])
    program = launch(options)
    kind = _Reporting if options.get("mode") == "report" else _Debugging
    watching: _Watching = kind(server, program, options)
    threading.excepthook = _thread_raised
    when_imported("torch", watching.begin)
    from backpropdbg.debugger.core import Quit

    code = 0
    try:
        program.run()
        _join_threads()
    except Quit:
        return 0
    except SystemExit as error:
        code = _exit_code(error)
    except BaseException as error:
        watching.leave()
        _raised(server, error)
        if isinstance(error, KeyboardInterrupt):
            sys.excepthook = lambda *args: None
            raise KeyboardInterrupt from None  # Python then ends the process by the signal
        return program.raised
    _flush()
    watching.end(code)
    return code


def _join_threads() -> None:
    """Wait for what the interpreter would wait for at its end; these threads may still train."""
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.main_thread():
            thread.join()


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
    line = str(error).splitlines()[0] if str(error) else ""
    server.event("backpropdbg/raised", {"error": f"{type(error).__name__}: {line}".rstrip(": ")})


def _thread_raised(args: threading.ExceptHookArgs) -> None:
    """The same for a thread."""
    if args.exc_value is not None:
        clean(args.exc_value)
    shown = getattr(args.exc_value, "__traceback__", None)
    threading.__excepthook__(threading.ExceptHookArgs((args.exc_type, args.exc_value, shown, args.thread)))


if __name__ == "__main__":
    sys.exit(main())
