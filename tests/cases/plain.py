"""What plain torch says of a program, without a line of ours: the edges of each graph, `.grad`, and untied copies.

The program runs twice. First as it is: each run of the engine is walked from its roots, and `.grad` is copied when it
ends and when an optimizer reads it. Then with a copy of the leaf at each use (`p.clone()`, whose backward is the
identity): what reaches a copy is what this one use contributes.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.overrides import TorchFunctionMode

Look = Callable[..., None]
Program = Callable[[Look], object]
# Not operations, but methods that mean the leaf itself.
_MEAN_THE_LEAF = {
    "__get__",
    "__set__",
    "__delete__",
    "__deepcopy__",
    "__reduce_ex__",
    "__hash__",
    "__repr__",
    "backward",
    "detach",
    "grad",
    "register_hook",
    "register_post_accumulate_grad_hook",
    "requires_grad_",
    "retain_grad",
}


class Run:
    """One run of the engine.

    Attributes:
        edges: into each parameter, walked here. copies: of each parameter, the gradient that reached each, in forward
            order. before, after: `.grad` by name, after what the run itself wrote. nested: within another run.
    """

    def __init__(self, iteration: int, number: int, accumulates: bool) -> None:
        self.iteration, self.number, self.accumulates = iteration, number, accumulates
        self.edges: dict[str, int] = {}
        self.before: dict[str, Tensor | None] = {}
        self.after: dict[str, Tensor | None] = {}
        self.wrote: dict[str, Tensor | None] = {}
        self.nested = False
        self.reached: list[tuple[int, str, Tensor]] = []

    def copies(self, name: str) -> list[Tensor]:
        """What reached each copy of a parameter, in forward order."""
        mine = [(index, grad) for index, owner, grad in self.reached if owner == name]
        return [grad for _, grad in sorted(mine, key=lambda pair: pair[0])]


class Plain:
    """One execution of a program.

    Attributes:
        tensors: its parameters by name. read: what an optimizer read, by iteration. stepped: the weights before and
            after its step. final: the weights at the end.
    """

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.runs: list[Run] = []
        self.read: dict[int, dict[str, Tensor | None]] = {}
        self.stepped: dict[tuple[int, str], tuple[Tensor, Tensor]] = {}
        self._before: dict[str, Tensor] = {}
        self.final: dict[str, Tensor] = {}
        self.iteration = 1
        self.optimizers: list[Optimizer] = []
        self.mode: Any = None
        self._open: list[Run] = []
        self._steps = 0
        self._stepped = False
        self._weights: dict[str, Tensor] = {}

    def look(self, model: Any = None, /, **tensors: Tensor) -> None:
        """The program says which tensors it means: those of a model, or some by name."""
        if model is not None:
            tensors = dict(model.named_parameters())
        for name, p in tensors.items():
            self.tensors[name] = p
            p.register_post_accumulate_grad_hook(lambda p, name=name: self._wrote(name, p))

    def _wrote(self, name: str, p: Tensor) -> None:
        if self._open and p.grad is not None:
            self._open[-1].wrote[name] = p.grad.detach().clone()

    def of_iteration(self, number: int, name: str) -> list[Run]:
        """The runs that concern a parameter, since its `.grad` was cleared last."""
        mine: list[Run] = []
        for run in [run for run in self.runs if run.iteration == number]:
            left = next((r.after.get(name) for r in reversed(mine) if r.after.get(name) is not None), None)
            if not run.nested and _any(left) and not _any(run.before.get(name)):
                mine = []
            mine.append(run)
        read = self.read.get(number, {})
        if mine and name in read and read[name] is None and mine[-1].after.get(name) is not None:
            mine = []
        return [run for run in mine if run.edges.get(name) or run.copies(name)]

    def grads(self) -> dict[str, Tensor | None]:
        """Copies of `.grad`."""
        return {name: None if p.grad is None else p.grad.detach().clone() for name, p in self.tensors.items()}

    def weights(self) -> dict[str, Tensor]:
        """Copies of the weights."""
        return {name: p.detach().clone() for name, p in self.tensors.items()}

    # -- what torch calls ------------------------------------------------------------------------

    def engine(self, original: Callable[..., Any], outputs: Any, *args: Any, **kwargs: Any) -> Any:
        if torch._C._functorch.get_interpreter_stack() is not None or torch._C._len_torch_dispatch_stack():
            return original(outputs, *args, **kwargs)
        with torch._C.DisableTorchFunction():
            run = self._begin(outputs, bool(kwargs.get("accumulate_grad")))
        self._open.append(run)
        try:
            with self.mode or contextlib.nullcontext():  # torch has taken it away within a method of a tensor
                return original(outputs, *args, **kwargs)
        finally:
            self._open.remove(run)
            with torch._C.DisableTorchFunction():
                run.after, self._weights = self.grads() | run.wrote, self.weights()
                for outer in self._open:
                    self._add_to(outer, run)

    def _add_to(self, outer: Run, inner: Run) -> None:
        """What a run within a run has written is carried into the outer one, where that has not written yet."""
        for name, began in outer.before.items():
            then = inner.before[name]
            if then is began is None or (then is not None and began is not None and torch.equal(then, began)):
                outer.before[name] = inner.after[name]

    def _is_optimized(self, leaf: Tensor) -> bool:
        """True where an optimizer has it, whose step ends the iteration."""
        return any(p is leaf for o in self.optimizers for group in o.param_groups for p in group["params"])

    def _begin(self, outputs: Any, accumulates: bool) -> Run:
        moved = self._weights and any(
            not torch.equal(self._weights[name], p.detach())
            for name, p in self.tensors.items()
            if name in self._weights and self._weights[name].shape == p.shape and not self._is_optimized(p)
        )
        if (self._stepped or moved) and not self._open and not self._steps:
            self.iteration, self._stepped = self.iteration + 1, False
        number = 1 + sum(run.iteration == self.iteration for run in self.runs)
        run = Run(self.iteration, number, accumulates)
        run.before, run.nested = self.grads(), bool(self._open)
        edges = walk(outputs)
        run.edges = {name: sum(leaf is p for leaf in edges) for name, p in self.tensors.items()}
        self.runs.append(run)
        return run

    def reach(self, index: int, leaf: Tensor, grad: Tensor) -> None:
        """A gradient reached a copy of a leaf."""
        for name, p in self.tensors.items():
            if p is leaf and self._open:
                self._open[-1].reached.append((index, name, grad.detach().clone()))

    def before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if not _moves_leaves(optimizer):
            return
        self._steps += 1
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        if self._steps == 1 and self._stepped and closure is not None:
            self.iteration, self._stepped = self.iteration + 1, False
        mine = {id(p) for group in optimizer.param_groups for p in group["params"]}
        own = {name for name, p in self.tensors.items() if id(p) in mine}
        if self._steps == 1 and closure is None:
            self.read.setdefault(self.iteration, {}).update({n: g for n, g in self.grads().items() if n in own})
        if self._steps == 1:
            self._before = {name: weight for name, weight in self.weights().items() if name in own}

    def after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if not _moves_leaves(optimizer):
            return
        self._steps -= 1
        self._stepped = not self._steps
        self._weights = self.weights()
        if not self._steps:
            for name, before in self._before.items():
                self.stepped[self.iteration, name] = before, self._weights[name]


def _moves_leaves(optimizer: Optimizer) -> bool:
    return any(p.is_leaf for group in optimizer.param_groups for p in group["params"])


def _any(t: Tensor | None) -> bool:
    return t is not None and bool((t.to_dense() if t.is_sparse else t).any())


def walk(outputs: Any) -> list[Tensor]:
    """The leaf behind each edge into one, from the roots of a run."""
    stack = [t.grad_fn if isinstance(t, Tensor) else t.node for t in outputs]
    seen, leaves = set(), []
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        for target, _ in node.next_functions:
            if target is not None and hasattr(target, "variable"):
                leaves.append(target.variable)
            else:
                stack.append(target)
    return leaves


class _Copies(TorchFunctionMode):
    """Puts a copy in the place of each leaf that an operation takes."""

    def __init__(self, plain: Plain) -> None:
        super().__init__()
        self._plain, self._made = plain, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        means_it = getattr(func, "__name__", "") in _MEAN_THE_LEAF or getattr(func, "__module__", "") == "torch.nn.init"
        if torch.is_grad_enabled() and not means_it:
            args, kwargs = self._copied(args), self._copied(kwargs)
        return func(*args, **(kwargs or {}))

    def _copied(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self._copy(value) if value.requires_grad and value.is_leaf else value
        if type(value) in (list, tuple):
            return type(value)([self._copied(v) for v in value])
        if type(value) is dict:
            return {key: self._copied(v) for key, v in value.items()}
        return value

    def _copy(self, leaf: Tensor) -> Tensor:
        copy, index = leaf.clone(), self._made
        self._made += 1
        copy.register_hook(lambda grad: self._plain.reach(index, leaf, grad))
        return copy


@contextlib.contextmanager
def _observed(plain: Plain) -> Iterator[None]:
    original = torch.autograd._engine_run_backward
    torch.autograd._engine_run_backward = lambda *args, **kwargs: plain.engine(original, *args, **kwargs)
    init = Optimizer.__init__

    def made(self: Optimizer, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        plain.optimizers.append(self)

    Optimizer.__init__ = made
    hooks = register_optimizer_step_pre_hook(plain.before_step), register_optimizer_step_post_hook(plain.after_step)
    try:
        yield
    finally:
        torch.autograd._engine_run_backward, Optimizer.__init__ = original, init
        plain.optimizers.clear()
        for hook in hooks:
            hook.remove()


def run_plain(program: Program, copies: bool = False) -> Plain:
    """Run a program; copies: with a copy of each leaf at each use."""
    plain = Plain()
    torch.manual_seed(0)

    def look(model: Any = None, /, **tensors: Tensor) -> None:
        plain.look(model, **tensors)

    plain.mode = _Copies(plain) if copies else None
    with _observed(plain), plain.mode or contextlib.nullcontext():
        program(look)
    plain.final = plain.weights()
    return plain
