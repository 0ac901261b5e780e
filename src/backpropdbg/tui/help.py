"""The help overlay and the line of keys at the bottom; both name the keys that the user has."""

from itertools import groupby

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
    "typing": (("enter", "run"), ("tab", "complete"), ("up", "history"), ("esc", "back to the keys")),
}
LAST = (("help", "help"), ("quit", "quit"))
# What a narrow screen has no room for goes first.
LEAST = ("goto", "restart", "element", "focus", "break", "command")
NOTES = """\
timeline: v the stop, N now; b breakpoint, ! not finite; gradient - None, ? pending
norm: Euclidean. cos: the angle to the sum, +1 the same way, -1 against it.
orange +, blue -; a positive gradient pulls its element down.
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
    else:
        entries = [*FIXED[kind], ("help", "all commands")]
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


def help_text() -> Text:
    """Return a line for each thing that keys do, and what else there is to know."""
    text, colours = Text(), paint.now()
    for title, entries in keys.GROUPS.items():
        text.append(f"{title}\n", f"bold {colours.strong}")
        for line, alike in groupby(entries, lambda entry: entry.help):
            found = [" or ".join(map(keys.display, keys.now()[entry.name])) for entry in alike]
            pressed = "  ".join(filter(None, found)) or "(no key)"
            text.append(f"  {pressed:<20}", f"bold {colours.accent}").append(f" {line}\n", colours.plain)
    return text.append(NOTES.format(command=keys.shown("command")), colours.dim)


class Help(ModalScreen[None]):
    """All keys; any key closes it."""

    def compose(self) -> ComposeResult:
        """Lay out the box."""
        with VerticalScroll(id="help") as box:
            yield Static(help_text())
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
