"""torch's compiler, which nobody here uses and which takes as long to import as half of torch, comes in later.

The first optimizer that is made imports it, so the demo's first stop would wait for it. A program of the user's is left
as it is.
"""

import threading
import types
from typing import Any

from torch.optim import Optimizer


def import_meanwhile() -> None:
    """Import it in a thread of its own. Until it is there, optimizers do without: torch asks it to leave them alone."""
    methods = [method for method in vars(Optimizer).values() if isinstance(method, types.FunctionType)]
    asking = [vars(m)["__wrapped__"] for m in methods if m.__globals__["__name__"] == "torch._compile"]
    for function in asking:  # where torch keeps the answer: the function itself
        function.__dynamo_disable = function
    threading.Thread(target=_load, args=(asking,), daemon=True).start()


def _load(asking: list[Any]) -> None:
    try:
        import torch._dynamo  # noqa: F401
    finally:
        for function in asking:
            del function.__dynamo_disable
