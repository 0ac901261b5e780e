"""The command line: what each subcommand does, and nothing else. Imports neither torch nor textual."""

import argparse
import atexit
import contextlib
import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from msgspec.structs import replace

from backpropdbg.errors import BackpropdbgError, CommandError, RecordingError, UsageError
from backpropdbg.options import build, demo_words, looks_words, opened, options_of, program, recorded, run_words, split

if TYPE_CHECKING:
    from backpropdbg.console.script import Script

_FIRST_DEMO = "shared_weight.bpdb"
_ANY_DEMO = "iteration.bpdb"
# The first one holds with these; with any other option, one that holds for every net is played.
_HOLDS_WITH = {"seed", "batch", "d_in", "d_out", "iterations", "tutorial"}


def _demo(given: argparse.Namespace) -> int:
    options = options_of(given)
    if given.web:
        demo = options["demo"]
        assert isinstance(demo, dict)
        shown = [*(["--tour"] if given.tour else []), *looks_words(given)]
        words = [*shown, "--keep", str(options["keep"]), *demo_words(demo)]
        return _web(given, "demo", words, ("cast", "html", "record"))
    seen = given.served or (sys.stdout.isatty() and sys.stdin.isatty())
    if seen and not (given.tour or given.cast or given.html):
        return _show(options, given)
    script = _tour(options)
    if given.cast or given.html:
        return _write(script, given, 1.0)
    if seen:  # who saw it to its end may look around
        lines = script.lines[:-1] if script.lines[-1].text == "quit" else script.lines
        return _show(script.options, given, replace(script, lines=lines))
    from backpropdbg.console.replay import replay

    return replay(script)


def _tour(options: dict[str, object]) -> "Script":
    """Return the script that tells of the demo with these options."""
    from importlib import resources

    from backpropdbg.console.script import parse

    mine = options["demo"]
    assert isinstance(mine, dict)
    name = _FIRST_DEMO if mine.keys() <= _HOLDS_WITH else _ANY_DEMO
    with resources.as_file(resources.files("backpropdbg.demo") / name) as path:
        script = parse(str(path))
    base = script.options["demo"]
    assert isinstance(base, dict)
    script.options.update(options, demo={**base, **mine})
    return script


def _web(given: argparse.Namespace, command: str, words: Sequence[str], never: Sequence[str]) -> int:
    """Serve what a command shows with these words; never: options that would be every visitor's at once."""
    from backpropdbg.tui.web import serve

    other = next((name for name in never if getattr(given, name, None)), None)
    if other is not None:
        raise UsageError(f"argument --{other}: not with --web, where every visitor has a program of his own")
    words = [sys.executable, "-m", "backpropdbg", command, "--served", *words]
    serve(words, given.host, given.port, lambda text: print(text, flush=True))
    return 0


def _replay(given: argparse.Namespace) -> int:
    from backpropdbg.console.replay import parse, replay

    script = parse(given.file)
    if given.html or given.cast:
        if given.format != "text":
            raise UsageError("argument --format: leave it out with --html and --cast, which are files of their own")
        if given.play is not None and not given.cast:
            raise UsageError("argument --play: a page has no pace; leave it out with --html")
        return _write(script, given, given.play or 1.0)
    if given.play is None:
        return replay(script, given.format)
    if not (sys.stdout.isatty() and sys.stdin.isatty()):
        raise UsageError("argument --play: needs a terminal; leave it out to print the session")
    if given.format != "text":
        raise UsageError("argument --format: jsonl is for replay without --play")
    return _show(script.options, given, script, given.play)


def _run(given: argparse.Namespace) -> int:
    words = run_words(given)
    options = program(given, given.words)
    commands = checked("run", [*([f"until {given.until}"] if given.until else []), *given.commands])
    if given.web:
        return _web(given, "run", words, ("record", "prompt"))
    if (given.served or (sys.stdout.isatty() and sys.stdin.isatty())) and not given.prompt:
        return _show(options, given, first=commands)
    from backpropdbg.console import live

    return live.end_like((live.prompt if given.prompt else live.run_through)(options, commands))


def _report(given: argparse.Namespace) -> int:
    from backpropdbg.console import live
    from backpropdbg.console.reporting import report
    from backpropdbg.report.read import check_slug

    fail_on = [check_slug(slug) for slug in given.fail_on]
    script = given.words[0] if given.words else None
    options = {**program(given, given.words), "mode": "report", "iterations": given.iterations}
    with contextlib.ExitStack() as opened:
        output: IO[str] = sys.stderr
        if given.output is not None:
            if script is not None and os.path.exists(given.output) and os.path.samefile(given.output, script):
                raise UsageError(f"argument -o: {given.output!r} is the script itself; give another file")
            try:
                output = opened.enter_context(open(given.output, "w", encoding="utf-8", newline=""))
            except OSError as error:
                raise UsageError(f"argument -o: can't write {given.output!r}: {error.strerror}") from None
        code = report(options, given.format, output, fail_on)
    return live.end_like(code)


def _record(given: argparse.Namespace) -> int:
    from backpropdbg.console import live
    from backpropdbg.console.record import record

    script = given.words[0] if given.words else None
    options = program(given, given.words)
    name = str(given.module or script).rpartition("/")[2].removesuffix(".py").rpartition(".")[2]
    path = given.output or f"{name}.bptrace"
    options |= {**recorded(path, given.keep), "nodes": given.nodes, "mode": "record"}
    return live.end_like(record(options, path))


def _open(given: argparse.Namespace) -> int:
    from backpropdbg.console import live
    from backpropdbg.console.record import overview

    options = opened(given.file)
    commands = checked("open", given.commands)
    text, damage = overview(given.file)
    if given.prompt:
        return live.prompt(options, commands)
    if sys.stdout.isatty() and sys.stdin.isatty():
        return _show(options, given, first=commands)
    if commands:
        from backpropdbg.console.replay import replay
        from backpropdbg.console.script import Line, Script

        lines = tuple([Line("-c", n, text) for n, text in enumerate(commands, 1)])
        return replay(Script("-c", options, lines)) or (2 if damage else 0)
    print(text)
    return _complain(RecordingError(damage), 2) if damage else 0


def _diff(given: argparse.Namespace) -> int:
    from backpropdbg.console.compare import compare

    return compare(given.a, given.b)


def _keys(given: argparse.Namespace) -> int:
    from backpropdbg.tui.config import sample

    print(sample(), end="")
    return 0


def command_help() -> dict[str, str]:
    """Return the commands of the debugger, each with the line that says what it does."""
    from backpropdbg.debugger.commands import TABLE

    return {row.name: row.help for row in TABLE.values()}


def checked(name: str, commands: Sequence[str]) -> list[str]:
    """Return the commands to begin with. Raises UsageError for the first that can't be one."""
    if commands:
        from backpropdbg.debugger.commands import check

        for line in commands:
            try:
                check(line)
            except CommandError as error:
                raise UsageError(f"{name}: {error}") from None
    return list(commands)


def _show(
    options: dict[str, object],
    given: argparse.Namespace,
    script: "Script | None" = None,
    speed: float = 1.0,
    first: Sequence[str] = (),
) -> int:
    from backpropdbg.tui import first as first_paint

    begins = f"opening {options['path']} ..." if options["program"] == "open" else "starting the program ..."
    painted = first_paint.paint(begins)
    from backpropdbg.wire.client import ChildSession
    from backpropdbg.wire.process import Streams

    alone = script is None
    session = ChildSession({**options, "mourns": alone, "hurried": alone}, streams=Streams("pty"), first=first)
    _restore_terminal_at_exit()
    try:
        session.prepare()  # the child imports torch while this process imports textual
        from backpropdbg.tui.app import DebuggerApp
        from backpropdbg.tui.config import read
        from backpropdbg.tui.remembered import state_path

        settings = read(os.environ)
        state = state_path(os.environ) if settings.remember else None
        signs = given.ascii or settings.ascii
        settings = dataclasses.replace(settings, theme=given.theme or settings.theme, ascii=signs, state=state)
        lines = None if script is None else [(line.text, line.number) for line in script.lines]
        own_code = script is None and options["program"] == "run"
        app = DebuggerApp(
            session, lines, speed=speed, own_code=own_code, settings=settings, commands=command_help, begins=begins
        )
        painted = False
        app.run()
        if app.raised and script is None:
            sys.stderr.write("".join(app.last_words))
        if not app.detached:
            return app.return_code or 0
        from backpropdbg.console import live

        return live.end_like(live.follow(session, app.late))
    finally:
        if painted:
            first_paint.leave()
        session.close()


def _write(script: "Script", given: argparse.Namespace, speed: float) -> int:
    """Write a script as a page, a cast, or both."""
    from backpropdbg.console.filming import check_target, write_page

    for path, endings, option in ((given.html, (".html", ".htm"), "--html"), (given.cast, (".cast",), "--cast")):
        if path:
            check_target(path, endings, option)
    code = write_page(script, given.html) if given.html else 0
    return code or (_cast(script, given.cast, speed, given.theme or "dark", given.ascii) if given.cast else 0)


def _cast(script: "Script", path: str, speed: float, theme: str, ascii_only: bool) -> int:
    from backpropdbg.console.filming import told, write
    from backpropdbg.pages.cast import asciicast
    from backpropdbg.wire.client import ChildSession
    from backpropdbg.wire.process import Streams

    session = ChildSession(script.options, streams=Streams("pty"))
    try:
        session.prepare()
        from backpropdbg.tui.cast import SIZE, play_to_tape
        from backpropdbg.tui.config import Settings

        lines = [(line.text, line.number) for line in script.lines]
        tape, code, failed = play_to_tape(session, lines, speed, Settings(theme, ascii=ascii_only))
    finally:
        session.close()
    if failed:
        print(f"{script.path}: {failed}", file=sys.stderr)
    write(path, asciicast(Path(script.path).stem, *SIZE, tape.moments), "--cast")
    told(path, sum(moment.kind == "m" for moment in tape.moments))
    return code


def _restore_terminal_at_exit() -> None:
    """Set the terminal's modes back to what they are now, however the screen goes down.

    Textual takes over what it finds after a SIGCONT, which may be its own modes. At exit, and not before: its threads
    that read the terminal have to end first.
    """
    try:
        import termios
    except ImportError:  # not on Windows
        return
    with contextlib.suppress(OSError, ValueError, termios.error):
        modes = termios.tcgetattr(sys.stdin.fileno())
        atexit.register(_set_modes, sys.stdin.fileno(), modes)


def _set_modes(fd: int, modes: "list[Any]") -> None:
    import termios

    with contextlib.suppress(OSError, termios.error):
        termios.tcsetattr(fd, termios.TCSANOW, modes)


_COMMANDS = {
    "demo": _demo,
    "diff": _diff,
    "keys": _keys,
    "open": _open,
    "record": _record,
    "replay": _replay,
    "report": _report,
    "run": _run,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit code: 0 fine, 1 failed, 2 usage, 3 the program raised."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    try:
        os.fstat(0)
    except OSError:  # else the first file that we open becomes our standard input
        os.open(os.devnull, os.O_RDONLY)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        words = list(sys.argv[1:] if argv is None else argv)
        if words[:1] in (["run"], ["record"], ["report"]):
            ours, theirs = split(words[1:], anywhere=words[0] != "run")
            given = build().parse_args([words[0], *ours])
            given.words = theirs
        else:
            given = build().parse_args(words)
        return _COMMANDS[given.command](given)
    except (UsageError, RecordingError) as error:
        return _complain(error, 2)
    except BackpropdbgError as error:
        return _complain(error, 1)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except OSError as error:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return _complain(UsageError(f"can't write: {error.strerror or error}"), 1)


def _complain(error: BackpropdbgError, code: int) -> int:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    print(f"backpropdbg: {text}", file=sys.stderr)
    return code
