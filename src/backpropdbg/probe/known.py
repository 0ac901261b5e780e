"""What a record or a report asks of a probe, beside its events."""

from collections.abc import Collection
from typing import Any

from backpropdbg.probe.here import sequence
from backpropdbg.probe.hooks import Probe
from backpropdbg.probe.unseen import guarded


def meet(probe: Probe, model: Any, optimizer: Any) -> None:
    """Tell a probe of a model and an optimizer (or None) that were made before it.

    The model's own names stand without a prefix, whatever else the program holds.
    """
    if model is not None:
        probe.names.learn(model, "")
        probe.watch.model = model
    if optimizer is not None:
        probe.update.optimizers.add(optimizer)
        probe.watch.optimizer = optimizer


def optimized(probe: Probe) -> tuple[Collection[str], int]:
    """The parameters that any optimizer which is known and alive has, and how many optimizers there are."""
    optimizers = list(probe.update.optimizers)
    owned = {id(p) for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}
    return {name for name, p in probe.names.parameters() if id(p) in owned}, len(optimizers)


def shapes(probe: Probe) -> dict[str, tuple[int, ...]]:
    """Of all parameters that are known, frozen ones too."""
    return probe.names.shapes()


def last_look(probe: Probe) -> bool:
    """Notice what a program did by hand after its last backward; return False where nobody could compare."""
    return bool(_look(probe))


@guarded
def _look(probe: Probe) -> bool:
    watch = probe.watch
    if not watch.alone or watch.inside:
        return False
    if watch.ran and not watch.stepped:
        probe.forward.begin(sequence())
    return not watch.replaces
