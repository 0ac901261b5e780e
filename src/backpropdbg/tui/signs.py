"""ASCII signs in place of those that are wide in some terminals and narrow in others: arrows, frames, bars, a few more.

East Asian terminals draw many signs two cells wide that others draw in one. With ASCII signs alone no column is moved.
"""

from collections.abc import Mapping

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter

# What the program printed, or its source: it stays as it is, whatever signs it has.
PROGRAM = Style(meta={"program": True})

_ALIKE = {
    "-": "─━╌╍┄┅┈┉╴╶╸╺▔▁▂▃▄▅▆▇⎯–—",
    "=": "═",
    "|": "│┃║╎╏┆┇┊┋█▌▐▎▊▍▋▏▉▕❘",
    "+": "╭╮╰╯┌┐└┘├┤┬┴┼┏┓┗┛┣┫┳┻╋╔╗╚╝╠╣╦╩╬╒╓╕╖╘╙╛╜╞╟╡╢╤╥╧╨╪╫⣶",
    ".": "·•…⣀",
    ":": "⣤",
    "#": "⣿▀■",
    ">": "→▶►❯",
    "<": "←◀◄",
    "^": "↑▲",
    "v": "↓▼",
    "x": "×✕",
    "S": "Σ",
}
# A scale that ends at +1 begins at -1. The sign of the command palette is two cells wide.
TABLE: Mapping[int, str] = str.maketrans(
    {sign: plain for plain, signs in _ALIKE.items() for sign in signs} | {"±": "+", "🔎": "> "}
)


class AsciiSigns(LineFilter):
    """Draws our own signs as ASCII ones of the same width, where it is enabled."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Return the segments with other signs."""
        return [
            segment if plain(segment) else Segment(segment.text.translate(TABLE), *segment[1:]) for segment in segments
        ]


def plain(segment: Segment) -> bool:
    """True for a segment that stays as it is."""
    style = segment.style
    return segment.text.isascii() or (style is not None and bool(style._meta) and bool(style.meta.get("program")))
