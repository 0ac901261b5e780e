"""Scripts of commands (`.bpdb`): parsed whole before anything runs."""

import shlex
from pathlib import Path

from msgspec import Struct

from backpropdbg.errors import UsageError

_MOST_BYTES = 2**20
_MOST_DEPTH = 16
_FIRST = "the first command must be `demo [options]`, `run SCRIPT [ARGS]` or `open FILE`"


class Line(Struct, frozen=True):
    """One command and where it stands."""

    path: str
    number: int
    text: str

    @property
    def place(self) -> str:
        """Return `file:line`."""
        return f"{self.path}:{self.number}"


class Script(Struct, frozen=True):
    """A parsed script: the options of its first command, and the commands after it."""

    path: str
    options: dict[str, object]
    lines: tuple[Line, ...]


def parse(path: str) -> Script:
    """Read a script. Raises UsageError with `file:line: what was wrong`."""
    from backpropdbg.options import demo_options, open_options, run_options

    kinds = {"demo": demo_options, "run": run_options, "open": open_options}
    lines = _read(path, ())
    if not lines:
        raise UsageError(f"{path}:1: no command here; {_FIRST}")
    first, rest = lines[0], lines[1:]
    words = _split(first)
    if words[0] not in kinds:
        raise UsageError(f"{first.place}: {_FIRST}, not {words[0]!r}")
    try:
        options = kinds[words[0]](words[1:])
    except UsageError as error:
        raise UsageError(f"{first.place}: {error}") from None
    _check(rest)
    return Script(path, options, tuple(rest))


def _check(lines: list[Line]) -> None:
    """Raise UsageError for the first line that can't be a command."""
    from backpropdbg.debugger.commands import LineError, check_all

    try:
        check_all(line.text for line in lines)
    except LineError as error:
        raise UsageError(f"{lines[error.index].place}: {error}") from None


def _split(line: Line) -> list[str]:
    try:
        return shlex.split(line.text, comments=True)
    except ValueError as error:
        raise UsageError(f"{line.place}: {error} in {line.text!r}") from None


def _read(path: str, above: tuple[Path, ...]) -> list[Line]:
    """Return the commands of a file, those of sourced files in their place."""
    lines: list[Line] = []
    for number, text in enumerate(_text(path).split("\n"), 1):
        command = text.strip()
        if not command or command.startswith("#"):
            continue
        line = Line(path, number, command)
        word = command.split()[0]
        if word in ("demo", "run", "open"):
            if lines or above:
                raise UsageError(f"{line.place}: `{word}` can only be the first command of a script")
            lines.append(line)
            continue
        if word == "source" and (lines or above):
            lines += _source(line, above)
        else:
            lines.append(line)
    return lines


def _source(line: Line, above: tuple[Path, ...]) -> list[Line]:
    words = _split(line)
    if len(words) != 2:
        raise UsageError(f"{line.place}: `source` takes one file")
    chain = (*above, Path(line.path).resolve())
    target = Path(line.path).parent / words[1]
    if not target.is_file():
        raise UsageError(f"{line.place}: no such file {words[1]!r}")
    if target.resolve() in chain or len(chain) > _MOST_DEPTH:
        raise UsageError(f"{line.place}: {words[1]!r} sources itself")
    try:
        return _read(str(target), chain)
    except UsageError as error:
        inside = str(error).startswith(f"{target}:")
        raise UsageError(str(error) if inside else f"{line.place}: {error}") from None


def _text(path: str) -> str:
    try:
        if not Path(path).is_file():
            raise UsageError(f"{path}:1: {'is not a plain file' if Path(path).exists() else 'no such file'}")
        with open(path, "rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{path}:1: can't read it: {reason}") from None
    if len(data) > _MOST_BYTES:
        raise UsageError(f"{path}:1: longer than {_MOST_BYTES} bytes, that is no script")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path}:{line}: not UTF-8 text (byte 0x{data[error.start]:02x})") from None
    for number, row in enumerate(text.split("\n"), 1):
        if any(sign < " " and sign not in "\t\r\f" for sign in row):
            raise UsageError(f"{path}:{number}: control character, this is no script")
    return text
