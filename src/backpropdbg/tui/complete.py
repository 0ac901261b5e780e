"""What may stand next on the command line: commands, places, parameters and the names of expressions."""

import re
from collections.abc import Sequence

from backpropdbg.palette import PALETTES
from backpropdbg.situation import Situation
from backpropdbg.tui.tiling import EXTRA, PANES

# The debugger's command table is beside the program; a test compares.
COMMANDS = (
    "ascii", "axes", "break", "clear", "commands", "condition", "continue", "detach", "disable", "display", "down",
    "element", "enable", "end", "expect", "finish", "focus", "goto", "graph", "help", "histogram", "ignore", "info",
    "layout", "ledger", "list", "mute", "next", "print", "quit", "rc", "recheck", "restart", "rn", "rs", "say",
    "screenshot", "set", "sleep", "source", "step", "story", "tbreak", "theme", "timeline", "track", "undisplay",
    "unmute", "until", "up", "watch", "whatis", "where", "why",
)  # fmt: skip
PLACES = ("forward", "backward", "accumulate", "update", "iteration", "nan")
NAMES = (
    "partial", "running", "carried", "grad", "weight", "before", "after", "use", "uses", "iteration", "phase", "event",
    "loss", "model", "optimizer", "torch", "math",
)  # fmt: skip
WAYS = ("up", "down", "left", "right")
SUBJECTS = ("uses", "ledger", "weights", "grad", "optimizer", "breaks", "params")
FIXED = {
    "ascii": ("on", "off"),
    "axes": ("flat",),
    "goto": ("now", "iteration"),
    "graph": ("modules", "nodes"),
    "histogram": ("partial", "running", "grad", "weight", "before", "delta", "after"),
    "info": SUBJECTS,
    "layout": ("reset", "zoom", "hide", "show", "move"),
    "restart": ("--to HERE",),
    "set": ("partial =",),
    "story": ("element", "row", "parameter"),
    "theme": tuple(PALETTES),
}


def parameters(situation: Situation) -> list[str]:
    """Return the names of the parameters."""
    return list(situation.parameters)


def targets(situation: Situation) -> list[str]:
    """Return what a place may be about: calls such as "lin#2", modules, parameters."""
    labels = [label for node in situation.graph if "#" in node.label for label in node.label.split()]
    modules = [name.rpartition(".")[0] for name in situation.parameters]
    return [name for name in dict.fromkeys([*modules, *situation.parameters, *labels]) if name]


def names(situation: Situation) -> list[str]:
    """Return the names that an expression may use here, with the partials that arrived."""
    return [*NAMES, *(node.partial for node in situation.graph if node.partial and node.partial_state == "value")]


def candidates(line: str, situation: Situation | None) -> list[str]:
    """Return all words that may stand where the last word of `line` stands; the word itself is not looked at."""
    command, *words = line.split(" ")
    if not words:
        return list(COMMANDS)
    if command == "help":
        return list(COMMANDS)
    if command == "layout" and len(words) > 1:
        return [*PANES, *EXTRA] if len(words) == 2 else list(WAYS)
    if command in FIXED:
        return list(FIXED[command]) if len(words) == 1 else names(situation) if command == "set" and situation else []
    if situation is None:
        return []
    if command in ("focus", "why"):
        return parameters(situation)
    if command in ("mute", "unmute", "track"):
        return targets(situation)
    if command in ("break", "b", "tbreak", "until") and "if" not in words[:-1]:
        return [*(PLACES if len(words) == 1 else ("if",)), *targets(situation)]
    return names(situation)


def shared_beginning(words: Sequence[str]) -> str:
    """Return what all words begin with; of sorted words the first and the last tell."""
    first, last = min(words), max(words)
    return first[: next((n for n, letter in enumerate(first) if last[n : n + 1] != letter), len(first))]


def complete(line: str, situation: Situation | None) -> tuple[str, list[str]]:
    """Return `line` with as much more as is certain, and the words that it may go on with where there are several.

    Example: "foc" becomes "focus ", with no others; "re" stays "re", with "recheck" and "restart".
    """
    word = re.split(r"[ (]", line)[-1]
    found = sorted({name for name in candidates(line, situation) if name.startswith(word)})
    if not found:
        return line, []
    grown = line[: len(line) - len(word)] + shared_beginning(found)
    return (f"{grown} ", []) if len(found) == 1 else (grown, found)
