"""`record`: the program runs to its end with this process's own streams, while its child writes a recording.

And what there is to say of a recording without a screen.
"""

import os
import queue
import signal
import sys

from backpropdbg.console import keyboard
from backpropdbg.errors import RecordingError
from backpropdbg.held import Held, Stored
from backpropdbg.trace.opening import Opened
from backpropdbg.wire.client import ChildSession
from backpropdbg.wire.session import Ended, Message, Said


def record(options: dict[str, object], path: str) -> int:
    """Run a program and record it. Returns its exit code, negative for a signal. path: of the file, as it was given."""
    session = ChildSession(options, streams=keyboard.streams("inherit"))
    inbox = queue.SimpleQueue[Message]()
    keyboard.forward(lambda number, frame: session.signal(number))
    before = _stamp(path)
    try:
        session.start(inbox.put)
        keyboard.pass_on(session.feed)
        code = _listen(inbox)
    finally:
        session.close()
    if _stamp(path) != before:
        _tell(path, f"; the program was killed by {signal.Signals(-code).name}" if code < 0 else "")
    return code


def _listen(inbox: "queue.SimpleQueue[Message]") -> int:
    while True:
        message = inbox.get()
        if isinstance(message, Said):
            print(f"backpropdbg: {message.text}", end="", file=sys.stderr, flush=True)
        elif isinstance(message, Ended):
            return message.code


def _stamp(path: str) -> object:
    """What is another one once the file was replaced."""
    try:
        there = os.stat(path)
    except OSError:
        return None
    return there.st_ino, there.st_mtime_ns


def _tell(path: str, end: str) -> None:
    try:
        trace = Opened(path, _no_tensor)
        print(f"backpropdbg: recorded {_amount(trace)}: {path}, {_size(path)}{end}", file=sys.stderr)
    except RecordingError as error:
        print(f"backpropdbg: {error}{end}", file=sys.stderr)


def _no_tensor(stored: Stored) -> Held:
    """Nobody looks at tensors here."""
    return Held()


def _amount(trace: Opened) -> str:
    iterations, events = len(trace.iterations()), len(trace)
    return f"{iterations} iteration{'s' * (iterations != 1)}, {events} event{'s' * (events != 1)}"


def _size(path: str) -> str:
    size = float(sum(os.path.getsize(name) for name in (path, path + "-wal", path + "-data") if os.path.exists(name)))
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} bytes" if unit == "bytes" else f"{size:.1f} {unit}"


def overview(path: str) -> tuple[str, str]:
    """What a recording is, in a few lines; and how it is damaged, "" where it is not. Raises RecordingError."""
    trace = Opened(path, _no_tensor)
    about = trace.about
    made = ", ".join(f"{name} {version}" for name, version in about.versions.items())
    ended = trace.ended.how if trace.ended is not None else "it is being written, or its program was killed"
    lines = [
        f"{path}: a recording of {about.title}, {_amount(trace)}, {_size(path)}",
        f"made with {made}" if made else "",
        f"seed {about.seed}" if about.seed is not None else "",
        f"it ends in iteration {trace[len(trace) - 1].iteration}: {ended}",
        _kept(trace),
    ]
    trace.check()
    if os.path.exists(path + "-wal"):
        lines.append(f"keep {path}-wal beside it: the newest events are in there")
    if os.path.exists(path + "-data"):
        lines.append(f"keep {path}-data beside it: the tensors are in there")
    return "\n".join(filter(None, lines)), trace.damage


def _kept(trace: Opened) -> str:
    every, kept = trace.reader.tensors.count()
    if every is None or kept is None:
        return "its tensors can't be counted"
    return f"{kept} of {every} tensors are kept, of the others their statistics" if kept < every else f"{every} tensors"
