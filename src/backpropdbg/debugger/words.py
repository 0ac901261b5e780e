"""Small facts in words: the state of a handle, a share, a place, what is special about a use."""

from collections.abc import Callable, Sequence

from backpropdbg.events import Held, Location, Use, is_split_by_unfuse
from backpropdbg.hurry import Later
from backpropdbg.situation import SOON, Number, State, number


def state_of(held: Held | None, absent: State = "none") -> State:
    """Which of the four states a handle is in."""
    if held is None:
        return absent
    return "value" if held.kept else "not kept"


def norm(held: Held) -> Number | None:
    """The norm of a handle, for a face; None where it was let go unmeasured, SOON where that takes too long now."""
    return shown(held.norm)


def shown(value: Callable[[], float | None]) -> Number | None:
    """A number for a face; SOON where it takes too long now."""
    try:
        found = value()
    except Later:
        return SOON
    return None if found is None else number(found)


def counted(count: int, thing: str) -> str:
    """A number of things, e.g. "1 time" or "3 times"."""
    return f"{count} {thing}{'s' * (count != 1)}"


def percent(share: float) -> str:
    """A share as "93 %"; never 0 or 100 where it is not."""
    shown = f"{100 * share:.0f}"
    if shown in ("0", "100") and share not in (0.0, 1.0):
        shown = "under 1" if shown == "0" else "over 99"
    return f"{shown} %"


def fused_note(use: Use) -> str:
    """What to say of a use that may be several, and what would split it; "" of any other."""
    if not use.fused:
        return ""
    if use.cached:
        owner, _, weight = use.parameter.rpartition(".")[0].rpartition("parametrizations.")
        many = f"{use.inside} uses share" if use.inside else "several uses may share"
        return f"{many} one cached weight: can't be split here, but focus {owner}{weight} shows each"
    many = f"{use.inside} calls are" if use.inside > 1 else "1 call is" if use.inside else "several uses may be"
    flag = " without --unfuse" if is_split_by_unfuse(use.node) else ""
    return f"{many} inside one operation ({use.node}): can't be split{flag}"


def use_details(uses: Sequence[tuple[int, str, int]]) -> dict[int, str]:
    """By number, what to call a use in the ledger: by the module's call where several modules share the parameter.

    uses: number, module and call of each.
    """
    several = len({module for _, module, _ in uses}) > 1
    return {n: f"{module}#{call}" if several and call else f"use #{n}" for n, module, call in uses}


def edited_note(original: Held | None) -> str:
    """What to say of a partial that the user replaced."""
    if original is None:
        return ""
    size = original.norm()
    return "edited" if size is None else f"edited, was {size:.4g}"


def line_of(where: Location | None) -> str:
    """A line of the program as "net.py:31"; "" where none is known."""
    return "" if where is None else f"{where.path.rpartition('/')[2]}:{where.line}"
