"""The command table: one for the prompt, scripts, the TUI's command line and DAP `evaluate`.

A command is a function whose docstring is its help. It gets the debugger and its argument text, and returns what to
print; a command marked `moves` lets the program run on.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache

from msgspec import Struct

from backpropdbg.debugger.core import Debugger
from backpropdbg.debugger.locations import suggest
from backpropdbg.errors import CommandError

Action = Callable[[Debugger, str], str]
Check = Callable[[str], None]


class Command(Struct, frozen=True):
    """One row of the table. check: raises CommandError for arguments that can't be right, before anything runs."""

    name: str
    action: Action
    check: Check
    aliases: tuple[str, ...] = ()
    moves: bool = False

    @property
    def help(self) -> str:
        """The first line of the docstring."""
        return (self.action.__doc__ or "").strip().splitlines()[0]


TABLE: dict[str, Command] = {}
_NOT_IN_BODY = {"commands", "sleep", "screenshot", "theme", "ascii", "layout", "source", "restart", "quit"}
_STRAY = "end: there is no `commands N` before it"


def enter(action: Action, check: Check, *aliases: str, moves: bool = False) -> None:
    """Enter a function in the table under its own name (without a trailing underscore) and its aliases."""
    row = Command(action.__name__.rstrip("_"), action, check, aliases, moves)
    for name in (row.name, *aliases):
        TABLE[name] = row


def command(check: Check, *aliases: str, moves: bool = False) -> Callable[[Action], Action]:
    """The same, as a decorator."""

    def decorate(action: Action) -> Action:
        enter(action, check, *aliases, moves=moves)
        return action

    return decorate


def without_comment(line: str) -> str:
    """Return a line up to a `#` that begins a word outside of quotes (but for `#2`, which is half a target).

    Example: `until backward a#2  # the second` is cut before "# the second", and `say "a # b"` stays whole.
    """
    if "#" not in line:
        return line.strip()
    quote = ""
    for at, sign in enumerate(line):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        elif sign == "#" and (not line[:at].strip() or (line[at - 1].isspace() and not line[at + 1 :][:1].isdigit())):
            return line[:at].strip()
    return line.strip()


@lru_cache(maxsize=256)
def _parts(line: str) -> tuple[str, str]:
    """The first word of a line and the rest, without a comment.

    They are remembered: a script steps a thousand times, a breakpoint says its lines wherever it stops.
    """
    words = without_comment(line).split(None, 1)
    return (words[0] if words else ""), (words[1].strip() if len(words) > 1 else "")


def _find(line: str) -> tuple[Command, str] | None:
    """The command of a line and its arguments; None where there is none. Raises CommandError for an unknown one."""
    word, rest = _parts(line)
    if not word:
        return None
    row = TABLE.get(word)
    if row is None:
        raise CommandError(f"unknown command {word!r}{suggest(word, TABLE)}")
    return row, rest


def check(line: str) -> None:
    """Raise CommandError where a line can't be a command. Empty lines and comments are fine."""
    _checked(line)


def _checked(line: str) -> tuple[Command, str] | None:
    """The same as `_find`, once the arguments were checked."""
    found = _find(line)
    if found is not None:
        try:
            found[0].check(found[1])
        except CommandError as e:
            raise CommandError(f"{found[0].name}: {e}") from None
    return found


class LineError(CommandError):
    """A line of several that can't be. index: which, from 0."""

    def __init__(self, index: int, message: str) -> None:
        super().__init__(message)
        self.index = index


def check_all(lines: Iterable[str]) -> None:
    """Check the lines of a script, and that `commands N` and `end` come in pairs. Raises LineError."""
    begun: int | None = None
    for index, line in enumerate(lines):
        try:
            if begun is None:
                check(line)
            else:
                check_in_body(line)
            word = _name(line)
            if word == "end" and begun is None:
                raise CommandError(_STRAY)
        except CommandError as e:
            raise LineError(index, str(e)) from None
        begun = index if word == "commands" else None if word == "end" else begun
    if begun is not None:
        raise LineError(begun, "commands: there is no `end` to it")


def check_in_body(line: str) -> None:
    """Raise CommandError where a line can't stand between `commands N` and `end`."""
    check(line)
    word = _name(line)
    if word in _NOT_IN_BODY:
        raise CommandError(f"{word}: can't be one of the commands of a breakpoint")


def goes_on(line: str) -> bool:
    """True for `continue`, which among the commands of a breakpoint resumes what the user asked for last."""
    return _name(line) == "continue"


def _name(line: str) -> str:
    """The command of a line, "" where there is none."""
    found = _find(line)
    return "" if found is None else found[0].name


def run(debugger: Debugger, line: str) -> tuple[str, bool]:
    """Carry out one line; return what to print and whether the program runs on. Raises CommandError.

    After `commands N`, lines are collected until `end`.
    """
    if debugger.collecting is not None and _name(line) != "end":
        check_in_body(line)
        debugger.collecting[1].extend([without_comment(line)] if without_comment(line) else [])
        return "", False
    found = _checked(line)
    if found is None:
        return "", False
    row, text = found
    return row.action(debugger, text), row.moves


def end_collecting(debugger: Debugger) -> str:
    """Give a breakpoint the lines that were collected for it."""
    if debugger.collecting is None:
        raise CommandError(_STRAY)
    (b, lines), debugger.collecting = debugger.collecting, None
    b.commands = tuple(lines)
    return f"{b.name}: {len(lines)} command{'s' * (len(lines) != 1)}" if lines else f"{b.name}: no commands"
