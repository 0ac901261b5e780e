"""What a debugger may have left in torch and on a model."""

import gc
import sys
from types import FunctionType
from typing import Any

import torch

from backpropdbg.probe.arrival import Accumulation, Arrival


def hooks() -> dict[str, list[Any]]:
    """All that a debugger could have left in torch."""
    found = {
        f"{module}.{name}": sorted(map(str, value))
        for module in ("torch.nn.modules.module", "torch.optim.optimizer")
        for name, value in vars(sys.modules[module]).items()
        if name.startswith("_global_") and isinstance(value, dict)
    }
    assert len(found) > 8
    for owner in (torch.autograd, torch.autograd.graph, torch.nn.Module, torch.optim.Optimizer, torch.Tensor):
        found |= {f"{owner.__name__}.{k}": [id(v)] for k, v in vars(owner).items() if callable(v)}
    found["function modes"] = [torch._C._len_torch_function_stack()]
    return found


def closures() -> int:
    """How many hooks of ours are alive; what is told to `os.register_at_fork` stays for good and is none."""
    gc.collect()
    alive = gc.get_objects()
    made = [f for f in alive if type(f) is FunctionType and "<locals>" in f.__qualname__]
    mine = [f for f in made if (f.__module__ or "").startswith("backpropdbg.probe.")]
    hooks = [thing for thing in alive if type(thing) in (Accumulation, Arrival)]
    return sum("fork" not in f.__qualname__ for f in mine) + len(hooks)


def left_on(model: torch.nn.Module) -> list[Any]:
    """The hooks that the parameters of a model still have."""
    kinds = ("_backward_hooks", "_post_accumulate_grad_hooks")
    return [hook for p in model.parameters() for kind in kinds for hook in (getattr(p, kind) or {}).values()]
