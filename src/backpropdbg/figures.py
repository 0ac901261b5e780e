"""Numbers and program text as short text that never lies, for every face."""

import math

from backpropdbg.situation import SOON, Number, Row, State, as_float

WORDS: dict[State, str] = {
    "value": "",
    "none": "None",
    "pending": "pending",
    "not computed": "not computed",
    "not kept": "not kept",
}


def odd_text(value: float) -> str:
    """Return "·", "NaN!", "+Inf!" or "-Inf!" where a number needs a word, else ""."""
    if math.isnan(value):
        return "NaN!"
    if math.isinf(value):
        return "+Inf!" if value > 0 else "-Inf!"
    return "·" if value == 0 else ""


def short_power(value: float, digits: int = 0) -> str:
    """Return `value` with its sign and the shortest exponent: 3e-05 is "+3e-5"."""
    mantissa, _, exponent = f"{value:+.{digits}e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def cell_text(value: Number) -> str:
    """Return one matrix cell in at most six characters (seven for exponents of three digits).

    Example: 0.7261 is "+.726", -12.5 is "-12.500" cut to "-12.50", 0.00003 is "+3e-5", 0 is "·"; what rounds to
    a thousandth is "+.001" and never "+1e-3".
    """
    v = as_float(value)
    if odd := odd_text(v):
        return odd
    if abs(v) < 0.00095 or abs(v) >= 99999.5:
        return short_power(v)
    for digits in (3, 2, 1, 0):
        text = f"{v:+.{digits}f}"
        text = text[0] + text[2:] if text[1:].startswith("0.") else text
        if len(text) <= 6:
            return text
    return short_power(v)


def number_text(value: Number | None, digits: int = 4, signed: bool = False) -> str:
    """Return a number of the ledger: fixed digits, or an exponent where those would say little or overflow.

    Example: 0.2862 is "0.2862", -0.000286 is "-2.86e-4".
    """
    if value is None or value == SOON:
        return value or ""
    v = as_float(value)
    odd = odd_text(v)
    if odd:
        return odd if odd != "·" else "0"
    if abs(v) < 10.0 ** (-digits / 2) or abs(v) >= (1e4 if digits > 2 else 1e6):
        text = short_power(v, max(1, digits - 2))
        return text if signed or v < 0 else text[1:]
    return f"{v:{'+' if signed else ''}.{digits}f}"


def cosine_text(row: Row) -> str:
    """Return a cosine with two digits, unless that would read as zero; nothing for what rounding left."""
    if row.cosine is None or row.term == "rounding":
        return ""
    if row.cosine == SOON:
        return SOON
    small = abs(as_float(row.cosine)) < 0.005
    return number_text(row.cosine, 2, signed=True) if small else f"{as_float(row.cosine):+.2f}"


def clean(text: str) -> str:
    """Return program text that a screen can show: no control codes, no lone surrogates."""
    text = text.encode("utf-8", "replace").decode().expandtabs(8)
    return "".join(c if c == "\n" or c.isprintable() else "?" for c in text)
