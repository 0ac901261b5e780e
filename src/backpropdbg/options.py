"""What the words of a command line become: our options, and those of the child process. It loads nothing heavy."""

import argparse
import math
import os
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import NoReturn

from backpropdbg.errors import RecordingError, UsageError
from backpropdbg.keep import Keep, keep_of, size_of
from backpropdbg.palette import PALETTES

DEFAULT_KEEP = "1GB"
DEFAULT_FILE_KEEP = Keep()


class Parser(argparse.ArgumentParser):
    """A parser that raises UsageError."""

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
    size = size_of(text)
    if size is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 256MB, 1.5GB or 64MiB")
    return size


def _file_keep(text: str) -> Keep:
    try:
        return keep_of(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


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
    _add_record(parser)


def _add_theme(parser: argparse.ArgumentParser) -> None:
    told = "colours of the screen (dark, or what the config file says)"
    parser.add_argument("--theme", choices=list(PALETTES), help=told)
    parser.add_argument(
        "--ascii", action="store_true", help="draw with ASCII signs only, where others move the columns"
    )


def _add_record(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--record", metavar="FILE", default=argparse.SUPPRESS, help="write a recording, too")


def recorded(path: str, keep: Keep = DEFAULT_FILE_KEEP) -> dict[str, object]:
    """Return the child's options for a recording of a program. Raises UsageError where it can't be written."""
    from backpropdbg.trace.lay import check

    try:
        check(path)
    except RecordingError as error:
        raise UsageError(str(error)) from None
    return {"record": {"path": os.path.abspath(path), "size": keep.size, "last": keep.last}}


# Options of `demo` that say how to show it, not what it trains.
_NOT_OF_THE_DEMO = {
    "command",
    "keep",
    "record",
    "tour",
    "cast",
    "html",
    "web",
    "host",
    "port",
    "served",
    "theme",
    "ascii",
}


def options_of(given: argparse.Namespace) -> dict[str, object]:
    """Return the child's options for what was given to `demo`. Raises UsageError."""
    record = recorded(given.record) if "record" in given else {}
    values = {name: value for name, value in vars(given).items() if name not in _NOT_OF_THE_DEMO}
    if values.get("momentum") and values.get("optimizer", "sgd") != "sgd":
        raise UsageError(f"argument --momentum: {values['optimizer']} has none; use it with --optimizer sgd")
    return {"program": "demo", "demo": values, "keep": given.keep, **record}


def demo_options(words: Sequence[str]) -> dict[str, object]:
    """Return the child's options for the words after `demo`. Raises UsageError.

    Example: `demo_options(["--uses", "3"])` is `{"program": "demo", "demo": {"uses": 3}, "keep": 1000000000}`.
    """
    parser = Parser(prog="demo", add_help=False, allow_abbrev=False)
    _add_demo_options(parser)
    return options_of(parser.parse_args(list(words)))


def demo_words(demo: Mapping[str, object]) -> list[str]:
    """Return the words that mean these options: the way back of `demo_options`."""
    words: list[str] = []
    for name, value in demo.items():
        words.append("--" + name.replace("_", "-"))
        if value is not True:
            words.append("random" if value is None else str(value))
    return words


def run_options(words: Sequence[str]) -> dict[str, object]:
    """Return the child's options for the words after `run`. Raises UsageError.

    Example: `run_options(["train.py", "--lr", "1"])` names the script "train.py" and its arguments ["--lr", "1"].
    """
    parser = Parser(prog="run", add_help=False, allow_abbrev=False)
    _add_run_options(parser)
    _add_record(parser)
    ours, theirs = split(words, anywhere=False)
    return program(parser.parse_args(ours), theirs)


def looks_words(given: argparse.Namespace) -> list[str]:
    """The options that say how the screen looks, as words again."""
    return [*(["--theme", given.theme] if given.theme else []), *(["--ascii"] if given.ascii else [])]


def run_words(given: argparse.Namespace) -> list[str]:
    """Return the words after `run` that mean what was given: the way back of `run_options`, with what is done first."""
    words = ["--keep", str(given.keep), *(["--unfuse"] if given.unfuse else [])]
    words += [*looks_words(given), *(["--until", str(given.until)] if given.until else [])]
    many = {"--track": given.track, "-c": given.commands}
    words += [word for name, values in many.items() for value in values for word in (name, str(value))]
    return [*words, *([] if given.module is None else ["-m", given.module]), *given.words]


def open_options(words: Sequence[str]) -> dict[str, object]:
    """Return the child's options for the words after `open`. Raises UsageError."""
    parser = Parser(prog="open", add_help=False, allow_abbrev=False)
    parser.add_argument("file", metavar="FILE")
    return opened(parser.parse_args(list(words)).file)


def opened(path: str) -> dict[str, object]:
    """Return the child's options for a recording that is looked at."""
    return {"program": "open", "path": path}


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--keep", type=_bytes, default=DEFAULT_KEEP, metavar="SIZE", help=f"memory for the history ({DEFAULT_KEEP})"
    )
    _add_program(parser)


def _add_program(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-m", dest="module", metavar="MODULE", help="run a module, as python -m does")
    parser.add_argument(
        "--track", action="append", default=[], metavar="GLOB", help="trace these parameters or modules only"
    )
    help = "compute recurrent layers and attention in parts, so that their uses show (last digits may differ)"
    parser.add_argument("--unfuse", action="store_true", help=help)
    parser.add_argument("words", nargs="*", metavar="SCRIPT [ARGS]", help="the script and its arguments")


def program(given: argparse.Namespace, words: list[str]) -> dict[str, object]:
    """Return the child's options for what was given to `run`, `record` or `report`. Raises UsageError."""
    name, script = getattr(given, "command", "run"), None
    if given.module is None:
        if not words:
            raise UsageError(f"{name}: which script? e.g. {name} train.py --lr 0.1, or {name} -m package.module")
        script = words.pop(0)
        if not os.path.isfile(script):
            what = "is a folder" if os.path.isdir(script) else "no such file"
            raise UsageError(f"{name} {script}: {what}; give a Python script")
    options = {"program": "run", "script": script, "module": given.module, "args": words, "track": given.track}
    options["unfuse"] = given.unfuse
    if "record" in given:
        options |= recorded(given.record)
    return {**options, "keep": given.keep} if isinstance(given.keep, int) else options


def _add_report_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--iterations", type=_whole(1, 10**9), default=3, metavar="N", help="how many to report (3)")
    parser.add_argument("--format", choices=["table", "jsonl", "csv"], default="table")
    parser.add_argument("-o", dest="output", metavar="FILE", help="where the report goes (stderr)")
    parser.add_argument(
        "--fail-on", action="append", default=[], metavar="FINDING", help="exit 1 where there is such a finding, for CI"
    )
    _add_run_options(parser)


_TAKE_ONE = {"--keep", "--record", "--track", "--until", "-c", "--iterations", "--format", "-o", "--fail-on", "--theme"}
_TAKE_ONE |= {"--host", "--port"}


def split(words: Sequence[str], anywhere: bool) -> tuple[list[str], list[str]]:
    """Return our options, and the script with its arguments (after `-m MODULE`: the arguments alone).

    anywhere: our options may stand behind the script too, unless after `--`.
    Example: `split(["train.py", "--lr", "1", "--iterations", "3"], True)` parts "--iterations", "3" from the rest.
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


def _add_shows(demo: argparse.ArgumentParser) -> None:
    """Ways to show the demo."""
    _add_theme(demo)
    demo.add_argument("--tour", action="store_true", help="answer the question on the screen; space pauses")
    demo.add_argument("--html", metavar="FILE", help="write the tour as one HTML page")
    demo.add_argument("--cast", metavar="FILE", help="write the tour as an asciinema recording")
    _add_web(demo)


def _add_web(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--web", action="store_true", help="serve the screen to a browser")
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="with --web: of this machine only, if not told otherwise"
    )
    parser.add_argument("--port", type=_whole(1, 65535), default=8000, help="with --web (8000)", metavar="N")
    parser.add_argument("--served", action="store_true", help=argparse.SUPPRESS)


def build() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = Parser(prog="backpropdbg", description="Step through PyTorch's autograd.", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    demo = commands.add_parser("demo", help="debug the tutorial's DynamicNet", allow_abbrev=False)
    _add_demo_options(demo)
    _add_shows(demo)
    usage = "%(prog)s [options] SCRIPT [ARGS], or %(prog)s [options] -m MODULE [ARGS]"
    run = commands.add_parser("run", help="debug a script of yours, unmodified", allow_abbrev=False, usage=usage)
    run.add_argument("--until", metavar="LOC", help="run there first, e.g. --until 'iteration 7'")
    run.add_argument("-c", dest="commands", action="append", default=[], metavar="COMMAND", help="carry out first")
    run.add_argument("--prompt", action="store_true", help="a plain prompt in place of the screen")
    _add_run_options(run)
    _add_record(run)
    _add_theme(run)
    _add_web(run)
    tells = "run a script of yours, then tell what its gradients did"
    report = commands.add_parser("report", help=tells, allow_abbrev=False, usage=usage)
    _add_report_options(report)
    record = commands.add_parser(
        "record", help="run a script of yours, and keep what happens", allow_abbrev=False, usage=usage
    )
    record.add_argument("-o", dest="output", metavar="FILE", help="the recording (the script's name, with .bptrace)")
    kept = "tensors to keep: all, stats, 'last N' iterations, or a SIZE of the newest (1GiB)"
    record.add_argument("--keep", type=_file_keep, default=DEFAULT_FILE_KEEP, metavar="WHAT", help=kept)
    record.add_argument("--nodes", action="store_true", help="the autograd nodes of each backward, too")
    _add_program(record)
    look = commands.add_parser("open", help="look at a recording", allow_abbrev=False)
    look.add_argument("file", metavar="FILE", help="a .bptrace file")
    look.add_argument("-c", dest="commands", action="append", default=[], metavar="COMMAND", help="carry out first")
    look.add_argument("--prompt", action="store_true", help="a plain prompt in place of the screen")
    _add_theme(look)
    diff = commands.add_parser("diff", help="where two recordings part, and by how much", allow_abbrev=False)
    diff.add_argument("a", metavar="A", help="a .bptrace file")
    diff.add_argument("b", metavar="B", help="another one")
    commands.add_parser("keys", help="print a config file with every key and setting in it", allow_abbrev=False)
    replay = commands.add_parser("replay", help="run a script of commands", allow_abbrev=False)
    replay.add_argument("file", metavar="FILE", help="a .bpdb script")
    replay.add_argument("--format", choices=["text", "jsonl"], default="text", help="what goes to stdout")
    replay.add_argument("--html", metavar="FILE", help="write it as one HTML page, to be stepped through in a browser")
    replay.add_argument("--cast", metavar="FILE", help="write what --play would show as an asciinema recording")
    replay.add_argument("--play", type=_speed, metavar="SPEED", help="play it on the screen, 1 is normal speed")
    _add_theme(replay)
    return parser
