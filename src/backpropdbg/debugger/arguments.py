"""What the arguments of commands may be: each function raises CommandError for a text that can't be right.

They look at the text alone, so a script is checked whole before anything runs.
"""

import shlex

from backpropdbg.debugger.locations import parse_location
from backpropdbg.errors import CommandError
from backpropdbg.palette import PALETTES


def nothing(text: str) -> None:
    """No argument."""
    if text:
        raise CommandError(f"takes no argument, got {text!r}")


def anything(text: str) -> None:
    """Any argument, or none."""


def something(text: str) -> None:
    """Any argument, but one."""
    if not text:
        raise CommandError("needs an argument")


def number(text: str) -> None:
    """The number of a breakpoint."""
    if not text.isdecimal():
        raise CommandError(f"{text!r} is no breakpoint number; info breaks lists them")


def _is_count(word: str) -> bool:
    """True for a whole number that counts events or iterations."""
    return word.isdecimal() and len(word) < 13


def position(text: str) -> None:
    """A position in the history: of an event, an iteration, or now."""
    words = text.split()
    if words == ["now"] or (len(words) == 1 and _is_count(words[0])):
        return
    numbers = [words[n] for n in (1, 3) if n < len(words)]
    counts = bool(numbers) and all(_is_count(number) and int(number) > 0 for number in numbers)
    if words[:1] == ["iteration"] and len(words) < 5 and counts:
        return
    raise CommandError(f"{text!r} is no place to go to; e.g. goto 120 (an event), goto iteration 7, or goto now")


def use(text: str) -> None:
    """TARGET[#N], or nothing."""
    if text:
        found = parse_location(f"backward {text}")
        if not found.target:
            raise CommandError(f"{text!r} is no TARGET[#N]; e.g. middle_linear#2")


def restart(text: str) -> None:
    """Where to run to."""
    if text not in ("", "--to HERE"):
        raise CommandError(f"{text!r}: takes nothing, or --to HERE")


def axes(text: str) -> None:
    """I,J [at K,...], flat, or nothing."""
    wanted, found, at = text.partition(" at ")
    numbers = [part.strip() for part in wanted.split(",")]
    others = [part.strip() for part in at.split(",")] if found else []
    two = len(numbers) == 2 and len(set(numbers)) == 2 and all(map(_is_count, [*numbers, *others]))
    if not two and text not in ("", "flat"):
        raise CommandError(f"{text!r} are no two axes; e.g. axes 0,2 at 3, or axes flat")


def graph(text: str) -> None:
    """Which view of the graph, or nothing."""
    view, _, number = text.partition(" ")
    first = number.strip()
    if view not in ("", "modules", "nodes") or (first and not (view == "nodes" and _is_count(first) and int(first))):
        raise CommandError(f"{text!r} is no view of the graph; there are: graph modules, graph nodes, graph nodes 120")


def scope(text: str) -> None:
    """What a story is about, or nothing."""
    if text not in ("", "element", "row", "parameter"):
        raise CommandError(f"{text!r} is no subject of a story; there are: element, row, parameter")


def span(text: str) -> None:
    """Two iterations, one, or none."""
    words = text.split()
    if len(words) > 2 or not all(map(_is_count, words)):
        raise CommandError(f"{text!r} is no span of iterations; e.g. timeline 10 20")
    if len(words) == 2 and int(words[0]) > int(words[1]):
        raise CommandError(f"{text!r}: the first iteration is after the last; e.g. timeline {words[1]} {words[0]}")


def exit_code(text: str) -> None:
    """An exit code, or none."""
    if text and not (text.isdecimal() and len(text) < 4 and int(text) < 256):
        raise CommandError(f"{text!r} is no exit code; give a whole number from 0 to 255")


def seconds(text: str) -> None:
    """A number of seconds."""
    try:
        valid = 0 <= float(text) < float("inf")
    except ValueError:
        valid = False
    if not valid:
        raise CommandError(f"{text!r} is no number of seconds; e.g. 0.5")


def layout(text: str) -> None:
    """What to do with the panes of the screen, or nothing."""
    words = text.split()
    known = words[:1] in (["zoom"], ["hide"], ["show"], ["move"]) and len(words) == 2 + (words[0] == "move")
    if words and words != ["reset"] and not known:
        raise CommandError(f"{text!r}: takes reset, or zoom, hide or show and a pane, or move, a pane and a way")


def theme(text: str) -> None:
    """A theme of the screen, or none."""
    if text and text not in PALETTES:
        raise CommandError(f"{text!r} is no theme; it is one of {', '.join(PALETTES)}")


def switch(text: str) -> None:
    """On, off, or the other one."""
    if text not in ("", "on", "off"):
        raise CommandError(f"{text!r} is neither on nor off")


def quoted(text: str) -> None:
    """One text in quotes."""
    try:
        words = shlex.split(text)
    except ValueError as e:
        raise CommandError(f"{text}: {e}") from None
    if len(words) != 1:
        raise CommandError('takes one text in quotes, e.g. say "each use adds its own term"')


def expression(text: str) -> None:
    """A Python expression."""
    if not text:
        raise CommandError("needs an expression, e.g. partial.norm()")
    try:
        compile(text, "<expression>", "eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as e:
        reason = e.msg if isinstance(e, SyntaxError) else str(e)
        raise CommandError(f"{text!r} is no expression: {reason}") from None


def expression_or_nothing(text: str) -> None:
    """A Python expression, or nothing."""
    if text:
        expression(text)


def display_number(text: str) -> None:
    """The number of an expression that is displayed."""
    if not text.isdecimal():
        raise CommandError(f"{text!r} is no number of a display; display lists them")


def set_partial(text: str) -> None:
    """partial = EXPR."""
    name, found, value = text.partition("=")
    if name.strip() != "partial" or not found or value.startswith("="):
        raise CommandError(f"{text!r}: only the partial can be set, e.g. set partial = partial * 0.5")
    expression(value.strip())


def location(text: str) -> None:
    """A LOC."""
    parse_location(text)


def place_and_condition(text: str) -> None:
    """LOC [if EXPR]."""
    where, condition = split_if(text)
    parse_location(where)
    if condition is not None:
        expression(condition)


def split_if(text: str) -> tuple[str, str | None]:
    """Return the LOC and the EXPR of `LOC [if EXPR]`; None where there is no "if"."""
    where, found, condition = f" {text} ".partition(" if ")
    return where.strip(), condition.strip() if found else None


def number_and_condition(text: str) -> None:
    """N [EXPR]."""
    which, _, condition = text.partition(" ")
    number(which)
    if condition.strip():
        expression(condition.strip())


def number_and_count(text: str) -> None:
    """N COUNT."""
    words = text.split()
    if len(words) != 2 or not all(w.isdecimal() for w in words):
        raise CommandError(f"{text!r}: ignore takes a breakpoint number and a count, e.g. ignore 1 5")


def indices(text: str) -> None:
    """I,J: one whole number per dimension, or none."""
    for part in text.split(",") if text else []:
        if not part.strip().isdecimal():
            raise CommandError(f"{text!r} is no index; give one whole number per dimension, e.g. element 3,0")
