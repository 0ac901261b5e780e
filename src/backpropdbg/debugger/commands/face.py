"""Commands that a face carries out: they stand here to be checked and explained."""

import shlex

from backpropdbg.debugger import arguments
from backpropdbg.debugger.commands.table import Check, command, enter
from backpropdbg.debugger.core import Debugger
from backpropdbg.errors import CommandError
from backpropdbg.palette import PALETTES


def _face(name: str, help_text: str, check: Check, *aliases: str) -> None:
    def action(d: Debugger, text: str) -> str:
        return ""

    action.__name__, action.__doc__ = name, help_text
    enter(action, check, *aliases)


@command(arguments.quoted)
def say(d: Debugger, text: str) -> str:
    """say "TEXT": a caption, in scripts."""
    return shlex.split(text)[0]


_face("sleep", "sleep S: wait S seconds, in scripts.", arguments.seconds)
_face("screenshot", "screenshot FILE: save the screen as SVG.", arguments.something)
_face("theme", f"theme [NAME]: the colours of the screen: {', '.join(PALETTES)}, or the next.", arguments.theme)
_face("ascii", "ascii [on | off]: draw with ASCII signs only, where others move the columns.", arguments.switch)
_face(
    "layout",
    "layout [reset | zoom PANE | hide PANE | show PANE | move PANE WAY]: the panes of the screen.",
    arguments.layout,
)


@command(arguments.something)
def source(d: Debugger, text: str) -> str:
    """source FILE: run the commands of another script, in scripts, which are read before they run."""
    raise CommandError(
        f"source {text}: a script can do that, as it is read before it runs; backpropdbg replay runs one"
    )


_face(
    "restart",
    "restart [--to HERE]: run the program again, with the same breakpoints; --to HERE: up to the event of this stop.",
    arguments.restart,
)
_face("quit", "quit (q) [CODE]: end the program and the debugger.", arguments.exit_code, "q")
