"""One of the processes of `test_processes.py`: python rank.py KIND RANK FILE. Prints what it saw as JSON."""

import contextlib
import copy
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
import torch.distributed as dist
from cases.plain import walk
from driving import debugged
from torch import nn

import backpropdbg

kind, rank, file = sys.argv[1], int(sys.argv[2]), sys.argv[3]


def averaged(model, x):
    """Three backwards, the second of which is not averaged, and a step."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for unsynchronized in (False, True, False):
        with model.no_sync() if unsynchronized else contextlib.nullcontext():
            model(x).square().mean().backward()
        if not unsynchronized:
            optimizer.step()
            optimizer.zero_grad()


def sharded(model, x):
    """Two plain steps."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()


def twice():
    torch.manual_seed(0)
    layer = nn.Linear(3, 3)
    return nn.Sequential(layer, nn.Tanh(), layer)


def alone(x):
    """The edges and the gradient of this process, in plain torch."""
    model = twice()
    loss = model(x).square().mean()
    edges = sum(leaf is model[0].weight for leaf in walk([loss]))
    return edges, torch.autograd.grad(loss, model[0].weight)[0]


def main_averaged():
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(rank))
    edges, mine = alone(x)
    with backpropdbg.record() as recording:
        averaged(nn.parallel.DistributedDataParallel(twice()), x)
    ledger, later = (recording.iteration(n).ledger("module.0.weight") for n in (1, 2))
    said = []
    with debugged(lambda s, d: said.extend([*s.explanation, d.execute("why").text]), focus="module.0.weight"):
        averaged(nn.parallel.DistributedDataParallel(twice()), x)
    return {
        "edges": edges,
        "uses": len(ledger.uses),
        "local": mine.tolist(),
        "running": ledger.running.tolist(),
        "grad": ledger.grad.tolist(),
        "labels": ledger.labels,
        "accumulated": [run.exact for run in later.runs],
        "later": later.labels,
        "problems": recording.problems,
        "said": "\n".join(said),
    }


def main_sharded():
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard

    finals, x = [], torch.ones(4, 3)
    for watched in (False, True):
        if kind == "sharded":
            model = fully_shard(twice(), mesh=init_device_mesh("cpu", (1,)))
        else:
            model = FullyShardedDataParallel(twice(), device_id=torch.device("cpu"))
        with backpropdbg.record() if watched else contextlib.nullcontext() as recording:
            sharded(model, x)
        whole = [p.full_tensor() if hasattr(p, "full_tensor") else p for p in model.parameters()]
        finals.append([p.tolist() for p in whole])
    return {"plain": finals[0], "watched": finals[1], "problems": copy.copy(recording.problems)}


dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2 if kind == "averaged" else 1)
print(json.dumps({"averaged": main_averaged, "sharded": main_sharded, "sharded once": main_sharded}[kind]()))
dist.destroy_process_group()
