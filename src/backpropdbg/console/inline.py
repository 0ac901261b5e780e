"""The prompt inside the program's own process, for `backpropdbg.set_trace()`: no child, no screen."""

import builtins
import os
import sys
import types
from typing import Any

from backpropdbg.console import keyboard
from backpropdbg.console.render import render_stop
from backpropdbg.debugger.commands import check
from backpropdbg.errors import CommandError
from backpropdbg.situation import Situation

_NOT_HERE = {"restart": "restart: the program is not ours to start; run it with `python -m backpropdbg run SCRIPT`"}


class Inline:
    """Waits at the stops of a debugger that lives in this process."""

    debugger: Any = None

    def __init__(self) -> None:
        self._again = ""

    def wait(self, situation: Situation) -> None:
        """Show a stop and carry out commands, in the stopped thread, until one moves."""
        say(render_stop(situation))
        while True:
            try:
                asked = _ask()
            except KeyboardInterrupt:
                sys.stderr.write("\n")
                continue
            line = self._again if asked is not None and not asked.strip() else asked
            word = line.split()[0] if line else ""
            self._again = line or ""
            if line is None or word in ("quit", "q"):
                if self._quit(line or "quit 1"):
                    return
                continue
            if not word:
                continue
            if self._carry_out(line or "", word):
                return

    def _quit(self, line: str) -> bool:
        """End the program; where nobody can answer any more, as a failure."""
        try:
            check(line)
        except CommandError as error:
            say(str(error))
            return False
        words = line.split()
        self.debugger.quit(int(words[1]) if len(words) > 1 else 0)
        return True

    def _carry_out(self, line: str, word: str) -> bool:
        """Returns True where the program runs on."""
        if word in _NOT_HERE:
            say(_NOT_HERE[word])
            return False
        try:
            result = self.debugger.execute(line)
        except CommandError as error:
            say(str(error))
            return False
        if result.text:
            say(result.text)
        return bool(result.moves)


def say(text: str) -> None:
    """Print what the debugger says."""
    sys.stderr.write(text.rstrip("\n") + "\n")
    sys.stderr.flush()


def _ask() -> str | None:
    """Ask for a line; a notebook has its own way to do that."""
    if isinstance(builtins.input, types.BuiltinFunctionType):
        sys.stdout.flush()
        try:
            return keyboard.ask()
        except OSError:  # closed by whoever started the program
            return None
    try:
        return input(keyboard.PROMPT)
    except EOFError:
        return None


def title() -> str:
    """What the program is called."""
    return os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] else "python"
