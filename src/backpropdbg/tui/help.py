"""The help overlay and the footer line of keys."""

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from backpropdbg.tui import paint

TABS = ("matrices", "source", "output", "timeline")
KEYS = {
    "live": "s=step n=next f=finish c=continue S/N/C=back b=break :=command tab=focus arrows=element R=restart",
    "past": "s=step n=next f=finish c=continue S/N/C=back G=now g=goto :=command tab=focus arrows=element",
    "over": "S/N/C=back g=goto R=restart :=command tab=focus arrows=element",
    "ended": "R=restart :=command",
    "timeline": "left/right=iteration home/end=oldest,_newest t=hide esc=back_to_the_keys",
    "typing": "enter=run tab=complete up=history esc=back_to_the_keys help=all_commands",
}
LAST = ["?=help", "q=quit"]
# What a narrow screen has no room for goes first.
LEAST = ("g=goto", "R=restart", "arrows=element", "tab=focus", "b=break", ":=command")
HELP = """\
s  step: the next event of any parameter or of the loop
n  next turning point of the parameter: its uses, the sum, the update
f  finish: to the end of the phase
c  continue to the next breakpoint
S  N  C    the same backwards, through what was recorded; s n c go on
g  goto ...: an event or an iteration      G  back to now
i  interrupt a running program (or ctrl+c); :detach lets it run on alone
R  restart: same seed; breakpoints, focus and element kept (:restart --to HERE)

b  break ...        :  command line (tab completes, up: history)      esc  leave it
tab        the next parameter of the same module
shift+tab  the next parameter of all
arrows     the neighbouring element (or a click)      m  the next matrices
enter      what each use adds to the element, as bars that add up; or norms
> < !      the largest, smallest, first non-finite element of the first matrix
z          zoom: true cells of a large tensor around the element
t          timeline: left, right, home, end and clicks choose an iteration
1 2 3 4    matrices, source, output, timeline (on a small screen)
page up, page down  scroll results, else the ledger, else the output
space      pause a playing script; a step key takes over, space goes on with it
T          theme: dark, light, contrast
ctrl+s     save the screen as backpropdbg.svg     y  copy the ledger (tab-separated)
q  quit             ? or F1  these keys

timeline: v the stop, N now; b breakpoint, ! not finite; gradient - None, ? pending
norm: Euclidean. cos: the angle to the sum, +1 the same way, -1 against it.
orange +, blue -; a positive gradient pulls its element down.
none of the keys while the program runs: then `:` types into its standard input"""


def key_line(width: int, kind: str = "live") -> Text:
    """Return the line of keys that fits, for a stop in the present ("live") or one of the other `KEYS`."""
    entries = KEYS[kind].split() + ([] if kind in ("typing", "timeline") else LAST)
    for least in LEAST:
        if sum(len(entry) + 2 for entry in entries) < width:
            break
        entries = [entry for entry in entries if entry != least]
    text = Text(" ", no_wrap=True)
    for entry in entries:
        key, _, word = entry.rpartition("=")
        text.append(key.replace("/", " "), f"bold {paint.now().accent}")
        text.append(f" {word.replace('_', ' ')}  ", paint.now().plain)
    return text


def tab_line(number: int) -> Text:
    """Return the line that names the tabs of a small screen, with the open one marked."""
    text = Text(" ", no_wrap=True)
    for n, word in enumerate(TABS, 1):
        style = f"bold {paint.now().on_accent} on {paint.now().accent}" if n == number else paint.now().dim
        text.append(f"[{n} {word}]" if n == number else f" {n} {word} ", style)
        text.append(" ")
    return text


class Help(ModalScreen[None]):
    """All keys; any key closes it."""

    def compose(self) -> ComposeResult:
        """Lay out the box."""
        with VerticalScroll(id="help") as box:
            yield Static(Text(HELP))
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
