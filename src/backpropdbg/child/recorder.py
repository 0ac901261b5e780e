"""Beside the program: a recorder, in the place of the debugger; and the file that a trace is written to."""

import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from backpropdbg.child.beside import Beside
from backpropdbg.child.launch import Launch
from backpropdbg.child.tee import Heard
from backpropdbg.child.tracebacks import one_line
from backpropdbg.errors import RecordingError
from backpropdbg.events import Event, ProgramFinished
from backpropdbg.keep import Keep
from backpropdbg.trace.format import About, Known
from backpropdbg.trace.lay import versions
from backpropdbg.trace.writer import Writer
from backpropdbg.wire.server import Server


class Recorder:
    """Writes what happens to a file, beside the program."""

    def __init__(self, server: Server, program: Launch, options: dict[str, Any]) -> None:
        self._server, self._program, self._options = server, program, options
        self._probe: Any = None
        self._file: Any = None
        self._trace: Any = None
        self._known: Any = None
        self._turn = threading.RLock()
        self._heard = Heard()

    def begin(self) -> None:
        from backpropdbg.debugger.known import Known
        from backpropdbg.probe.hooks import Policy, Probe
        from backpropdbg.trace.straight import Straight

        options = self._options
        policy = Policy(
            track=tuple(options.get("track", ())),
            unfuse=bool(options.get("unfuse")),
            nodes=bool(options.get("nodes")),
        )
        self._probe = probe = Probe(self._take, policy)
        beside = Beside(probe)
        self._file = new_file(self._options["record"], self._program, beside, self._say)
        if self._file is None:
            self._heard.end()
            return
        self._trace = Straight(self._file)
        self._known = Known(beside, self._trace)
        self._heard.by(self._trace)
        probe.install()

    def _take(self, event: Event) -> None:
        with self._turn:
            if not self._file.alive:
                self._probe.detach()
                return
            self._trace.append(event)
            self._known.hear(event)

    def _say(self, text: str) -> None:
        self._server.event("output", {"category": "console", "output": text})

    def rest(self) -> None:
        if self._probe is None:
            self._say("the program did not use torch: there is nothing to record\n")

    def leave(self) -> None:
        if self._probe is not None:
            self._probe.remove()

    def fail(self, error: BaseException, code: int) -> None:
        self._finish(code, one_line(error))

    def end(self, code: int) -> None:
        self.leave()
        self._finish(code, "")

    def _finish(self, code: int, raised: str) -> None:
        if self._trace is not None and self._trace.iteration is not None:
            self._take(ProgramFinished(self._trace.iteration, code, raised))

    def close(self, how: str, code: int | None) -> None:
        self._heard.end()
        if self._file is not None:
            self._file.close(how, code)


def new_file(wanted: dict[str, Any], program: Launch, beside: Beside, say: Callable[[str], object]) -> Writer | None:
    """Begin to write a recording; None, and a line said, where that can't be done: the program runs on without.

    wanted: {"path": …, "size": …, "last": …}, the last two as in `policy.Keep`.
    """
    from backpropdbg.probe.measuring import measure
    from backpropdbg.probe.tensors import StoredTensor

    def known() -> Known:
        return Known({}, beside.modules(), beside.frozen(), beside.optimizer())

    def tell(text: str) -> None:
        say(text + "\n")

    about = About(program.title, program.seed, program.focus, tuple(sys.argv), versions())
    keep = Keep(wanted["size"], wanted["last"])
    try:
        return Writer(os.path.abspath(wanted["path"]), about, keep, tell, known, StoredTensor, measure)
    except RecordingError as error:
        say(f"{error}; the program runs without a recording\n")
        return None
