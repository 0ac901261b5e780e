"""The child process where a recording is looked at: a debugger beside no program."""

import sys
from typing import Any

from backpropdbg.child.opened import OpenedProgram, open_file
from backpropdbg.debugger.core import Debugger
from backpropdbg.errors import RecordingError
from backpropdbg.situation import Situation
from backpropdbg.wire.server import Server


def look(server: Server, path: str, hurried: bool) -> int:
    """Look at a recording, where no program runs. hurried: see `Debugger`. Returns the exit code."""
    try:
        trace = open_file(path)
    except RecordingError as error:
        print(error, file=sys.stderr, flush=True)
        return 2
    debugger: Any = None

    def redraw(situation: Situation) -> None:
        server.event("stopped", {"reason": "redraw", "threadId": 1, "situation": situation})

    def say(text: str) -> None:
        server.event("output", {"category": "console", "output": text})

    about = trace.about
    debugger = Debugger(
        OpenedProgram(trace), trace, server.wait_at_stop, about.title, about.seed, about.focus, redraw, say, True
    )
    debugger.hurried = hurried
    server.serve(debugger)
    if not trace.damage and trace.ended is None:
        debugger.notes.append("This recording has no end: it is still being written, or its program was killed.")
    try:
        debugger.open()
    except RecordingError as error:
        print(error, file=sys.stderr, flush=True)
        return 2
    return 0
