"""Which tensors a recording keeps: what `--keep` says. Sizes in words."""

import re

from msgspec import Struct

from backpropdbg.errors import UsageError

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}


class Keep(Struct, frozen=True):
    """What a file keeps of tensors, beside their statistics.

    Attributes:
        size: bytes of the newest, None for no limit. last: only of that many newest iterations, None for all.
    """

    size: int | None = 2**30
    last: int | None = None


EVERYTHING = Keep(None)


def size_of(text: str) -> int | None:
    """Return the bytes that a text such as "1.5GB" names; None where it is no size.

    Example: `size_of("64MiB")` is 67108864.
    """
    match = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)\s*([KMGT]?I?)B?", text.strip(), re.IGNORECASE)
    unit = _UNITS.get(match[2].upper()) if match else None
    value = int(float(match[1]) * unit) if match and unit else 0
    return value if 0 < value < 2**60 else None


def keep_of(text: str) -> Keep:
    """Read "all", "stats", "last N" or a size. Raises UsageError.

    Example: `keep_of("last 10")` is `Keep(None, 10)`.
    """
    words = text.strip().lower()
    if words == "all":
        return EVERYTHING
    if words == "stats":
        return Keep(0)
    last = re.fullmatch(r"last[ :=]?([1-9][0-9]{0,8})( iterations?)?", words)
    if last:
        return Keep(None, int(last[1]))
    size = size_of(text)
    if size is None:
        raise UsageError(f"{text!r} is neither 'all', 'stats', 'last N' nor a size such as 256MB or 1GiB")
    return Keep(size)
