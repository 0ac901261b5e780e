"""The help overlay and the line of keys at the bottom; both name the keys that the user has."""

from collections.abc import Iterable, Mapping
from itertools import groupby
from textwrap import wrap

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from backpropdbg.tui import keys, paint

TABS = ("matrices", "source", "output", "timeline")
BACK = ("step-back next-back continue-back", "back")
ELEMENT = (" ".join(f"element-{way}" for way in keys.ARROWS), "element")
STEPS = (("step", "step"), ("next", "next"), ("finish", "finish"), ("continue", "continue"))
RESTART, GOTO = ("restart", "restart"), ("goto", "goto")
ELSE = (("command", "command"), ("parameter", "focus"), ELEMENT)
# Actions, and the word that stands for them.
LINES = {
    "live": (*STEPS, BACK, ("break", "break"), *ELSE, RESTART),
    "past": (*STEPS, BACK, ("now", "now"), GOTO, *ELSE),
    "over": (BACK, GOTO, RESTART, *ELSE),
    "ended": (RESTART, ("command", "command")),
}
# The widgets' own, which are what they are.
FIXED = {
    "timeline": (("left right", "iteration"), ("home end", "oldest, newest")),
    "parameters": (("up down", "choose"), ("enter", "focus"), ("esc", "back to the keys")),
    "stops": (("up down", "choose"), ("enter", "off or on"), ("delete", "remove"), ("esc", "back to the keys")),
    "optimizer": (("up down", "scroll"), ("esc", "back to the keys")),
    "typing": (("enter", "run"), ("tab", "complete"), ("up", "history"), ("esc", "back to the keys")),
}
LAST = (("help", "help"), ("quit", "quit"))
# What a narrow screen has no room for goes first.
LEAST = ("goto", "restart", "element", "focus", "break", "command")
INDENT, WIDTH, FRAME = 22, 96, 7
NOTES = """\
timeline: v the stop, N now; b breakpoint, ! not finite; gradient - None, ? pending
norm: Euclidean. cos: the angle to the sum, +1 the same way, -1 against it.
orange +, blue -; a positive gradient pulls its element down.
N % cancelled: what the sum has lost of all pulls (or norms) so far, 1 - |sum| / sum of |pulls|
none of the keys while the program runs: then {command} types into its standard input
:restart --to HERE runs again up to this stop; :detach lets the program run on alone
`backpropdbg keys` prints a file in which each of these keys can be changed"""


def shown(actions: str) -> str:
    """Return the first keys of some actions, e.g. "S N C"; the four arrows as "arrows"."""
    found = [keys.shown(name) for name in actions.split() if keys.now()[name]]
    return "arrows" if found == list(keys.ARROWS) else " ".join(found)


def key_line(width: int, kind: str = "live") -> Text:
    """Return the line of keys that fits, for a stop in the present ("live") or another one of those above."""
    if kind in LINES:
        have = [(shown(actions), word) for actions, word in (*LINES[kind], *LAST)]
        entries = [(key, word) for key, word in have if key]
    elif kind == "timeline":
        entries = [*FIXED[kind], (keys.shown("timeline"), "hide"), (keys.shown("leave"), "back to the keys")]
    elif kind == "typing":
        entries = [*FIXED[kind], ("help", "all commands")]
    else:
        entries = [*FIXED[kind], (keys.shown("pane-hide"), "hide")] if kind != "parameters" else [*FIXED[kind]]
    for least in LEAST:
        if sum(len(key) + len(word) + 3 for key, word in entries) < width:
            break
        entries = [entry for entry in entries if entry[1] != least]
    text = Text(" ", no_wrap=True)
    for key, word in entries:
        text.append(key, f"bold {paint.now().accent}")
        text.append(f" {word}  ", paint.now().plain)
    return text


def tab_line(number: int) -> Text:
    """Return the line that names the tabs of a small screen, with the open one marked."""
    text, colours = Text(" ", no_wrap=True), paint.now()
    for n, word in enumerate(TABS, 1):
        style = f"bold {colours.on_accent} on {colours.accent}" if n == number else colours.dim
        label = f"{keys.shown(f'tab-{n}')} {word}"
        text.append(f"[{label}]" if n == number else f" {label} ", style)
        text.append(" ")
    return text


def pressed(entries: Iterable[keys.Key]) -> str:
    """Return the keys of some actions, e.g. "S  N  C", "? or f1" or "shift+arrows"."""
    found = [" or ".join(map(keys.display, keys.now()[entry.name])) for entry in entries]
    text = "  ".join(filter(None, found)) or "(no key)"
    for before in ("", "shift+"):
        text = text.replace("  ".join(before + way for way in keys.ARROWS), f"{before}arrows")
    return text


def help_text(commands: Mapping[str, str], width: int) -> Text:
    """Return a line for each thing that keys do, what else there is to know, and the commands with theirs."""
    text, colours = Text(), paint.now()

    def line(first: str, rest: str, indent: int) -> None:
        wrapped = wrap(rest, max(20, width - indent)) or [""]
        gap = "\n" + " " * indent
        text.append(f"  {first:<{indent - 2}}", f"bold {colours.accent}")
        text.append(f"{gap.join(wrapped)}\n", colours.plain)

    for title, entries in keys.GROUPS.items():
        text.append(f"{title}\n", f"bold {colours.strong}")
        for told, alike in groupby(entries, lambda entry: entry.help):
            line(pressed(alike), told, INDENT)
    text.append(NOTES.format(command=keys.shown("command")), colours.dim)
    text.append("\ncommands\n" if commands else "", f"bold {colours.strong}")
    for told in commands.values():
        usage, _, rest = told.partition(": ")
        line(usage if len(usage) < INDENT - 2 else f"{usage}  ", rest, INDENT)
    return text


class Help(ModalScreen[None]):
    """All keys and commands; any key closes it."""

    def __init__(self, commands: Mapping[str, str]) -> None:
        super().__init__()
        self.commands = commands

    def compose(self) -> ComposeResult:
        """Lay out the box."""
        with VerticalScroll(id="help") as box:
            yield Static(help_text(self.commands, min(WIDTH, self.app.size.width) - FRAME))
        box.border_title = "keys"
        box.border_subtitle = "any other key closes this, down scrolls"

    def on_key(self, event: events.Key) -> None:
        """Close, or scroll."""
        event.stop()
        if event.key in ("down", "up", "pagedown", "pageup"):
            self.query_one(VerticalScroll).scroll_relative(y=-4 if "up" in event.key else 4, animate=False)
        else:
            self.dismiss()

    def on_click(self) -> None:
        """Close."""
        self.dismiss()
