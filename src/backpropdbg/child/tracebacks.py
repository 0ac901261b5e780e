"""Tracebacks of the program as it would have them without us: our frames, and what torch adds because of our hooks.

With a hook installed `Module._call_impl` calls its own `inner`, and with a function mode active torch's functions take
the way through `handle_torch_function`; neither is on the stack of a program that nobody watches.
"""

import dis
import functools
import os
import traceback
from types import CodeType, TracebackType
from typing import Any

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_DEMO = os.path.join(_OURS, "demo") + os.sep
_MODULE = os.path.join("torch", "nn", "modules", "module.py")
_OVERRIDES = os.path.join("torch", "overrides.py")

Entry = tuple[TracebackType, int, int]


def is_ours(path: str) -> bool:
    """True for a file of the debugger's; the demo is a program of the user's."""
    return path.startswith(_OURS) and not path.startswith(_DEMO)


def clean(error: BaseException) -> None:
    """Take our frames out of the traceback of an exception, in place, and of all that it was raised from or with."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        one.__traceback__ = _without_ours(one.__traceback__)
        waiting += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions


def one_line(error: BaseException) -> str:
    """What was raised, as the last line of a traceback says it."""
    line = str(error).splitlines()[0] if str(error) else ""
    return f"{type(error).__name__}: {line}".rstrip(": ")


def clean_all_that_is_printed() -> None:
    """For this process: also what the program formats itself, by `traceback.print_exc()`, logging and the like."""
    original = traceback.TracebackException.__init__

    @functools.wraps(original)
    def init(self: Any, kind: Any, error: Any, trace: Any, *args: Any, **kwargs: Any) -> None:
        if isinstance(error, BaseException):
            mine = error.__traceback__ is trace
            clean(error)
            trace = error.__traceback__ if mine else _without_ours(trace)
        original(self, kind, error, trace, *args, **kwargs)

    traceback.TracebackException.__init__ = init  # type: ignore[method-assign, assignment]


def _without_ours(trace: TracebackType | None) -> TracebackType | None:
    kept: list[Entry] = []
    while trace is not None:
        code = trace.tb_frame.f_code
        if is_ours(code.co_filename):
            pass
        elif code.co_filename.endswith(_OVERRIDES) and code.co_name == "handle_torch_function":
            if _comes_back(trace) and kept:
                kept.pop()
        elif code.co_filename.endswith(_MODULE) and code.co_name == "inner":
            if kept:
                kept[-1] = _without_hooks(kept[-1])
        else:
            kept.append((trace, trace.tb_lasti, trace.tb_lineno))
        trace = trace.tb_next
    rebuilt: TracebackType | None = None
    for entry, last, line in reversed(kept):
        rebuilt = TracebackType(rebuilt, entry.tb_frame, last, line)
    return rebuilt


def _comes_back(trace: TracebackType) -> bool:
    """True where `handle_torch_function` called us: then the function that called it is entered once more, or in C."""
    following = trace.tb_next
    return following is not None and is_ours(following.tb_frame.f_code.co_filename)


def _without_hooks(entry: Entry) -> Entry:
    """The call in `_call_impl` that a module without hooks takes: its first one with `*args, **kwargs`."""
    trace = entry[0]
    code: CodeType = trace.tb_frame.f_code
    if code.co_name != "_call_impl":
        return entry
    for instruction in dis.get_instructions(code):
        positions = instruction.positions
        if instruction.opname == "CALL_FUNCTION_EX" and positions is not None and positions.lineno is not None:
            return (trace, instruction.offset, positions.lineno)
    return entry
