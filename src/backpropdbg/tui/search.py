"""Looks for the largest |element|, the smallest and the first non-finite one, beside the program that has them."""

import math
import re
from collections.abc import Sequence

from msgspec import Struct

from backpropdbg.tui.plane import element_of, flat_shape

LARGEST, SMALLEST, ODD = "largest", "smallest", "first non-finite"
_PLACES = {
    LARGEST: "{}.double().abs().nan_to_num(-1.0, math.inf, math.inf).argmax().item()",
    SMALLEST: "{}.double().nan_to_num(math.inf, math.inf, -math.inf).argmin().item()",
    ODD: "{}.isfinite().logical_not().flatten().byte().argmax().item()",
}


class Found(Struct, frozen=True):
    """Where the element is, and its value. zeros: all elements are zero."""

    element: tuple[int, ...]
    value: float
    zeros: bool


def question(what: str, matrix: str) -> str:
    """Return the command that asks where in a matrix of this stop the element is, in row-major order, and its value."""
    tensor = "(after - before)" if matrix == "delta" else matrix
    place = _PLACES[what].format(tensor)
    return f"print [{place}, {tensor}.double().flatten()[{place}].item(), {tensor}.any().item()]"


def answer(what: str, text: str, shape: Sequence[int]) -> Found | None:
    """Return what the debugger named, e.g. "[13, -0.5, True]" of a 5x5 tensor is (2, 3); None where none is."""
    found = re.fullmatch(r"\[(\d+), (\S+), (True|False)\]", text.strip())
    if found is None or (what == ODD and math.isfinite(float(found[2]))):
        return None
    element = element_of(shape, *divmod(int(found[1]), max(1, flat_shape(shape)[1])))
    return Found(element, float(found[2]), found[3] == "False")
