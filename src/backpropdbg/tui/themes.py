"""The palettes as themes of textual, with their colours as variables of the style sheet: `past_bar` is `$past-bar`."""

from collections.abc import Sequence

from textual.app import App
from textual.filter import LineFilter
from textual.screen import Screen
from textual.theme import Theme

from backpropdbg.palette import DARK, PALETTES, Palette
from backpropdbg.tui import paint
from backpropdbg.tui.signs import AsciiSigns


class Painted:
    """A widget that holds text in colours of the theme; what takes them as it renders needs to do nothing."""

    def redraw(self) -> None:
        """Draw the same anew, in the colours of another theme."""
        raise NotImplementedError


def variables(palette: Palette) -> dict[str, str]:
    """Return the colours of a palette under the names that app.tcss has for them."""
    return {name.replace("_", "-"): colour for name, colour in palette.colours.items()}


def theme(palette: Palette) -> Theme:
    """Return the theme of a palette, named like it. Widgets of textual's own are drawn by its nearest colours."""
    return Theme(
        name=palette.name,
        dark=palette.dark,
        primary=palette.accent,
        secondary=palette.past,
        accent=palette.accent,
        warning=palette.positive,
        error=palette.alarm,
        success=palette.accent,
        foreground=palette.plain,
        background=palette.ground,
        surface=palette.raised,
        panel=palette.bar,
        variables=variables(palette),
    )


def following(name: str) -> str:
    """Return the theme after `name`, and after the last one the first."""
    names = list(PALETTES)
    return names[(names.index(name) + 1) % len(names)]


class Themed(App[None]):
    """An app that has our themes and no others, and draws all anew when another one is chosen."""

    def __init__(self, chosen: str, signs: bool) -> None:
        super().__init__()
        self.signs = AsciiSigns(enabled=signs)
        for name in list(self.available_themes):
            self.unregister_theme(name)
        for palette in PALETTES.values():
            self.register_theme(theme(palette))
        self.theme = chosen

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Return the variables of the style sheet for textual's own theme, which is there before ours are."""
        return variables(DARK)

    @property
    def base(self) -> Screen[object]:
        """The screen with the panes, also while the help lies over it."""
        return self.screen_stack[0]

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Return what each line goes through before it is drawn."""
        return [*super().get_line_filters(), *([self.signs] if self.signs.enabled else [])]

    def ascii_result(self, wanted: str) -> str:
        """Carry out `ascii on`, `ascii off`, or `ascii`, which takes the other one. Returns what to say."""
        self.signs.enabled = wanted == "on" or (not wanted and not self.signs.enabled)
        self.redraw()
        return "ASCII signs only" if self.signs.enabled else "all signs"

    def watch_theme(self, name: str) -> None:
        """Draw in the colours of a theme from now on."""
        paint.use(PALETTES[name])
        if self.screen_stack:
            self.redraw()

    def redraw(self) -> None:
        """Draw all anew."""
        for widget in self.base.query("*"):
            if isinstance(widget, Painted):
                widget.redraw()
        self.base.query("*").refresh()

    def theme_result(self, wanted: str) -> tuple[str, bool]:
        """Carry out `theme NAME`, or `theme`, which takes the next one. Returns what to say, and whether it is done."""
        names = ", ".join(PALETTES)
        name = wanted or following(self.theme)
        if name not in PALETTES:
            return f"theme: {name!r} is none; it is one of {names}", False
        self.theme = name
        return f"theme {name}, of {names}", True
