"""Looks for the largest, the smallest and the first non-finite element of a tensor, beside the program that has it."""

import re
from collections.abc import Sequence

from backpropdbg.tui.plane import element_of, flat_shape

LARGEST, SMALLEST, ODD = "largest", "smallest", "first non-finite"
_PLACES = {
    LARGEST: "[{}.double().nan_to_num(-math.inf, math.inf, -math.inf).argmax().item()]",
    SMALLEST: "[{}.double().nan_to_num(math.inf, math.inf, -math.inf).argmin().item()]",
    ODD: "{}.isfinite().logical_not().flatten().nonzero().flatten()[:1].tolist()",
}


def question(what: str, matrix: str) -> str:
    """Return the command that asks where in a matrix of this stop the element is, as a position in row-major order."""
    return "print " + _PLACES[what].format("(after - before)" if matrix == "delta" else matrix)


def answer(text: str, shape: Sequence[int]) -> tuple[int, ...] | None:
    """Return the element that the debugger named, e.g. "[13]" of a 5x5 tensor is (2, 3); None where there is none."""
    found = re.fullmatch(r"\[(\d+)\]", text.strip())
    if found is None:
        return None
    return element_of(shape, *divmod(int(found[1]), max(1, flat_shape(shape)[1])))
