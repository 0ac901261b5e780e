"""The command line: arguments of each subcommand, and nothing else. Imports neither torch nor textual."""

import argparse
import atexit
import contextlib
import math
import os
import re
import sys
from collections.abc import Callable, Sequence
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, NoReturn

from backpropdbg.errors import BackpropdbgError, CommandError, UsageError

if TYPE_CHECKING:
    from backpropdbg.console.script import Script

DEFAULT_KEEP = "1GB"
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_FIRST_DEMO = "shared_weight.bpdb"
_ANY_DEMO = "iteration.bpdb"
# The first one holds with these; with any other option, one that holds for every net is played.
_HOLDS_WITH = {"seed", "batch", "d_in", "d_out", "iterations", "tutorial"}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def _whole(low: int, high: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {low} to {high}")
        return value

    return convert


def _real(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0")
    return value


def _speed(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a speed above 0, such as 1 or 2.5")
    return value


def _uses(text: str) -> int | None:
    if text == "random":
        return None
    try:
        return _whole(0, 1000)(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither 'random' nor a whole number from 0 to 1000") from None


def _bytes(text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)\s*([KMGT]?I?)B?", text.strip(), re.IGNORECASE)
    unit = _UNITS.get(match[2].upper()) if match else None
    value = int(float(match[1]) * unit) if match and unit else 0
    if not 0 < value < 2**60:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 256MB, 1.5GB or 64MiB")
    return value


def _add_demo_options(parser: argparse.ArgumentParser) -> None:
    size = _whole(1, 65536)
    absent = argparse.SUPPRESS

    def add(name: str, text: str, kind: Callable[[str], object], metavar: str = "N") -> None:
        parser.add_argument(name, help=text, type=kind, metavar=metavar, default=absent)

    add("--seed", "seed of all random numbers", _whole(0, 2**63 - 1))
    add("--uses", "uses of the shared layer per iteration: a number, or 'random'", _uses, "{random,0,1,...}")
    add("--batch", "rows of the input", size)
    add("--d-in", "columns of the input", size)
    add("--hidden", "width of the shared layer", size)
    add("--d-out", "columns of the output", size)
    parser.add_argument("--optimizer", choices=["sgd", "adam", "adamw"], default=absent)
    add("--lr", "learning rate", _real, "X")
    add("--momentum", "momentum of sgd", _real, "X")
    add("--weight-decay", "weight decay", _real, "X")
    flag = {"action": "store_true", "default": absent}
    parser.add_argument("--keep-zero-grads", help="zero_grad(set_to_none=False)", **flag)  # type: ignore[arg-type]
    add("--iterations", "training iterations", _whole(1, 10**9))
    parser.add_argument("--tutorial", help="the tutorial's own sizes and numbers", **flag)  # type: ignore[arg-type]
    parser.add_argument("--net", choices=["module", "parameter"], default=absent, help="which version of the net")
    parser.add_argument(
        "--keep", type=_bytes, default=DEFAULT_KEEP, metavar="SIZE", help=f"memory for the history ({DEFAULT_KEEP})"
    )


def _options(given: argparse.Namespace) -> dict[str, object]:
    values = {name: value for name, value in vars(given).items() if name not in ("command", "keep")}
    if values.get("momentum") and values.get("optimizer", "sgd") != "sgd":
        raise UsageError(f"argument --momentum: {values['optimizer']} has none; use it with --optimizer sgd")
    return {"program": "demo", "demo": values, "keep": given.keep}


def demo_options(words: Sequence[str]) -> dict[str, object]:
    """Return the child's options for the words after `demo`. Raises UsageError.

    Example: `demo_options(["--uses", "3"])` is `{"program": "demo", "demo": {"uses": 3}, "keep": 1000000000}`.
    """
    parser = _Parser(prog="demo", add_help=False, allow_abbrev=False)
    _add_demo_options(parser)
    return _options(parser.parse_args(list(words)))


def run_options(words: Sequence[str]) -> dict[str, object]:
    """Return the child's options for the words after `run`. Raises UsageError.

    Example: `run_options(["train.py", "--lr", "1"])` names the script "train.py" and its arguments ["--lr", "1"].
    """
    parser = _Parser(prog="run", add_help=False, allow_abbrev=False)
    _add_run_options(parser)
    ours, theirs = _split(words, anywhere=False)
    return _program(parser.parse_args(ours), theirs)


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-m", dest="module", metavar="MODULE", help="run a module, as python -m does")
    parser.add_argument(
        "--track", action="append", default=[], metavar="GLOB", help="trace these parameters or modules only"
    )
    parser.add_argument(
        "--keep", type=_bytes, default=DEFAULT_KEEP, metavar="SIZE", help=f"memory for the history ({DEFAULT_KEEP})"
    )
    parser.add_argument("words", nargs="*", metavar="SCRIPT [ARGS]", help="the script and its arguments")


def _program(given: argparse.Namespace, words: list[str]) -> dict[str, object]:
    script = None
    if given.module is None:
        if not words:
            raise UsageError("run: which script? e.g. run train.py --lr 0.1, or run -m package.module")
        script = words.pop(0)
        if not os.path.isfile(script):
            what = "is a folder" if os.path.isdir(script) else "no such file"
            raise UsageError(f"run {script}: {what}; give a Python script")
    options = {"program": "run", "script": script, "module": given.module, "args": words}
    return {**options, "keep": given.keep, "track": given.track}


def _add_report_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--iterations", type=_whole(1, 10**9), default=3, metavar="N", help="how many to report (3)")
    parser.add_argument("--format", choices=["table", "jsonl", "csv"], default="table")
    parser.add_argument("-o", dest="output", metavar="FILE", help="where the report goes (stderr)")
    parser.add_argument(
        "--fail-on", action="append", default=[], metavar="FINDING", help="exit 1 where there is such a finding, for CI"
    )
    _add_run_options(parser)


_TAKE_ONE = {"--keep", "--track", "--until", "-c", "--iterations", "--format", "-o", "--fail-on"}


def _split(words: Sequence[str], anywhere: bool) -> tuple[list[str], list[str]]:
    """Return our options, and the script with its arguments (after `-m MODULE`: the arguments alone).

    anywhere: our options may stand behind the script too, unless after `--`.
    Example: `_split(["train.py", "--lr", "1", "--iterations", "3"], True)` parts "--iterations", "3" from the rest.
    """
    ours: list[str] = []
    theirs: list[str] = []
    begun, left = False, iter(words)
    for word in left:
        if begun and (word == "--" or not anywhere):
            theirs += [*([] if word == "--" and anywhere else [word]), *left]
        elif word == "-m" and not begun:
            ours += [word, *islice(left, 1)]
            begun = True
        elif word.partition("=")[0] in _TAKE_ONE:
            ours += [word, *([] if "=" in word else islice(left, 1))]
        elif word.startswith("-") and not begun:
            ours.append(word)
        else:
            theirs.append(word)
            begun = True
    return ours, theirs


def _build() -> argparse.ArgumentParser:
    parser = _Parser(prog="backpropdbg", description="Step through PyTorch's autograd.", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)
    demo = commands.add_parser("demo", help="debug the tutorial's DynamicNet", allow_abbrev=False)
    _add_demo_options(demo)
    program = "%(prog)s [options] SCRIPT [ARGS], or %(prog)s [options] -m MODULE [ARGS]"
    run = commands.add_parser("run", help="debug a script of yours, unmodified", allow_abbrev=False, usage=program)
    run.add_argument("--until", metavar="LOC", help="run there first, e.g. --until 'iteration 7'")
    run.add_argument("-c", dest="commands", action="append", default=[], metavar="COMMAND", help="carry out first")
    run.add_argument("--prompt", action="store_true", help="a plain prompt in place of the screen")
    _add_run_options(run)
    tells = "run a script of yours, then tell what its gradients did"
    report = commands.add_parser("report", help=tells, allow_abbrev=False, usage=program)
    _add_report_options(report)
    replay = commands.add_parser("replay", help="run a script of commands", allow_abbrev=False)
    replay.add_argument("file", metavar="FILE", help="a .bpdb script")
    replay.add_argument("--format", choices=["text", "jsonl"], default="text", help="what goes to stdout")
    replay.add_argument("--play", type=_speed, metavar="SPEED", help="play it on the screen, 1 is normal speed")
    replay.add_argument("--html", metavar="FILE", help="write it as one HTML page, to be stepped through in a browser")
    return parser


def _demo(given: argparse.Namespace) -> int:
    options = _options(given)
    if sys.stdout.isatty() and sys.stdin.isatty():
        return _show(options, None, 1.0)
    from importlib import resources

    from backpropdbg.console.replay import parse, replay

    mine = options["demo"]
    assert isinstance(mine, dict)
    name = _FIRST_DEMO if mine.keys() <= _HOLDS_WITH else _ANY_DEMO
    with resources.as_file(resources.files("backpropdbg.demo") / name) as path:
        script = parse(str(path))
    base = script.options["demo"]
    assert isinstance(base, dict)
    script.options.update(options, demo={**base, **mine})
    return replay(script)


def _replay(given: argparse.Namespace) -> int:
    from backpropdbg.console.replay import parse, replay

    script = parse(given.file)
    if given.html is not None:
        from backpropdbg.console.filming import write_page

        if given.play is not None or given.format != "text":
            raise UsageError("argument --html: leave out --play and --format, it is another way to show the same")
        return write_page(script, given.html)
    if given.play is None:
        return replay(script, given.format)
    if not (sys.stdout.isatty() and sys.stdin.isatty()):
        raise UsageError("argument --play: needs a terminal; leave it out to print the session")
    if given.format != "text":
        raise UsageError("argument --format: jsonl is for replay without --play")
    return _show(script.options, script, given.play)


def _run(given: argparse.Namespace) -> int:
    options = _program(given, given.words)
    commands = [*([f"until {given.until}"] if given.until else []), *given.commands]
    if commands:
        from backpropdbg.debugger.commands import check

        for line in commands:
            try:
                check(line)
            except CommandError as error:
                raise UsageError(f"run: {error}") from None
    if sys.stdout.isatty() and sys.stdin.isatty() and not given.prompt:
        return _show(options, None, 1.0, commands)
    from backpropdbg.console import live

    return live.end_like((live.prompt if given.prompt else live.run_through)(options, commands))


def _report(given: argparse.Namespace) -> int:
    from backpropdbg.console import live
    from backpropdbg.console.reporting import report
    from backpropdbg.report.read import check_slug

    fail_on = [check_slug(slug) for slug in given.fail_on]
    script = given.words[0] if given.words else None
    options = {**_program(given, given.words), "mode": "report", "iterations": given.iterations}
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


def _show(options: dict[str, object], script: "Script | None", speed: float, first: Sequence[str] = ()) -> int:
    from backpropdbg.wire.client import ChildSession
    from backpropdbg.wire.process import Streams

    session = ChildSession(options, streams=Streams("pty"), first=first)
    _restore_terminal_at_exit()
    try:
        session.prepare()  # the child imports torch while this process imports textual
        from backpropdbg.tui.app import DebuggerApp

        lines = None if script is None else [(line.text, line.number) for line in script.lines]
        own_code = script is None and options["program"] == "run"
        app = DebuggerApp(session, script=lines, speed=speed, own_code=own_code)
        app.run()
        if app.raised and script is None:
            sys.stderr.write("".join(app.last_words))
        if not app.detached:
            return app.return_code or 0
        from backpropdbg.console import live

        return live.end_like(live.follow(session, app.late))
    finally:
        session.close()


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
        if words[:1] in (["run"], ["report"]):
            ours, theirs = _split(words[1:], anywhere=words[0] == "report")
            given = _build().parse_args([words[0], *ours])
            given.words = theirs
        else:
            given = _build().parse_args(words)
        return {"demo": _demo, "run": _run, "replay": _replay, "report": _report}[given.command](given)
    except UsageError as error:
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
