"""How many uses are inside of one operation that can't be split, as far as that can be known.

Of a recurrent layer its time steps, of what torch.compile or torch.jit made how often the program's own code takes the
parameter; 0 where nobody can tell.
"""

import math
import sys
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from backpropdbg.probe.names import Names
from backpropdbg.probe.places import stand_in
from backpropdbg.probe.unseen import transforms
from backpropdbg.probe.uses import node_name, node_number

_Scripted = torch.jit._script.RecursiveScriptModule
_VMAP = torch._C._functorch.TransformType.Vmap
# Query, key and value go to slots of their own, each of which is taken once.
_ONE_A_SLOT = ("ScaledDotProduct", "FlashAttention", "EfficientAttention", "CudnnAttention")
_RECURRENT = ("MkldnnRnn", "CudnnRnn", "MiopenRnn")


class Inside:
    """What is known of the graphs that were compiled while we looked."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._compiled: dict[int, tuple[weakref.ref[Tensor], set[int]]] = {}

    def watch_compiler(self) -> Callable[[], object] | None:
        """See what torch.compile compiles from now on; return what undoes that, None where it isn't loaded yet."""
        module = sys.modules.get("torch._dynamo.output_graph")
        graph = getattr(module, "OutputGraph", None)
        if not hasattr(graph, "call_user_compiler"):
            return None
        return stand_in(graph, "call_user_compiler", self._compiles)

    def _compiles(self, original: Callable[..., Any], graph: Any, traced: Any, inputs: Any, *more: Any) -> Any:
        try:
            self._count(traced, inputs)
        except Exception:  # another version of torch: then how many there are inside stays unknown
            self._compiled.clear()
        return original(graph, traced, inputs, *more)

    def _count(self, traced: Any, inputs: Iterable[Any]) -> None:
        places = [node for node in traced.graph.nodes if node.op == "placeholder"]
        for place, given in zip(places, inputs, strict=True):
            if not isinstance(given, nn.Parameter):
                continue
            nested = any(isinstance(user.target, torch._ops.HigherOrderOperator) for user in place.users)
            count = 0 if nested else sum(user.all_input_nodes.count(place) for user in place.users)
            known = self._compiled.get(id(given))
            if known is None or known[0]() is not given:
                known = self._compiled[id(given)] = weakref.ref(given), set()
            known[1].add(count)

    def of(self, node: Any, slot: int, leaf: Tensor, edges: int) -> int:
        """How many uses of a leaf are inside of a node; edges: how many go from such nodes to it in this graph."""
        kind = node_name(node)
        if kind.startswith(_RECURRENT):
            return 1 if _takes_the_input(node, slot) else _steps(node)
        if kind.startswith(_ONE_A_SLOT):
            return 1
        if "CompiledFunction" in kind:
            known = self._compiled.get(id(leaf))
            counts = known[1] if known is not None and known[0]() is leaf else set()
            return next(iter(counts)) if len(counts) == 1 else 0
        if "DifferentiableGraph" in kind and edges == 1:
            return self._scripted(leaf)
        return 0

    def _scripted(self, leaf: Tensor) -> int:
        """How often the code of the one scripted module that was called takes a parameter, outside of any branch."""
        called = [m for m in self._names.living() if isinstance(m, _Scripted) and self._names.entered(m)]
        paths = [(m, path) for m in called for path, p in m.named_parameters() if p is leaf]
        return _taken(paths[0][0].inlined_graph, paths[0][1].split(".")) if len(paths) == 1 else 0


def in_vmap() -> bool:
    """True inside of vmap."""
    stack = transforms()
    return stack is not None and any([layer.key() == _VMAP for layer in stack])


def samples() -> int:
    """Over how many samples vmap runs here."""
    layers = [layer for layer in transforms() or () if layer.key() == _VMAP]
    return math.prod(torch._C._functorch.CVmapInterpreterPtr(layer).batchSize() for layer in layers)


def is_batched(module: nn.Module) -> bool:
    """True where what a call makes may stand for several uses."""
    return (transforms() is not None and in_vmap()) or (parametrize._cache_enabled > 0 and is_cached(module))


def is_cached(module: nn.Module) -> bool:
    """True for a parametrization whose result is computed once for all calls (`parametrize.cached()`)."""
    return parametrize._cache_enabled > 0 and isinstance(module, parametrize.ParametrizationList)


def _takes_the_input(node: Any, slot: int) -> bool:
    """True for the weight and bias that all time steps of a recurrent layer's input pass at once, as in one product."""
    a_layer = getattr(node, "_saved_weight_stride0", 4)
    return (slot - 1) % a_layer in (0, 2)


def _steps(node: Any) -> int:
    """The length of the sequence; 0 for packed ones, whose sequences differ."""
    shape = node._input_metadata[0].shape
    if len(shape) != 3 or getattr(node, "_saved_batch_sizes", None):
        return 0
    first = bool(getattr(node, "_saved_batch_first", False)) and not node_name(node).startswith("Mkldnn")
    return int(shape[1 if first else 0])


def _taken(graph: Any, path: list[str]) -> int:
    """How often operations of a TorchScript graph take an attribute of `self`; 0 where some are in a branch or loop."""
    if any(True for node in graph.nodes() for _ in node.blocks()):
        return 0
    owners = {next(iter(graph.inputs())).debugName(): 0}
    count = 0
    for node in graph.nodes():
        given = [value.debugName() for value in node.inputs()]
        if node.kind() == "prim::GetAttr" and given[0] in owners:
            depth = owners[given[0]]
            if depth < len(path) and node.s("name") == path[depth]:
                owners[node.output().debugName()] = depth + 1
        else:
            count += sum(owners.get(name) == len(path) for name in given)
    return count


def count_consumers(roots: Iterable[Any], wanted: Iterable[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """How many edges of a graph go to each of these outputs; an output is (sequence number of its node, which one)."""
    counts = dict.fromkeys(wanted, 0)
    stack = [t.grad_fn for t in roots if isinstance(t, Tensor) and t.grad_fn is not None]
    seen = set(stack)
    while stack:
        for target, output in stack.pop().next_functions:
            if target is None:
                continue
            key = node_number(target), output
            if key in counts:
                counts[key] += 1
            if target not in seen:
                seen.add(target)
                stack.append(target)
    return counts
