"""What a report claims. Each finding says what was seen, and no more.

The slugs, with the reasons that some have after a colon:

`no-optimizer`           received a gradient, never moved, and no optimizer that is known has it.
`no-gradient`            never received one in all that was seen: `:frozen`, `:non-leaf`, `:unused` (nothing took it),
                         `:detached` (something took it, but no backward came by it), `:not-computed` (it was in the
                         graph of a run that did not compute its gradient), `:replaced` (its module was called with
                         another tensor in its place, by `functional_call`).
`never-zeroed`           for the second iteration in a row, `.grad` still holds what the last update had read.
`moved-without-gradient` the weight moved, and all gradients of this iteration were None or zero.
`carried-in`             `.grad` held a gradient when a backward began: `:earlier-iteration`, `:same-iteration`.
`cleared-before-step`    a backward left a gradient, and None or zeros was there when an optimizer came to read it.
`not-finite`             NaN or infinity: the first thing of this parameter that was.
`tied`                   one parameter with several names.
`untied`                 two parameters, of different owners, that began as copies of each other bit for bit, and both
                         received gradients of their own.
`cancels`                the partials of one run cancel each other by more than 90 %, over the whole parameter.
`not-split`              one operation may hide several uses.
`moved-twice`            several steps moved it in one iteration, of two optimizers or of one.
`not-exact`              what was carried in plus the partials is not `.grad`, and nothing that is known changed it.
"""

import math
import re
from collections.abc import Iterator, Sequence

from msgspec import structs

from backpropdbg.report.rows import Facts, Found, Line
from backpropdbg.situation import as_float

REASONS: dict[str, tuple[str, ...]] = {
    "no-optimizer": (),
    "no-gradient": ("unused", "detached", "frozen", "non-leaf", "not-computed", "replaced"),
    "never-zeroed": (),
    "moved-without-gradient": (),
    "carried-in": ("earlier-iteration", "same-iteration"),
    "cleared-before-step": (),
    "not-finite": (),
    "tied": (),
    "untied": (),
    "cancels": (),
    "not-split": (),
    "moved-twice": (),
    "not-exact": (),
}
_NAMELESS = re.compile(r"leaf\d+\[")  # nothing that could train it holds it
SLUGS = (*REASONS, *(f"{slug}:{reason}" for slug, reasons in REASONS.items() for reason in reasons))


def judge(facts: Sequence[Facts]) -> list[Line]:
    """Return one line for each row, with all its findings; those of one parameter stand together."""
    by_name: dict[str, list[Facts]] = {}
    for fact in facts:
        by_name.setdefault(fact.row.names[0], []).append(fact)
    received = {name for name, mine in by_name.items() if any(fact.received for fact in mine)}
    lines = []
    for name, mine in by_name.items():
        whole = list(_whole(name, mine, received))
        for fact in mine:
            shown = [found for found in whole if found.slug != "no-optimizer" or fact.received]
            lines.append(_line(fact, (*fact.found, *shown)))
    return lines


def _line(fact: Facts, found: tuple[Found, ...]) -> Line:
    row = fact.row
    relative = None
    if row.update_norm is not None and fact.weight_norm is not None and as_float(fact.weight_norm) > 0:
        share = as_float(row.update_norm) / as_float(fact.weight_norm)
        relative = share if math.isfinite(share) else None
    slugs = tuple([one.slug for one in found])
    return Line(structs.replace(row, findings=slugs), found, fact.cancelled, relative)


def _whole(name: str, mine: list[Facts], received: set[str]) -> Iterator[Found]:
    """The findings that only all iterations together show."""
    last = mine[-1]
    if last.kind == "computed":
        return
    trained = any(fact.row.weight_moved or fact.optimized for fact in mine)
    if name in received and not trained and not last.replaced and not _NAMELESS.match(name):
        yield Found("no-optimizer", f"received a gradient, but {_who(last)}")
    if name not in received and any(fact.ran for fact in mine):
        yield _no_gradient(mine)
    twins = [twin for twin in last.twins if twin in received and not _siblings(name, twin)]
    if name in received and twins:
        text = f"began as a copy of {', '.join(twins)}, bit for bit, and is a parameter with a gradient of its own"
        yield Found("untied", text)


def _who(last: Facts) -> str:
    if not last.optimizers:
        return "no optimizer was made"
    has = "no optimizer has it" if last.optimizers > 1 else "the optimizer does not have it"
    return has if last.stepped else f"{has}; step() was never called"


def _no_gradient(mine: list[Facts]) -> Found:
    seen = f"in {len(mine)} iterations" if len(mine) > 1 else "in this iteration"
    if mine[-1].kind == "frozen":
        return Found("no-gradient:frozen", "does not require a gradient")
    if mine[-1].kind == "non-leaf":
        return Found("no-gradient:non-leaf", "is the result of an operation: only leaves get a .grad")
    if any(fact.row.uses for fact in mine):
        return Found("no-gradient:not-computed", f"it was in a graph {seen}, but no run computed its gradient")
    if any(fact.displaced for fact in mine):
        text = "its module was called with another tensor in its place (functional_call)"
        return Found("no-gradient:replaced", text + ", and no backward came by it")
    used = sum(fact.forward for fact in mine)
    if used:
        some = seen if used == len(mine) else f"in {used} of {len(mine)} iterations"
        return Found("no-gradient:detached", f"used {some}, but no backward came by it")
    return Found("no-gradient:unused", f"nothing that records gradients took it {seen}")


def _siblings(name: str, other: str) -> bool:
    """True for names that differ in their numbers only: layers that are cloned on purpose."""
    return re.sub(r"\d+", "#", name) == re.sub(r"\d+", "#", other)


def fails(lines: Sequence[Line], slugs: Sequence[str]) -> list[Line]:
    """Return the lines that show one of these findings; a slug without a reason stands for all its reasons."""
    wanted = set(slugs)
    return [line for line in lines if any(f in wanted or f.partition(":")[0] in wanted for f in line.row.findings)]
