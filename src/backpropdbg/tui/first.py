"""The first paint, in plain escape codes: what is being started, before textual is imported, which paints over it."""

import shutil
import sys

from backpropdbg.figures import clean

ENTER, LEAVE = "\x1b[?1049h\x1b[2J\x1b[H", "\x1b[?1049l"
BOTTOM = 2  # lines of the command line and the keys, under what is said


def paint(text: str) -> bool:
    """Say it where the whole screen will say it, in the terminal's own colours. Returns False where none is there."""
    if not (sys.stdout.isatty() and sys.stdin.isatty()):
        return False
    columns, lines = shutil.get_terminal_size()
    name, word = " backpropdbg "[:columns], "  starting"[: max(0, columns - 13)]
    line = clean(text).replace("\n", "?")[: max(0, columns - 4)]
    sys.stdout.write(f"{ENTER}\x1b[7m{name}\x1b[0m\x1b[1m{word}\x1b[0m\x1b[{max(2, lines - BOTTOM)};3H{line}\x1b[H")
    sys.stdout.flush()
    return True


def leave() -> None:
    """Give the terminal's own screen back."""
    sys.stdout.write(LEAVE)
    sys.stdout.flush()
