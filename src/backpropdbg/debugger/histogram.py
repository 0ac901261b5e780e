"""How the values of one matrix of a stop are spread: a line of facts, and a histogram in characters."""

from backpropdbg.debugger.describe import matrices, tensors
from backpropdbg.debugger.stop import Stop
from backpropdbg.errors import CommandError
from backpropdbg.events import Held
from backpropdbg.held import Spread

_PARTS, _WIDE = 10, 40


def histogram(stop: Stop, name: str) -> str:
    """Return it for a matrix of that name, "" for the first one that has a value. Raises CommandError."""
    found = tensors(stop)
    if name and name not in found:
        raise CommandError(f"histogram {name}: no such matrix; there are: {', '.join(found)}")
    shown = {m.name: m.state for m in matrices(stop)}
    name = name or next((matrix for matrix, state in shown.items() if state == "value"), "")
    if not name:
        raise CommandError("histogram: no matrix of this stop has a value")
    held = found[name]
    if held is None or not held.kept:
        state = "not kept" if held is not None else shown.get(name, "none").replace("none", "None")
        raise CommandError(f"histogram: {name} is {state} at this stop")
    return as_text(name, held, held.spread(_PARTS))


def as_text(name: str, held: Held, spread: Spread) -> str:
    """The line of facts, then a line for each part."""
    facts = [f"{name} {list(held.shape)} {held.dtype}"]
    facts += [
        f"{word} {value:.4g}"
        for word, value in (("mean", spread.mean), ("std", spread.std), ("min", spread.low), ("max", spread.high))
        if value is not None
    ]
    facts += [f"zeros {spread.zeros}", f"not finite {spread.odd}"]
    return "\n".join(["  ".join(facts), *_bars(spread)])


def _bars(spread: Spread) -> list[str]:
    if spread.low is None or spread.high is None:
        return []
    most, parts = max(spread.counts), len(spread.counts)
    lows = [spread.low + (spread.high - spread.low) * (n / parts) for n in range(parts)] if parts > 1 else [spread.low]
    edges = [f"{low:+.3g}" for low in lows]
    width, digits = max(map(len, edges)), len(str(most))
    return [
        f"{edge:>{width}} {count:>{digits}} {'#' * max(round(_WIDE * count / most), count > 0)}".rstrip()
        for edge, count in zip(edges, spread.counts, strict=True)
    ]
