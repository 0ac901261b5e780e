"""`set_trace()`: stop here, under the debugger that watches this process, or at a prompt in this terminal."""

import sys

from backpropdbg.child import attached
from backpropdbg.events import Location


def stop_here() -> None:
    """Stop at the line that called `backpropdbg.set_trace()`."""
    if attached.debugger is None:
        attached.debugger = _start()
    frame = sys._getframe(2)
    attached.debugger.paused_here("set_trace()", Location(frame.f_code.co_filename, frame.f_lineno))


def _start() -> object:
    """Put a debugger with a plain prompt beside the program, in its own process."""
    from backpropdbg.child.beside import Beside
    from backpropdbg.console.inline import Inline, say, title
    from backpropdbg.debugger.core import Debugger
    from backpropdbg.probe.hooks import Probe
    from backpropdbg.trace.history import Trace

    probe = Probe(lambda event: debugger.on_event(event))
    prompt = Inline()
    prompt.debugger = debugger = Debugger(Beside(probe), Trace(), prompt.wait, title(), None, say=say)
    probe.install()
    return debugger
