"""Tensors that are computed from parameters, and followed because somebody asks for them by name.

`layer.weight` where that is parametrized or masked, `weight.bfloat16` for the copy that autocast makes, `w` for a
variable of the program's. Each is known by the autograd node that made it and the output of it, so that nothing is kept
alive. Where there are several of one name in an iteration, the second one is called `layer.weight@2`.
"""

import sys
import weakref
from collections.abc import Iterable
from types import CodeType, FunctionType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from backpropdbg.events import Held
from backpropdbg.probe.frames import locals_of, user_frame, user_stack
from backpropdbg.probe.holders import attributes, is_computed
from backpropdbg.probe.tensors import HeldTensor
from backpropdbg.probe.uses import Edge, edge, leaves_below, node_name, node_number
from backpropdbg.probe.watch import Watch

_Accumulate = torch._C._functions.AccumulateGrad  # type: ignore[attr-defined]
_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32, "float64": torch.float64}
_GLOB = set("*?[")


class Mark(NamedTuple):
    """A tensor that was seen: the node that made it, which output of it, its value then."""

    node: str
    output: int
    value: Held | None
    tensor: weakref.ref[Tensor]


class Found(NamedTuple):
    """One of them in the graph of a backward, with the leaves that its sum flows on to.

    The other fields are those of `events.Followed`.
    """

    name: str
    node: Any
    output: int
    edges: list[Edge]
    leaves: list[Tensor]
    value: Held | None
    many: int
    mixed: bool
    retained: bool


class Computed:
    """What was asked for, and the tensors of these names that this iteration's forward has made.

    Attributes:
        active: something is asked for; else nothing is looked at. variables: those that are variables of the program's.
    """

    def __init__(self, watch: Watch, globs: Iterable[str]) -> None:
        self._watch = watch
        self.active = False
        self._asked: dict[str, bool] = {}  # by name: whether it is followed in this iteration
        self.variables: tuple[str, ...] = ()
        self._marks: dict[str, dict[tuple[int, int], Mark]] = {}
        self.track(globs)

    def track(self, globs: Iterable[str]) -> None:
        """Follow what these name without a wildcard, where that turns out to be no parameter and no module."""
        self._asked = {text: self._watch.fresh for text in globs if not _GLOB & set(text)}
        self._marks = {}
        self.settle()

    def settle(self) -> None:
        """Names have become known: keep what may be computed."""
        names = self._watch.names
        paths = set(names.modules())
        asked = {names.without_variable(text): followed for text, followed in self._asked.items()}
        self._asked = {
            text: followed
            for text, followed in asked.items()
            if names.resolve(text) is None and text not in paths and (not paths or self._may_be(text))
        }
        self.variables = tuple([text for text, followed in self._asked.items() if followed and text.isidentifier()])
        self.active = bool(self._asked)

    def ask(self, text: str) -> tuple[str, bool] | None:
        """Follow what a name means; None where it means nothing that is computed.

        Else return the name, and whether it is followed in this iteration: not where its forward has begun.
        """
        text = self._watch.names.without_variable(text)
        if text not in self._asked:
            if not self._may_be(text):
                return None
            self._asked[text] = self._watch.fresh
            self.settle()
        return text, self._asked[text]

    def names(self) -> tuple[str, ...]:
        """What is followed: as it was asked for, then the further ones of the same name."""
        if not self.active:
            return ()
        many = {text: max(1, len(self._marks.get(text, ()))) for text in self._asked}
        return tuple([_numbered(text, n) for text in self._asked for n in range(many[text])])

    def new_iteration(self) -> None:
        """Begin anew, with all that was asked for."""
        if self.active:
            self._marks = {}
            self._asked = dict.fromkeys(self._asked, True)
            self.settle()

    def _may_be(self, text: str) -> bool:
        owner, _, last = text.rpartition(".")
        if last in _DTYPES and self._watch.names.resolve(owner) is not None:
            return True
        for module in self._watch.names.modules_at(owner):
            weights = attributes(module).get("_modules", {}).get("parametrizations", {})
            sets = any(last in code.co_names for code in _codes_of(type(module)))  # perhaps it will
            if last in weights or is_computed(attributes(module).get(last)) or sets:
                return True
        codes = [frame.f_code for frame in user_stack()]
        codes += [code for kind in {type(module) for module in self._watch.names.living()} for code in _codes_of(kind)]
        return text.isidentifier() and any(text in _variables(code) for code in codes)

    # -- the forward -----------------------------------------------------------------------------

    def after_call(self, module: torch.nn.Module, output: Any) -> None:
        """A module was called: it may hold such a tensor, or be what computes one."""
        path = self._watch.names.module_path(module)
        if path is None:
            return
        if isinstance(module, parametrize.ParametrizationList):
            text = path.replace("parametrizations.", "", 1) if path.startswith("parametrizations.") else ""
            self._see(text or path.replace(".parametrizations.", ".", 1), output)
            return
        for text in self._asked:
            owner, _, last = text.rpartition(".")
            if owner == path:
                self._see(text, attributes(module).get(last))

    def look_at_variables(self) -> None:
        """An operation is about to run: see what the variables that are asked for hold."""
        frame = user_frame(sys._getframe(2))
        if frame is None:
            return
        theirs = locals_of(frame)
        for text in self.variables:
            self._see(text, theirs.get(text, frame.f_globals.get(text)))

    def _see(self, text: str, t: Any) -> None:
        if not self._asked.get(text) or not is_computed(t):
            return
        node, output, marks = t.grad_fn, t.output_nr, self._marks.setdefault(text, {})
        key = node_number(node), output
        if key in marks and marks[key].node == node_name(node):
            return
        for other, mark in list(marks.items()):
            if mark.tensor() is t:  # it was written in place: now another node has made it
                del marks[other]
        value = self._watch.keep(text, t) if self._watch.policy.snapshots else None
        marks[key] = Mark(node_name(node), output, value, weakref.ref(t))

    # -- the backward ----------------------------------------------------------------------------

    def find(self, roots: Iterable[Tensor]) -> list[Found]:
        """Those in the graph that the roots depend on, in forward order."""
        for text in self._asked:
            owner, _, last = text.rpartition(".")
            for module in self._watch.names.modules_at(owner):
                self._see(text, attributes(module).get(last))
        first = [t.grad_fn for t in roots if isinstance(t, Tensor) and t.grad_fn is not None]
        consumers = _consumers(first)
        found = []
        for node in sorted(consumers, key=node_number):
            for text, place, output, mark in self._meant(node):
                using = [(user, slot) for user, slot, nr in consumers[node] if nr == output]
                if not using and node not in first:
                    continue
                using.sort(key=lambda edge: (node_number(edge[0]), edge[1]))
                leaves = leaves_below([node])
                if not leaves:
                    continue
                shown = mark.tensor() if mark is not None else None
                value = mark.value if mark is not None else HeldTensor(leaves[0].detach().to(_dtype(node)))
                name, count = _numbered(text, place), len(self._marks.get(text, ()))
                hooked = node in first or bool(shown is not None and shown._backward_hooks)
                edges = [edge(user, slot, leaves[0]) for user, slot in using]
                retained = shown is not None and shown.retains_grad
                found.append(Found(name, node, output, edges, leaves, value, count, hooked, retained))
        return found

    def _meant(self, node: Any) -> Iterable[tuple[str, int, int, Mark | None]]:
        """The names that a node's outputs have: what was asked for, the how-manieth of it, which output."""
        number, kind = node_number(node), node_name(node)
        for text, marks in self._marks.items():
            for place, ((made, output), mark) in enumerate(sorted(marks.items())):
                if made == number and mark.node == kind:
                    yield text, place, output, mark
        if kind.startswith("ToCopyBackward") and type(node.next_functions[0][0]) is _Accumulate:
            leaf = node.next_functions[0][0].variable
            text = f"{self._watch.names.of(leaf)}.{str(_dtype(node)).removeprefix('torch.')}"
            if self._asked.get(text):
                yield text, 0, 0, None


def _codes_of(kind: type) -> list[CodeType]:
    """The methods of a module's class, but for torch's own."""
    theirs = [base for base in kind.__mro__ if not base.__module__.startswith("torch.")]
    return [f.__code__ for base in theirs for f in vars(base).values() if isinstance(f, FunctionType)]


def _variables(code: CodeType) -> set[str]:
    """The variables of a function, or of a script, and of all functions in it."""
    found = {*code.co_varnames, *code.co_cellvars, *(code.co_names if code.co_name == "<module>" else ())}
    return found.union(*(_variables(inner) for inner in code.co_consts if isinstance(inner, CodeType)))


def _numbered(text: str, place: int) -> str:
    return f"{text}@{place + 1}" if place else text


def _dtype(node: Any) -> torch.dtype:
    dtype: torch.dtype = node._input_metadata[0].dtype
    return dtype


def _consumers(roots: Iterable[Any]) -> dict[Any, list[tuple[Any, int, int]]]:
    """By each node of a graph, who takes which of its outputs: (node, slot, output)."""
    found: dict[Any, list[tuple[Any, int, int]]] = {node: [] for node in roots}
    stack = list(found)
    while stack:
        node = stack.pop()
        for slot, (target, output) in enumerate(node.next_functions):
            if target is None or type(target) is _Accumulate:
                continue
            if target not in found:
                found[target] = []
                stack.append(target)
            found[target].append((node, slot, output))
    return found
