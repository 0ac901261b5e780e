"""`report`: the program runs to its end with this process's own streams, then a table is written."""

import queue
import sys
from collections.abc import Sequence
from typing import IO

import msgspec

from backpropdbg.console import keyboard
from backpropdbg.errors import WireError
from backpropdbg.report.read import Report
from backpropdbg.wire.client import ChildSession
from backpropdbg.wire.session import Ended, Message, Rows


def report(options: dict[str, object], form: str, output: IO[str], fail_on: Sequence[str]) -> int:
    """Run a program and report on it.

    Args:
        options: of the child.
        form: "table", "jsonl" or "csv".
        output: where the report goes.
        fail_on: findings that make the exit code 1, where the program's own is 0.

    Returns the program's exit code, negative for a signal.
    """
    session = ChildSession(options, streams=keyboard.streams("inherit"))
    found, inbox = Report(), queue.SimpleQueue[Message]()
    keyboard.forward(lambda number, frame: session.signal(number))
    try:
        session.start(inbox.put)
        keyboard.pass_on(session.feed)
        code = _listen(inbox, found)
    finally:
        session.close()
    globs = options.get("track")
    if isinstance(globs, list) and globs and not found.lines:
        print(f"backpropdbg: no parameter matches --track {' '.join(globs)}", file=sys.stderr)
        return code
    found.write(form, output)
    guilty = found.fails(fail_on)
    for line in guilty:
        slugs = ", ".join(slug for slug in line.row.findings if slug.partition(":")[0] in fail_on or slug in fail_on)
        print(f"backpropdbg: {line.row.names[0]}, iteration {line.row.iteration}: {slugs}", file=sys.stderr)
    return code or (1 if guilty else 0)


def _listen(inbox: "queue.SimpleQueue[Message]", found: Report) -> int:
    """Take rows in until the program is gone. Returns its exit code."""
    while True:
        message = inbox.get()
        if isinstance(message, Ended):
            return message.code
        if isinstance(message, Rows):
            try:
                found.add(msgspec.json.decode(message.body))
            except (WireError, msgspec.DecodeError) as error:
                found.notes.append(str(error))
