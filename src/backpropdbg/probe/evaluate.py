"""Evaluate a user's expression at a stop without changing the program: no gradients, no hooks, same random state."""

import ast
import math
import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from types import CodeType, FrameType
from typing import Any, NamedTuple

import torch

from backpropdbg.errors import CommandError
from backpropdbg.probe.frames import locals_of, user_frame
from backpropdbg.probe.hooks import Probe
from backpropdbg.probe.tensors import HeldTensor


@contextmanager
def _without_gradients() -> Iterator[None]:
    """As `torch.no_grad`, which takes longer."""
    before = torch.is_grad_enabled()
    torch._C._set_grad_enabled(False)
    try:
        yield
    finally:
        torch._C._set_grad_enabled(before)


@contextmanager
def _torch_as_it_was() -> Iterator[None]:
    """The same; afterwards torch's random state is put back."""
    state = torch.default_generator.get_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    try:
        with _without_gradients():
            yield
    finally:
        torch.default_generator.set_state(state)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)


@contextmanager
def _all_as_it_was() -> Iterator[None]:
    """The same; afterwards the random states of Python and of numpy are put back, too."""
    numpy = sys.modules.get("numpy")
    states = random.getstate(), numpy.random.get_state() if numpy else None
    try:
        with _torch_as_it_was():
            yield
    finally:
        random.setstate(states[0])
        if numpy:
            numpy.random.set_state(states[1])


def _one_line(error: BaseException) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__


_LONGEST = 100_000
_PURE = {"abs", "all", "any", "bool", "float", "int", "isinstance", "len", "list", "max", "min", "range", "repr"}
_PURE |= {"round", "set", "sorted", "str", "sum", "tuple", "type", "zip"}
_ALIASES = {"numpy", "data_ptr", "storage", "untyped_storage", "apply", "map"}


def _may_write(tree: ast.AST) -> bool:
    """True unless it is plain that an expression changes nothing in place: methods of torch without `_` at the end, no
    `out=`, and no function of the program's own.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if any(word.arg in ("out", None) for word in node.keywords):
                return True
            if isinstance(node.func, ast.Name) and node.func.id in _PURE:
                continue
            if not isinstance(node.func, ast.Attribute):
                return True
        if isinstance(node, ast.Attribute) and (node.attr.endswith("_") or node.attr in _ALIASES):
            return True
        if isinstance(node, (ast.Lambda, ast.NamedExpr)):
            return True
    return False


# Through these an expression reaches variables that it does not spell.
_INDIRECT = {"eval", "exec", "locals", "globals", "vars", "dir"}
_PLAIN = (torch.Tensor, torch.nn.Parameter, int, str, type(None))


class _Expression(NamedTuple):
    """What is known of an expression before it is evaluated.

    Attributes:
        names: that it spells. indirect: it may reach others. writes: it may change something in place.
        calls: it calls or reads something of a value. private: that is the inside of it.
    """

    code: CodeType
    names: frozenset[str]
    indirect: bool
    writes: bool
    calls: bool
    private: bool


@lru_cache(maxsize=256)
def _read(text: str) -> _Expression:
    """Read an expression: a condition is the same at each of thousands of stops. Raises CommandError."""
    try:
        tree = ast.parse(text, "<expression>", "eval")
        code = compile(tree, "<expression>", "eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as e:
        raise CommandError(f"{text!r} is no expression: {getattr(e, 'msg', e)}") from None
    nodes = list(ast.walk(tree))
    names = frozenset([node.id for node in nodes if isinstance(node, ast.Name)])
    calls = any(isinstance(node, (ast.Call, ast.Attribute)) for node in nodes)
    private = any(node.attr.startswith("_") for node in nodes if isinstance(node, ast.Attribute))
    return _Expression(code, names, not names.isdisjoint(_INDIRECT), _may_write(tree), calls, private)


class Evaluator:
    """Expressions in the stopped thread; see DESIGN section 6 for the names."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe

    def evaluate(self, text: str, names: Mapping[str, object], frame: FrameType | None = None) -> object:
        """Return the value of an expression. Raises CommandError with one line where it can't.

        Args:
            names: ours, which win. frame: the user's, whose variables come next; None for the innermost.
        """
        text = text.strip()
        read = _read(text)
        scope = self._ours(names, read)
        if not scope.keys() >= read.names or read.private or not all(type(value) in _PLAIN for value in scope.values()):
            scope, apart = self._theirs(frame or user_frame(), read, scope), _all_as_it_was
        else:  # it takes nothing but our tensors and numbers, so it runs no code of the program's
            apart = _torch_as_it_was if read.calls else _without_gradients
        try:
            with self._probe.inert(), torch._C.DisableTorchFunction(), apart():
                return eval(read.code, scope)
        except NameError as e:
            raise CommandError(f"{text}: {_one_line(e)}; names: {', '.join(names)}, and the program's own") from None
        except BaseException as e:  # also SystemExit: nothing that is typed may end the program
            absent = [name for name in names if name in read.names and names[name] is None]
            if absent and "NoneType" in str(e):
                verb = "is" if len(absent) == 1 else "are"
                raise CommandError(f"{text}: {' and '.join(absent)} {verb} None at this stop") from None
            raise CommandError(f"{text}: {_one_line(e)}") from None

    @staticmethod
    def _ours(names: Mapping[str, object], read: _Expression) -> dict[str, object]:
        """Our tensors by name; copies where the expression may write to one: they are the record, or the engine's."""
        found: dict[str, object] = {}
        for name in names if read.indirect else [name for name in read.names if name in names]:
            value = names[name]
            tensor = value.value if isinstance(value, HeldTensor) else value
            copied = read.writes and isinstance(tensor, torch.Tensor)
            found[name] = tensor.detach().clone() if copied and isinstance(tensor, torch.Tensor) else tensor
        return found

    def _theirs(self, frame: FrameType | None, read: _Expression, ours: dict[str, object]) -> dict[str, object]:
        """All that an expression may name: ours, then the variables of a frame of the program's."""
        ours |= {"model": self._probe.model, "optimizer": self._probe.optimizer, "torch": torch, "math": math}
        theirs: dict[str, Any] = locals_of(frame) if frame is not None else {}
        return {**(frame.f_globals if frame is not None else {}), **theirs, **ours, "locals": theirs}

    def show(self, value: object) -> str:
        """Return the value as text."""
        with self._probe.inert(), torch._C.DisableTorchFunction(), _all_as_it_was():
            try:
                text = repr(value.detach() if isinstance(value, torch.Tensor) else value)
            except BaseException as e:
                raise CommandError(f"this value can't be shown: {_one_line(e)}") from None
        if len(text) > _LONGEST:
            return f"{text[:_LONGEST]}… ({len(text)} characters in all)"
        return text

    def truth(self, value: object, text: str) -> bool:
        """Return bool(value), with an error of one line where it has none."""
        try:
            with self._probe.inert(), torch._C.DisableTorchFunction():
                return bool(value)
        except BaseException as e:
            raise CommandError(f"{text.strip()} is neither true nor false: {_one_line(e)}") from None
