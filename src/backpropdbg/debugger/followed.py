"""What to say of a tensor that is no leaf but computed from parameters, and that somebody asked for."""

from backpropdbg.debugger.stop import Stop
from backpropdbg.events import Followed, GroupSummed, IterationStarted
from backpropdbg.ledger import Run

LATER = "is followed from the next iteration on: of this one, its uses were not looked for"


def what_it_is(name: str, followed: Followed) -> str:
    """Say that it has no `.grad` and no update, and what becomes of its sum."""
    if not followed.leaves:
        return f"{name} is computed, no leaf: it has no .grad of its own."
    kept = "torch keeps its sum as .grad, too (retain_grad)" if followed.retained else "it has no .grad: it is no leaf"
    return f"{name} is computed ({followed.node}): {kept}. Its sum flows on to {_listed(followed.leaves)}."


def grad_note(name: str, followed: Followed, run: Run | None) -> str:
    """The note of its row `.grad`."""
    on = f"; its sum flows on to {_listed(followed.leaves)}" if followed.leaves else ""
    return f"retain_grad keeps its sum{on}" if followed.retained else f"no .grad: not a leaf{on}"


def sum_note(run: Run) -> str:
    """What the sum of its uses is beside what the engine handed on."""
    if run.flowed is None:
        return "" if not run.finished else "it did not flow on: this run ends here"
    if run.followed is not None and run.followed.mixed and run.exact() is None:
        return "a hook of the program's changed it, or the backward begins here"
    return {True: "= what flows on, bit for bit", False: "differs from what flows on", None: ""}[run.exact()]


def unseen(stop: Stop) -> str:
    """What to say where no use of it is in the graph of a backward."""
    begun = next((e for e in reversed(stop.events) if isinstance(e, IterationStarted)), None)
    if begun is None or stop.focus.partition("@")[0] not in begun.computed:
        return f"{stop.focus} {LATER}."
    return f"{stop.focus}: no tensor of this name is in this graph."


def others(name: str, followed: Followed) -> str:
    """Of the further tensors of the same name; "" where there is one only."""
    if followed.many < 2:
        return ""
    first, last = name.partition("@")[0], followed.many
    names = [first, f"{first}@2"] if last == 2 else [first, f"{first}@2", *["…"] * (last > 3), f"{first}@{last}"]
    return f"{first} was computed {last} times by now, and each has a sum of its own: {', '.join(names)}."


def summed(stop: Stop, event: GroupSummed) -> tuple[str, ...]:
    """The sum of its uses is complete."""
    uses = " + ".join(f"A{n}" for n in reversed(event.numbers))
    run = next((run for run in stop.ledger.runs if run.number == event.run), None)
    if run is None or run.followed is None:
        return (f"The gradient of {event.parameter} is complete: {uses}, {len(event.numbers)} uses.",)
    exact = ", bit for bit" if run.exact() else ""
    flows = f"It flows on through {event.node} to {_listed(run.followed.leaves)}."
    first = f"The gradient of {event.parameter} is complete: {uses}{exact}."
    return (first, flows, "It is no leaf: no .grad is written.")


def why(name: str, followed: Followed) -> str:
    """Why no update of it is told."""
    whose = _listed(followed.leaves) or "what it is computed from"
    see = f"; why {followed.leaves[0]} tells how that moved" if followed.leaves else ""
    moves = f"No optimizer moves it: it is computed again from {whose}{see}."
    return f"{what_it_is(name, followed)}\n{moves}"


def _listed(leaves: tuple[str, ...]) -> str:
    more = f" and {len(leaves) - 4} more" if len(leaves) > 4 else ""
    return ", ".join(leaves[:4]) + more
