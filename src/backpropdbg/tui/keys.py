"""Which key does what; the actions are methods of the app."""

from textual.binding import Binding

MOVES = {
    "s": "step",
    "n": "next",
    "f": "finish",
    "c": "continue",
    "S": "rs",
    "N": "rn",
    "C": "rc",
    "G": "goto now",
}
# Opening the command line has priority, so that it has the keyboard before the next key of a burst or a paste.
BINDINGS = [
    *(Binding(key, f"move({command!r})", show=False) for key, command in MOVES.items()),
    *(Binding(key, f"arrow({key!r})", show=False) for key in ("up", "down", "left", "right")),
    *(Binding(str(n), f"tab({n})", show=False) for n in (1, 2, 3, 4)),
    Binding("i", "interrupt", show=False),
    Binding("ctrl+c", "interrupt", show=False, priority=True),
    Binding("b", "type('break ')", show=False, priority=True),
    Binding("g", "type('goto ')", show=False, priority=True),
    Binding("colon", "type('')", show=False, priority=True),
    Binding("escape", "leave", show=False),
    Binding("tab", "parameter(False)", show=False, priority=True),
    Binding("shift+tab", "parameter(True)", show=False, priority=True),
    Binding("enter", "story", show=False),
    Binding("m", "more", show=False),
    Binding("t", "timeline", show=False, priority=True),
    Binding("y", "copy", show=False),
    Binding("greater_than_sign", "search('largest')", show=False),
    Binding("less_than_sign", "search('smallest')", show=False),
    Binding("exclamation_mark", "search('first non-finite')", show=False),
    Binding("z", "zoom", show=False),
    Binding("R", "restart", show=False),
    Binding("space", "pause", show=False),
    Binding("question_mark", "help", show=False),
    Binding("f1", "help", show=False, priority=True),
    Binding("pageup", "page(-1)", show=False),
    Binding("pagedown", "page(1)", show=False),
    Binding("ctrl+s", "picture", show=False, priority=True),
    Binding("T", "theme", show=False),
    Binding("q", "quit", show=False),
    Binding("ctrl+q", "quit", show=False, priority=True),
]
