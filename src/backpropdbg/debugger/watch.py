"""Watchpoints: expressions whose value is compared at each event."""

from typing import TYPE_CHECKING

from backpropdbg.debugger import expressions
from backpropdbg.debugger.breakpoints import Breakpoint, Watch
from backpropdbg.debugger.stop import Stop

if TYPE_CHECKING:
    from backpropdbg.debugger.core import Debugger

_LONGEST = 80


def start(expression: str, d: "Debugger", stop: Stop, frame: int) -> tuple[Watch, str]:
    """Watch an expression from this stop on; return also why it has no value yet, "" where it has one.

    frame: how far up the stack the frame is whose variables it names.
    """
    made = Watch(expression, stop.focus)
    frames = d.program.stack()[frame:]
    theirs = {name for name in expressions.used_names(expression) if not expressions.is_ours(name)}
    code = frames[0].f_code if frames else None
    if code is not None and theirs & {*code.co_varnames, *code.co_cellvars, *code.co_freevars}:
        made.code = frames[0].f_code
    return made, _compare(made, d, stop)[1]


def changed(b: Breakpoint, d: "Debugger", stop: Stop) -> str:
    """Compare with the last value; return what to say of a change, "" where there is none to see.

    What can't be evaluated here (its frame is gone, its tensor is not there yet) keeps its last value; that it has one
    at last is no change.
    """
    watch = b.watch
    if watch is None:
        return ""
    known, before = watch.known, watch.shown
    if not _compare(watch, d, stop)[0] or not known:
        return ""
    return f"{b.name}: {watch.expression} was {before}, is {watch.shown}"


def look_again(b: Breakpoint, d: "Debugger", stop: Stop) -> None:
    """Take the present value for the last one."""
    if b.watch is not None:
        _compare(b.watch, d, stop)


def _compare(watch: Watch, d: "Debugger", stop: Stop) -> tuple[bool, str]:
    """Whether there is another value, which is remembered; and why there is none, "" where there is one."""
    frame = None
    if watch.code is not None:
        frame = next((f for f in d.program.stack() if f.f_code is watch.code), None)
        if frame is None:
            return False, "its frame is not on the stack"
    try:
        value = expressions.evaluate(d, watch.expression, stop, frame)
        if watch.known and d.program.same(watch.last, value):
            return False, ""
        watch.known, watch.last, watch.shown = True, d.program.remember(value), _short(d.program.show(value))
    except Exception as e:  # a CommandError, or a value that can't be copied: the program must not see it
        return False, _short(str(e))
    return True, ""


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."
