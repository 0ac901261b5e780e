"""The colours of every face: one palette a theme. Colour alone carries no meaning: a character says it, too."""

from dataclasses import dataclass

INKS = ("#000000", "#ffffff")


@dataclass(frozen=True)
class Palette:
    """The colours of one theme, as "#rrggbb".

    Attributes:
        contrast: what the contrast of each text to its ground is at least (WCAG 2; 4.5 is its AA, 7 its AAA).
        plain: text; strong: text that stands out; dim: text that stands back.
        positive, negative: text that is above or below zero. up, down: the same as ground of a cell.
        accent: what is here and now; past: what was recorded; alarm: what went wrong.
        ground: of the screen; raised: of what lies on it; bar: of the lines at its edges; selected: of one in a row.
        past_raised, past_bar: of those in the past.
        on_accent: text on `strong`, `accent` or `past`.
        line: of frames.
        odd: ground of a cell that is not finite. on_odd: its text.
    """

    name: str
    dark: bool
    contrast: float
    plain: str
    strong: str
    dim: str
    positive: str
    negative: str
    up: str
    down: str
    accent: str
    past: str
    alarm: str
    ground: str
    raised: str
    bar: str
    selected: str
    past_raised: str
    past_bar: str
    on_accent: str
    line: str
    odd: str
    on_odd: str

    @property
    def colours(self) -> dict[str, str]:
        """All colours by name."""
        return {name: value for name, value in vars(self).items() if str(value).startswith("#")}


DARK = Palette(
    name="dark", dark=True, contrast=4.5,
    plain="#d6d9de", strong="#ffffff", dim="#969ca7",
    positive="#e69f00", negative="#56b4e9", up="#e69f00", down="#56b4e9",
    accent="#5eead4", past="#c4a7ff", alarm="#ff6b6b",
    ground="#111317", raised="#1a1e25", bar="#1c212b", selected="#2b313c", past_raised="#221b33", past_bar="#2a2140",
    on_accent="#101216", line="#3a404c", odd="#b00020", on_odd="#ffffff",
)  # fmt: skip
LIGHT = Palette(
    name="light", dark=False, contrast=4.5,
    plain="#24272d", strong="#000000", dim="#545a66",
    positive="#9c4500", negative="#00609a", up="#d55e00", down="#0072b2",
    accent="#086659", past="#6b3fc0", alarm="#b00020",
    ground="#fbfbfa", raised="#f0f1f3", bar="#e7e9ed", selected="#dce1e8", past_raised="#f1ebfc", past_bar="#ede6fb",
    on_accent="#ffffff", line="#b4bac4", odd="#b00020", on_odd="#ffffff",
)  # fmt: skip
CONTRAST = Palette(
    name="contrast", dark=True, contrast=7.0,
    plain="#ffffff", strong="#ffff00", dim="#d0d0d0",
    positive="#ffb833", negative="#7cc8ff", up="#e69f00", down="#56b4e9",
    accent="#00ffd0", past="#d9c2ff", alarm="#ff9c9c",
    ground="#000000", raised="#000000", bar="#141414", selected="#262626", past_raised="#160030", past_bar="#200040",
    on_accent="#000000", line="#c0c0c0", odd="#8a0010", on_odd="#ffffff",
)  # fmt: skip
PALETTES = {palette.name: palette for palette in (DARK, LIGHT, CONTRAST)}


def luminance(colour: str) -> float:
    """Return the relative luminance of "#rrggbb", from 0 for black to 1 for white (WCAG 2)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(text: str, ground: str) -> float:
    """Return the contrast of two colours, from 1 for the same to 21 for black on white (WCAG 2)."""
    low, high = sorted((luminance(text), luminance(ground)))
    return (high + 0.05) / (low + 0.05)


def ink(ground: str) -> str:
    """Return what reads best on a ground: black or white."""
    return max(INKS, key=lambda colour: contrast(colour, ground))


def mix(ground: str, hue: str, weight: float) -> str:
    """Return a colour between `ground` (weight 0) and `hue` (weight 1)."""
    ends = [(int(ground[at : at + 2], 16), int(hue[at : at + 2], 16)) for at in (1, 3, 5)]
    return "#" + "".join(f"{round(low + (high - low) * weight):02x}" for low, high in ends)
