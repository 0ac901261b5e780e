"""The command table: one for the prompt, scripts, the TUI's command line and DAP `evaluate`.

A command is a function whose docstring is its help. It gets the debugger and its argument text, and returns what to
print; a command marked `moves` lets the program run on.
"""

import inspect
import linecache
from collections.abc import Callable

from msgspec import Struct

from backpropdbg.debugger import arguments
from backpropdbg.debugger.core import Breakpoint, Debugger
from backpropdbg.debugger.explain import why as explain_why
from backpropdbg.debugger.locations import parse_location, suggest
from backpropdbg.errors import CommandError
from backpropdbg.events import StepFinished
from backpropdbg.situation import element_name

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


def command(check: Check, *aliases: str, moves: bool = False) -> Callable[[Action], Action]:
    """Enter a function in the table under its own name (without a trailing underscore) and its aliases."""

    def enter(action: Action) -> Action:
        row = Command(action.__name__.rstrip("_"), action, check, aliases, moves)
        for name in (row.name, *aliases):
            TABLE[name] = row
        return action

    return enter


def without_comment(line: str) -> str:
    """Return a line up to a `#` that begins a word outside of quotes (but for `#2`, which is half a target).

    Example: `until backward a#2  # the second` is cut before "# the second", and `say "a # b"` stays whole.
    """
    quote = ""
    for at, sign in enumerate(line):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        elif sign == "#" and (not line[:at].strip() or (line[at - 1].isspace() and not line[at + 1 :][:1].isdigit())):
            return line[:at].strip()
    return line.strip()


def _find(line: str) -> tuple[Command, str]:
    words = without_comment(line).split(None, 1)
    name = words[0] if words else ""
    row = TABLE.get(name)
    if row is None:
        raise CommandError(f"unknown command {name!r}{suggest(name, TABLE)}")
    return row, words[1].strip() if len(words) > 1 else ""


def check(line: str) -> None:
    """Raise CommandError where a line can't be a command. Empty lines and comments are fine."""
    if not without_comment(line):
        return
    row, text = _find(line)
    try:
        row.check(text)
    except CommandError as e:
        raise CommandError(f"{row.name}: {e}") from None


def run(debugger: Debugger, line: str) -> tuple[str, bool]:
    """Carry out one line; return what to print and whether the program runs on. Raises CommandError."""
    check(line)
    if not without_comment(line):
        return "", False
    row, text = _find(line)
    return row.action(debugger, text), row.moves


# -- move ----------------------------------------------------------------------------------------


@command(arguments.nothing, "s", moves=True)
def step(d: Debugger, text: str) -> str:
    """step (s): run to the next event of any parameter or of the loop."""
    d.run_until(lambda event: True)
    return ""


@command(arguments.nothing, "n", moves=True)
def next_(d: Debugger, text: str) -> str:
    """next (n): run to the next turning point of the focused parameter."""
    d.run_until(d.is_turning_point)
    return ""


@command(arguments.nothing, "r", "f", moves=True)
def finish(d: Debugger, text: str) -> str:
    """finish (r, f): run to the end of the phase."""
    d.run_until(d.ends_phase)
    return ""


@command(arguments.location, moves=True)
def until(d: Debugger, text: str) -> str:
    """until LOC: run there. LOC: [forward|backward|accumulate|update] [TARGET[#N]], iteration N, or nan.
    `update` is just after optimizer.step(); `n` also stops before it.
    """
    location = parse_location(text)
    d.check_target(location)
    now = d.stop.event.iteration
    if location.iteration and location.iteration <= now:
        raise CommandError(f"iteration {location.iteration} is not ahead: this is iteration {now}")
    d.run_until(lambda event: location.matches(event, d.focus), f"until {text}")
    return ""


@command(arguments.nothing, "c", "cont", moves=True)
def continue_(d: Debugger, text: str) -> str:
    """continue (c): run to the next breakpoint or to the end."""
    d.run_until(lambda event: False)
    return ""


# -- stop ----------------------------------------------------------------------------------------


def _add(d: Debugger, text: str, temporary: bool) -> str:
    where, condition = arguments.split_if(text)
    made = d.add_breakpoint(parse_location(where), condition or "", temporary)
    return _breakpoint_line(made)


def _breakpoint_line(b: Breakpoint) -> str:
    kind = "temporary breakpoint" if b.temporary else "breakpoint"
    parts = [f"{kind} {b.number}: {b.location.text}"]
    parts += [f"if {b.condition}"] if b.condition else []
    parts += ["(disabled)"] if not b.enabled else []
    parts += [f"hit {b.hits} times"] if b.hits else []
    return " ".join(parts)


def _breakpoint(d: Debugger, number: str) -> Breakpoint:
    for b in d.breakpoints:
        if b.number == int(number):
            return b
    there = ", ".join(str(b.number) for b in d.breakpoints) or "none"
    raise CommandError(f"no breakpoint {number}; there are: {there}")


@command(arguments.place_and_condition, "b")
def break_(d: Debugger, text: str) -> str:
    """break (b) LOC [if EXPR]: stop there, each time."""
    return _add(d, text, False)


@command(arguments.place_and_condition)
def tbreak(d: Debugger, text: str) -> str:
    """tbreak LOC [if EXPR]: stop there once."""
    return _add(d, text, True)


@command(arguments.number_and_condition)
def condition(d: Debugger, text: str) -> str:
    """condition N [EXPR]: stop at breakpoint N only if EXPR; without EXPR always."""
    number, _, expression = text.partition(" ")
    found = _breakpoint(d, number)
    found.condition = expression.strip()
    return _breakpoint_line(found)


@command(arguments.number_and_count)
def ignore(d: Debugger, text: str) -> str:
    """ignore N COUNT: pass breakpoint N COUNT times before it stops again."""
    number, count = text.split()
    found = _breakpoint(d, number)
    found.ignore = found.hits + int(count)
    return f"breakpoint {number} will be passed {count} times"


@command(arguments.number)
def enable(d: Debugger, text: str) -> str:
    """enable N: let breakpoint N stop again."""
    _breakpoint(d, text).enabled = True
    return _breakpoint_line(_breakpoint(d, text))


@command(arguments.number)
def disable(d: Debugger, text: str) -> str:
    """disable N: keep breakpoint N, but do not stop at it."""
    _breakpoint(d, text).enabled = False
    return _breakpoint_line(_breakpoint(d, text))


@command(arguments.anything)
def clear(d: Debugger, text: str) -> str:
    """clear [N]: delete breakpoint N, or all."""
    if not text:
        count = len(d.breakpoints)
        d.breakpoints.clear()
        return f"{count} breakpoints deleted"
    arguments.number(text)
    d.breakpoints.remove(_breakpoint(d, text))
    return f"breakpoint {text} deleted"


# -- look ----------------------------------------------------------------------------------------


@command(arguments.expression, "p")
def print_(d: Debugger, text: str) -> str:
    """print (p) EXPR: the value of an expression, e.g. partial.norm() or A2 + A3.
    Names: partial running carried grad weight before after A1 A2 …, use uses iteration loss phase event, model
    optimizer torch math, and those of the program's own frame (also in `locals`).
    """
    return d.program.show(d.evaluate(text))


@command(arguments.expression)
def whatis(d: Debugger, text: str) -> str:
    """whatis EXPR: its type, and shape and dtype of a tensor."""
    value = d.evaluate(text)
    shape = getattr(value, "shape", None)
    kind = type(value).__name__
    return kind if shape is None else f"{kind} {list(shape)} {getattr(value, 'dtype', '')}"


@command(arguments.expression)
def expect(d: Debugger, text: str) -> str:
    """expect EXPR: fail unless EXPR is true; of a comparison it shows both sides."""
    if d.program.truth(d.evaluate(text), text):
        return ""
    raise CommandError(f"expected {text}{_sides(d, text)}")


def _sides(d: Debugger, text: str) -> str:
    import ast

    tree = ast.parse(text, mode="eval").body
    if not isinstance(tree, ast.Compare) or len(tree.ops) != 1:
        return f": it is {_line(d, text)}"
    sides = [ast.unparse(side) for side in (tree.left, tree.comparators[0])]
    return ": " + ", ".join(f"{s} is {_line(d, s)}" for s in sides if not _is_literal(s))


def _line(d: Debugger, text: str) -> str:
    """The value of an expression on one line."""
    return " ".join(d.program.show(d.evaluate(text)).split())


def _is_literal(text: str) -> bool:
    import ast

    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return False
    return True


@command(arguments.anything)
def info(d: Debugger, text: str) -> str:
    """info [uses|ledger|weights|grad|optimizer|breaks|params]: what there is to know."""
    from backpropdbg.debugger import tables

    subjects: dict[str, Callable[[Debugger], str]] = {
        "": tables.overview,
        "uses": tables.uses,
        "ledger": tables.ledger,
        "weights": lambda d: d.program.show(d.evaluate("weight")),
        "grad": lambda d: d.program.show(d.evaluate("grad")),
        "optimizer": lambda d: d.program.optimizer() or "no optimizer has been used yet",
        "breaks": lambda d: "\n".join(map(_breakpoint_line, d.breakpoints)) or "no breakpoints",
        "params": tables.parameters,
    }
    if text not in subjects:
        raise CommandError(f"info {text}: no such subject; there are: {', '.join(filter(None, subjects))}")
    return subjects[text](d)


@command(arguments.nothing)
def ledger(d: Debugger, text: str) -> str:
    """ledger: the sum of the focused parameter, term by term."""
    from backpropdbg.debugger import tables

    return tables.ledger(d)


@command(arguments.nothing)
def graph(d: Debugger, text: str) -> str:
    """graph: the unrolled calls of this iteration, level by level."""
    from backpropdbg.debugger import tables

    return tables.graph(d)


@command(arguments.indices)
def element(d: Debugger, text: str) -> str:
    """element I,J: select the element whose story the ledger tells; without an index, say which it is."""
    weight = d.stop.weight
    shape = weight.shape if weight is not None else ()
    if text:
        index = tuple(int(part) for part in text.split(","))
        if len(index) != len(shape) or any(i >= n for i, n in zip(index, shape, strict=True)):
            raise CommandError(f"element {text}: {d.focus} has shape {list(shape)}; indices start at 0")
        d.element = index
        d.refresh()
    return f"element [{','.join(map(str, d.stop.element))}] of {d.focus} {list(shape)}"


@command(arguments.something)
def focus(d: Debugger, text: str) -> str:
    """focus PARAM: the parameter that the ledger and `next` are about."""
    names = d.program.parameters()
    if text not in names:
        raise CommandError(f"no parameter {text!r}{suggest(text, names)}")
    d.focus, d.element = text, None
    d.refresh()
    return f"focus: {text}"


@command(arguments.anything)
def why(d: Debugger, text: str) -> str:
    """why [PARAM]: the last update in plain words, with its terms."""
    from backpropdbg.debugger import tables
    from backpropdbg.debugger.stop import Stop

    names = d.program.parameters()
    if text and text not in names:
        raise CommandError(f"no parameter {text!r}{suggest(text, names)}")
    name, now = text or d.focus, d.stop.position
    last = next((at for at in range(now, d.trace.first - 1, -1) if isinstance(d.trace[at], StepFinished)), now)
    stop = Stop(d.trace, last, name, ())
    whole = stop.weight is not None and len(d.stop.element) == len(stop.weight.shape) and not text
    stop.element = d.stop.element if whole else tuple(0 for _ in stop.weight.shape) if stop.weight is not None else ()
    rows = stop.update_rows() if stop.stepped is not None else ()
    at = element_name(name, stop.element)
    when = [f"iteration {stop.event.iteration}:"] if stop.event.iteration != d.stop.event.iteration else []
    return "\n".join([*when, *explain_why(stop), *([tables.table(rows, at)] if rows else [])])


@command(arguments.nothing, "l")
def list_(d: Debugger, text: str) -> str:
    """list (l): the source around this stop."""
    where = d.stop.location()
    lines = linecache.getlines(where.path) if where is not None else []
    if where is None or not lines:
        return "no source line is known for this stop"
    first, last = max(1, where.line - 5), min(len(lines), where.line + 5)
    return "\n".join(
        f"{'>' if n == where.line else ' '}{n:4}  {lines[n - 1].rstrip()}".rstrip() for n in range(first, last + 1)
    )


@command(arguments.nothing, "w", "bt")
def where(d: Debugger, text: str) -> str:
    """where (w): the user's frames, innermost last."""
    frames = d.program.stack()
    return "\n".join(
        f"{f.f_code.co_filename.rpartition('/')[2]}:{f.f_lineno} {f.f_code.co_name}" for f in reversed(frames)
    )


@command(arguments.anything, "h")
def help_(d: Debugger, text: str) -> str:
    """help (h) [COMMAND]: what a command does."""
    if text:
        if text not in TABLE:
            raise CommandError(f"unknown command {text!r}{suggest(text, TABLE)}")
        return inspect.cleandoc(TABLE[text].action.__doc__ or "")
    return "\n".join(dict.fromkeys(row.help for row in TABLE.values()))


# -- what a face does ----------------------------------------------------------------------------


def _for_the_face(d: Debugger, text: str) -> str:
    return ""


def _face(name: str, help_text: str, check_: Check, *aliases: str) -> None:
    def action(d: Debugger, text: str) -> str:
        return _for_the_face(d, text)

    action.__doc__ = help_text
    row = Command(name, action, check_, aliases)
    for key in (name, *aliases):
        TABLE[key] = row


_face("say", 'say "TEXT": a caption, in scripts.', arguments.quoted)
_face("sleep", "sleep S: wait S seconds, in scripts.", arguments.seconds)
_face("screenshot", "screenshot FILE: save the screen as SVG.", arguments.something)
_face("source", "source FILE: run the commands of another script.", arguments.something)
_face("restart", "restart: run the program again with the same arguments, seed and breakpoints.", arguments.nothing)
_face("quit", "quit (q) [CODE]: end the program and the debugger.", arguments.exit_code, "q")
