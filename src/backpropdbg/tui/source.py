"""The lines of the user's program around the stop."""

from functools import lru_cache
from pathlib import PurePath
from textwrap import dedent

from rich.style import Style
from rich.text import Text
from textual.widget import Widget

from backpropdbg.palette import Palette
from backpropdbg.situation import Source
from backpropdbg.tui import paint
from backpropdbg.tui.signs import PROGRAM


@lru_cache(maxsize=64)
def coloured(lines: tuple[str, ...], palette: Palette) -> tuple[Text, ...]:
    """Return Python lines with colours, without the indentation that they share."""
    from pygments import token  # takes time to import, and nothing needs it before the first stop
    from rich.syntax import ANSISyntaxTheme, Syntax

    colours = {
        token.Token: palette.plain,
        token.Keyword: palette.accent,
        token.Operator.Word: palette.accent,
        token.Name.Function: palette.strong,
        token.Name.Class: palette.strong,
        token.String: palette.positive,
        token.Number: palette.negative,
        token.Comment: palette.dim,
    }
    theme = ANSISyntaxTheme({kind: Style(color=colour) for kind, colour in colours.items()})
    code = dedent("\n".join(paint.clean(line) for line in lines))
    text = Syntax(code, "python", theme=theme).highlight(code)
    text.stylize(PROGRAM)
    return tuple(text.split("\n", allow_blank=True))[: len(lines)]


def source_text(source: Source, height: int) -> Text:
    """Return numbered lines with `>` at the line of the stop, which is always among them."""
    at = source.line - source.first
    start = max(0, min(at - height // 2, len(source.lines) - height))
    margin = len(str(source.first + len(source.lines)))
    out = Text(no_wrap=True)
    for n, line in list(enumerate(coloured(source.lines, paint.now())))[start : start + max(1, height)]:
        out.append("\n" if out else "")
        out.append("> " if n == at else "  ", f"bold {paint.now().alarm}")
        out.append(f"{source.first + n:>{margin}} ", f"bold {paint.now().strong}" if n == at else paint.now().dim)
        out.append_text(line)
    return out


class SourcePane(Widget):
    """The source pane."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.source: Source | None = None
        self.border_title = "source"

    def show(self, source: Source | None) -> None:
        """Draw the lines of a stop."""
        if source == self.source and source is not None:
            return
        self.source = source
        title = "source" if source is None else f"{PurePath(source.path).name}:{source.line}"
        self.border_title = Text(paint.clean(title))
        self.border_subtitle = Text(paint.clean(source.caption) if source else "")
        self.refresh()

    def render(self) -> Text:
        """Return the lines that fit."""
        if self.source is None:
            return Text("no source here", f"italic {paint.now().dim}")
        return source_text(self.source, self.size.height)
