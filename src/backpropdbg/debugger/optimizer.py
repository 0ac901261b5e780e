"""The optimizer as the focused parameter sees it: its group's settings, its state, the terms of its last update."""

from typing import TYPE_CHECKING

from msgspec.structs import replace

from backpropdbg.debugger import tables
from backpropdbg.debugger.rows import update_rows
from backpropdbg.debugger.stop import Stop
from backpropdbg.debugger.words import norm
from backpropdbg.events import Held, StepStarted
from backpropdbg.recipes import Recipe, Setting
from backpropdbg.situation import element_name

if TYPE_CHECKING:
    from backpropdbg.debugger.core import Debugger

_MOST = 100  # iterations to look through for a step


def as_text(d: "Debugger") -> str:
    """The optimizer in one line; then what its newest step up to this stop read and did."""
    line = d.stop.optimizer or d.program.optimizer()
    if not line:
        return "no optimizer has been used yet"
    stop, title = _last_update(d), d.names.title(d.focus)
    if stop is None or stop.started is None:
        among = f" of the last {_MOST} iterations" * (d.stop.event.iteration > _MOST)
        return f"{line}\n{title}: no step{among} up to here was about it, as far as is known"
    step = f"the step of iteration {stop.event.iteration}"
    rows = tables.table(
        [replace(row, here=row.here and stop is d.stop) for row in update_rows(stop)],
        element_name(stop.focus, stop.element),
    )
    return "\n".join([line, f"{title}, what {step} read:", *_read(stop, stop.started), "its update:", rows])


def _last_update(d: "Debugger") -> Stop | None:
    """This stop, or the end of the newest iteration before it in which the parameter's optimizer stepped."""
    now = d.stop.event.iteration
    if any(d.focus in e.grads for e in d.stop.of(StepStarted)):
        return d.stop
    for number in range(now - 1, max(0, now - 1 - _MOST), -1):
        start, events = d.trace.start(number), d.trace.iteration(number)
        if start is not None and any(isinstance(e, StepStarted) and d.focus in e.grads for e in events):
            return Stop(d.trace, start + len(events) - 1, d.focus, d.stop.element)
    return None


def _read(stop: Stop, started: StepStarted) -> list[str]:
    """The lines on settings and state."""
    recipe = started.recipes.get(stop.focus)
    if recipe is None:
        return ["  settings and state: not recorded"]
    settings = " ".join(f"{name}={_setting(value)}" for name, value in recipe.group.items())
    lines = [settings or f"settings of {recipe.name}: not recorded, only those of SGD, Adam and AdamW are"]
    lines += _state(recipe) or ["no state yet"]
    return [f"  {line}" for line in lines]


def _setting(value: Setting) -> str:
    if isinstance(value, tuple):
        return ",".join(f"{part:g}" for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _state(recipe: Recipe) -> list[str]:
    """A line for each thing that the optimizer keeps for the parameter."""
    lines = [f"step = {recipe.steps:g}"] if recipe.steps else []
    return lines + [f"{name}{_size(held)}" for name, held in recipe.state.items()]


def _size(held: Held) -> str:
    """The value of a scalar, else shape and norm; what is not kept says so."""
    if held.kept and not held.shape:
        return f" = {held.at(()):g}"
    size = norm(held)
    words = ["not kept"] * (not held.kept) + [f"norm {tables.shown(size)}"] * (size is not None)
    return f" {list(held.shape)}  {', '.join(words)}"
