"""The child process: puts probe, trace, debugger and server together, then runs the program.

The server starts before torch is imported, so that quitting works during the import.
"""

import contextlib
import json
import os
import sys
import traceback
from collections.abc import Mapping
from typing import Any

from backpropdbg.situation import Situation
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

    def evaluate(self, text: str, names: Mapping[str, object]) -> object:
        return self._evaluator.evaluate(text, names)

    def show(self, value: object) -> str:
        return self._evaluator.show(value)

    def truth(self, value: object, text: str) -> bool:
        return self._evaluator.truth(value, text)

    def stack(self) -> list[Any]:
        from backpropdbg.probe.frames import user_stack

        return user_stack()

    def optimizer(self) -> str:
        from backpropdbg.probe.optimizers import summary

        return summary(self._probe.optimizer) if self._probe.optimizer is not None else ""


def main() -> int:
    """Run the program that the options (JSON, the only argument) name; return the exit code."""
    server = Server.from_environment()
    options = json.loads(sys.argv[1])
    import warnings

    with warnings.catch_warnings():
        # torch warns about a numpy that is not installed; that is no message of the program's.
        warnings.filterwarnings("ignore", message="Failed to initialize NumPy")
        from backpropdbg.probe.hooks import Probe
    from backpropdbg.debugger.core import Debugger, Quit
    from backpropdbg.launch import launch
    from backpropdbg.trace.history import DEFAULT_BUDGET, Trace

    program = launch(options)
    trace = Trace(int(options.get("keep", DEFAULT_BUDGET)))
    probe = Probe(lambda event: debugger.on_event(event))

    def redraw(situation: Situation) -> None:
        server.event("stopped", {"reason": "redraw", "threadId": 1, "situation": situation})

    wait = server.wait_at_stop
    debugger = Debugger(_Program(probe), trace, wait, program.title, program.seed, program.focus, redraw)
    server.serve(debugger)
    probe.install()
    code = 0
    try:
        program.run()
    except Quit:
        return 0
    except SystemExit as error:
        code = _exit_code(error)
    except BaseException as error:
        probe.remove()
        _raised(server, error)
        return program.raised
    probe.remove()
    _flush()
    debugger.finish(code)
    return code


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
    """Show the program's own traceback, without our frames."""
    here = os.path.dirname(os.path.abspath(__file__))
    ours, demo = (here, "<frozen runpy>"), os.path.join(here, "demo")
    shown = traceback.TracebackException.from_exception(error)
    chain: list[traceback.TracebackException | None] = [shown]
    while chain:
        part = chain.pop()
        if part is not None:
            theirs = [f for f in part.stack if not f.filename.startswith(ours) or f.filename.startswith(demo)]
            part.stack = traceback.StackSummary.from_list(theirs)
            chain += [part.__cause__, part.__context__, *(part.exceptions or ())]
    _flush()
    with contextlib.suppress(OSError, ValueError, AttributeError):
        print("".join(shown.format()), end="", file=sys.stderr, flush=True)
    line = str(error).splitlines()[0] if str(error) else ""
    server.event("backpropdbg/raised", {"error": f"{type(error).__name__}: {line}".rstrip(": ")})


if __name__ == "__main__":
    sys.exit(main())
