"""Which key does what, if the config file does not say otherwise; the actions are methods of the app.

The keys are those of pdb and pudb where these have one. `[keys]` of the config file gives an action, by its name here,
other keys in place of these.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from textual.binding import Binding
from textual.keys import REPLACED_KEYS, key_to_character

# Always, so that nobody is locked in.
LEAVE = "ctrl+q"
SHORT = {"escape": "esc", "pageup": "page up", "pagedown": "page down"}
ARROWS = ("up", "down", "left", "right")


class Key(NamedTuple):
    """One action: its name in the config file, its keys, the app's method, and its line in the help.

    first: before any widget has the key, so that e.g. the command line has the keyboard before the next key of a burst.
    """

    name: str
    keys: tuple[str, ...]
    action: str
    help: str
    first: bool = False


BACK = "the same backwards, through what was recorded"
NEIGHBOUR = "the neighbouring element (or a click on it)"
SEARCH = "the largest |element|, smallest, first non-finite one of the first matrix"
TAB = "matrices, source, output, timeline, where there is no room for all"
SLICE = "the index of the first, or of the last axis that does not show"
SLICES = (("down", "comma", 0, -1), ("up", "full_stop", 0, 1), ("last-down", "{", -1, -1), ("last-up", "}", -1, 1))
SCROLL = "scroll results, else the chosen list of nodes, else the ledger, else the output"
PANE = "the pane that the next keys are about (or click it)"
MOVE = "move that pane (or drag its title onto another one)"
SIZE = "make that pane taller, shorter, wider, narrower (or drag its frame)"
PIN = "parameters, stops, optimizer: from over the screen to a pane, and back"
GROUPS = {
    "move": (
        Key("step", ("s",), "move('step')", "step: the next event of any parameter or of the loop"),
        Key("next", ("n",), "move('next')", "next turning point of the parameter: its uses, the sum, the update"),
        Key("finish", ("f",), "move('finish')", "to the end of the phase"),
        Key("continue", ("c",), "move('continue')", "to the next breakpoint"),
        Key("step-back", ("S",), "move('rs')", BACK),
        Key("next-back", ("N",), "move('rn')", BACK),
        Key("continue-back", ("C",), "move('rc')", BACK),
        Key("goto", ("g",), "type('goto ')", "go to an event or an iteration", True),
        Key("now", ("G",), "move('goto now')", "back to now"),
        Key("interrupt", ("i", "ctrl+c"), "interrupt", "interrupt a running program", True),
        Key("restart", ("R",), "restart", "again: same seed; breakpoints, focus and element kept"),
        Key("pause", ("space",), "pause", "pause a playing script, or go on with it; a step key takes over"),
    ),
    "say": (
        Key("command", (":",), "type('')", "the command line (tab completes, up: history)", True),
        Key("break", ("b",), "type('break ')", "a breakpoint: break ...", True),
        Key("leave", ("escape",), "leave", "leave the command line, or close results"),
    ),
    "look": (
        Key("parameter", ("tab",), "parameter(False)", "the next parameter of the same module", True),
        Key("any-parameter", ("shift+tab",), "parameter(True)", "the next parameter of all", True),
        Key("parameters", ("p",), "open('parameters')", "all parameters: type to filter, enter focuses"),
        Key(
            "stops",
            ("B",),
            "open('stops')",
            "breakpoints, watchpoints and displays: enter (or a click) turns one off or on",
        ),
        Key(
            "optimizer", ("o",), "open('optimizer')", "the optimizer's settings, state and last update of the parameter"
        ),
        *(Key(f"element-{way}", (way,), f"arrow({way!r})", NEIGHBOUR) for way in ARROWS),
        Key("story", ("enter",), "story", "what each use adds to the element, as bars that add up; or norms"),
        Key("scope", ("e",), "scope", "the same of the element, of its row, of the whole parameter"),
        Key("largest", (">",), "search('largest')", SEARCH),
        Key("smallest", ("<",), "search('smallest')", SEARCH),
        Key("not-finite", ("!",), "search('first non-finite')", SEARCH),
        Key("histogram", ("d",), "histogram", "how the values of the first matrix are spread"),
        Key("axes", ("x",), "axes", "the next two axes of a tensor with more than two, then all of it"),
        *(Key(f"slice-{way}", (key,), f"slice({axis}, {step})", SLICE) for way, key, axis, step in SLICES),
        Key("zoom", ("z",), "zoom", "true cells of a large tensor around the element, or all of it"),
        Key("more", ("m",), "more", "the next matrices"),
        Key("graph", ("v",), "graph", "the graph's other view: autograd nodes in the order of backward, or modules"),
        Key("timeline", ("t",), "timeline", "the timeline: left, right, home, end, clicks choose an iteration", True),
        *(Key(f"tab-{n}", (str(n),), f"tab({n})", TAB) for n in (1, 2, 3, 4)),
        Key("page-up", ("pageup",), "page(-1)", SCROLL),
        Key("page-down", ("pagedown",), "page(1)", SCROLL),
    ),
    "panes": (
        Key("pane-next", ("w",), "pane(1)", PANE),
        Key("pane-previous", ("W",), "pane(-1)", PANE),
        Key("pane-zoom", ("Z",), "pane_zoom", "that pane on the whole screen, and back (or click a title twice)"),
        Key("pane-hide", ("h",), "pane_hide", "hide that pane"),
        Key("pane-show", ("H",), "pane_show", "show all panes"),
        *(Key(f"pane-{way}", (f"shift+{way}",), f"pane_move({way!r})", MOVE) for way in ARROWS),
        Key("pane-taller", ("+",), "pane_heighten(1)", SIZE),
        Key("pane-shorter", ("-",), "pane_heighten(-1)", SIZE),
        Key("pane-wider", ("]",), "pane_widen(1)", SIZE),
        Key("pane-narrower", ("[",), "pane_widen(-1)", SIZE),
        Key("pin", ("f2",), "pin", PIN),
        Key("layout-reset", ("0",), "layout_reset", "the panes as they are at first"),
    ),
    "screen": (
        Key("theme", ("T",), "theme", "the next theme: dark, light, high contrast"),
        Key(
            "ascii", (), "ascii", "ASCII signs only, for terminals that draw others two cells wide; or all signs again"
        ),
        Key("copy", ("y",), "copy", "copy the ledger, tab-separated"),
        Key("picture", ("ctrl+s",), "picture", "save the screen as backpropdbg.svg", True),
        Key("palette", ("ctrl+p",), "command_palette", "find a key, a command, a parameter or a use by name", True),
        Key("help", ("?", "f1"), "help", "these keys"),
        Key("quit", ("q",), "quit", "end the program and the debugger"),
    ),
}
KEYS = {key.name: key for group in GROUPS.values() for key in group}
DEFAULT = {name: key.keys for name, key in KEYS.items()}
# These step back where a text is typed, so they may have a key that is a letter, and come first all the same.
_SHY = ("type", "parameter", "timeline")

_now: Mapping[str, Sequence[str]] = DEFAULT


def use(chosen: Mapping[str, Sequence[str]]) -> None:
    """Have these keys from now on; what is not among them keeps its own."""
    global _now
    _now = {**DEFAULT, **chosen}


def now() -> Mapping[str, Sequence[str]]:
    """Return the keys of each action."""
    return _now


def character(key: str) -> str | None:
    """Return the character that a key types, None for a key such as f1 or tab."""
    typed = key if len(key) == 1 else key_to_character(REPLACED_KEYS.get(key, key))
    return typed if typed and typed.isprintable() else None


def display(key: str) -> str:
    """Return a key as people write it, e.g. "?" for "question_mark"."""
    return key if key == "space" else SHORT.get(key) or character(key) or key


def shown(name: str) -> str:
    """Return the first key of an action as people write it; what has none can be found in the command palette."""
    return display(_now[name][0]) if _now[name] else f"({name})"


def bindings() -> list[Binding]:
    """Return all of them for textual."""
    found = [Binding(LEAVE, "quit", show=False, priority=True)]
    for name, entry in KEYS.items():
        shy = entry.action.partition("(")[0] in _SHY
        for key in _now[name]:
            first = entry.first and (shy or character(key) is None)
            found.append(Binding(key, entry.action, show=False, priority=first))
    return found
