"""Models that are spread over several processes: what their wrappers do to gradients and weights."""

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from backpropdbg.probe.holders import walk

UNSUPPORTED = (
    "FSDP is not supported: its weights are spread over several processes, and backpropdbg lets the program go"
)
_SHARDED = {"FSDPModule", "FullyShardedDataParallel"}


def ranks(module: nn.Module) -> int:
    """Over how many processes the gradients of a model are averaged; 1 where they are not."""
    return module.process_group.size() if isinstance(module, DistributedDataParallel) else 1


def is_sharded(module: nn.Module) -> bool:
    """True where FSDP, of either version, has a part of it: it frees weights while they are not needed."""
    kinds = {kind for _, part in walk(module) for kind in type(part).__mro__}
    return any(kind.__name__ in _SHARDED and kind.__module__.startswith("torch.distributed.") for kind in kinds)
