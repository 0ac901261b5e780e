"""The colours of the screen, which are those of the theme; numbers as text are those of every face."""

import math
from functools import lru_cache

from rich.style import Style

from backpropdbg.figures import WORDS, cell_text, clean, cosine_text, number_text
from backpropdbg.palette import DARK, Palette, contrast, ink, mix
from backpropdbg.situation import SOON, Number, as_float

__all__ = ["WORDS", "cell_text", "clean", "cosine_text", "now", "number_text", "shade", "sign_colour", "use"]

SHADES = 64

_now = DARK


def now() -> Palette:
    """Return the palette of the theme. Ask each time that something is drawn: it changes while the screen is up."""
    return _now


def use(palette: Palette) -> None:
    """Draw with this palette from now on; the app does so when the theme changes."""
    global _now
    _now = palette


def sign_colour(value: Number) -> str:
    """Return the colour of a number's sign: orange up, sky down, red for a non-finite one, dim until it is known."""
    if value == SOON:
        return _now.dim
    v = as_float(value)
    if not math.isfinite(v):
        return _now.alarm
    return _now.plain if v == 0 else (_now.positive if v > 0 else _now.negative)


def shade(value: Number, vmax: float) -> Style:
    """Return the style of a cell on a symmetric scale that ends at `vmax`."""
    v = as_float(value)
    if not math.isfinite(v):
        return Style(color=_now.on_odd, bgcolor=_now.odd, bold=True)
    weight = min(1.0, abs(v) / vmax) if vmax > 0 else 0.0
    return _cell(_now, v > 0, round(weight * SHADES))


@lru_cache(maxsize=1024)
def _cell(palette: Palette, up: bool, step: int) -> Style:
    """Return the style of one shade out of `SHADES`, or of the nearest one that text can be read on."""
    hue = palette.up if up else palette.down
    for near in sorted(range(SHADES + 1), key=lambda n: abs(n - step)):
        ground = mix(palette.ground, hue, near / SHADES)
        if contrast(ink(ground), ground) >= palette.contrast:
            break
    return Style(color=ink(ground) if near else palette.plain, bgcolor=ground)
