"""The colours of the screen; numbers as text are those of every face."""

import math

from rich.style import Style

from backpropdbg.figures import WORDS, cell_text, clean, cosine_text, number_text
from backpropdbg.situation import Number, as_float

__all__ = ["WORDS", "cell_text", "clean", "cosine_text", "number_text", "shade", "sign_colour"]

POSITIVE = "#e69f00"
NEGATIVE = "#56b4e9"
ACCENT = "#5eead4"
PAST = "#c4a7ff"
DIM = "#80858f"
PLAIN = "#d6d9de"
STRONG = "#ffffff"
ALARM = "#ff6b6b"
GROUND = (17, 19, 23)
SCREEN = "#{:02x}{:02x}{:02x}".format(*GROUND)


def sign_colour(value: Number) -> str:
    """Return the colour of a number's sign: orange up, sky down, red for a non-finite one."""
    v = as_float(value)
    if not math.isfinite(v):
        return ALARM
    return PLAIN if v == 0 else (POSITIVE if v > 0 else NEGATIVE)


def shade(value: Number, vmax: float) -> Style:
    """Return the style of a cell on a symmetric scale that ends at `vmax`."""
    v = as_float(value)
    if not math.isfinite(v):
        return Style(color="#ffffff", bgcolor="#b00020", bold=True)
    weight = min(1.0, abs(v) / vmax) * 0.85 if vmax > 0 else 0.0
    hue = POSITIVE if v > 0 else NEGATIVE
    parts = [int(hue[i : i + 2], 16) for i in (1, 3, 5)]
    mixed = [round(g + (p - g) * weight) for g, p in zip(GROUND, parts, strict=True)]
    light = 0.299 * mixed[0] + 0.587 * mixed[1] + 0.114 * mixed[2]
    ground = "#{:02x}{:02x}{:02x}".format(*mixed)
    return Style(color="#0b0c0f" if light > 105 else "#e8eaee", bgcolor=ground)
