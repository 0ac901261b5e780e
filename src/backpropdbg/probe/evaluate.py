"""Evaluate a user's expression at a stop without changing the program: no gradients, no hooks, same random state."""

import ast
import math
import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch

from backpropdbg.errors import CommandError
from backpropdbg.probe.frames import locals_of, user_frame
from backpropdbg.probe.hooks import Probe
from backpropdbg.probe.tensors import HeldTensor


@contextmanager
def _random_state() -> Iterator[None]:
    numpy = sys.modules.get("numpy")
    states = random.getstate(), torch.random.get_rng_state(), numpy.random.get_state() if numpy else None
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        random.setstate(states[0])
        torch.random.set_rng_state(states[1])
        if numpy:
            numpy.random.set_state(states[2])
        if cuda:
            torch.cuda.set_rng_state_all(cuda)


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


class Evaluator:
    """Expressions in the stopped thread; see DESIGN section 6 for the names."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe

    def evaluate(self, text: str, names: Mapping[str, object], frame: FrameType | None = None) -> object:
        """Return the value of an expression. Raises CommandError with one line where it can't.

        Args:
            names: ours, which win. frame: the user's, whose variables come next; None for the innermost.
        """
        try:
            tree = ast.parse(text.strip(), "<expression>", "eval")
            code = compile(tree, "<expression>", "eval")
        except (SyntaxError, ValueError, MemoryError, RecursionError) as e:
            raise CommandError(f"{text.strip()!r} is no expression: {getattr(e, 'msg', e)}") from None
        ours = self._ours(names, tree)
        ours |= {"model": self._probe.model, "optimizer": self._probe.optimizer, "torch": torch, "math": math}
        frame = frame or user_frame()
        theirs: dict[str, Any] = locals_of(frame) if frame is not None else {}
        scope = {**(frame.f_globals if frame is not None else {}), **theirs, **ours, "locals": theirs}
        try:
            with self._probe.inert(), torch._C.DisableTorchFunction(), torch.no_grad(), _random_state():
                return eval(code, scope)
        except NameError as e:
            known = ", ".join(name for name in ours if name not in ("model", "optimizer", "torch", "math"))
            raise CommandError(f"{text.strip()}: {_one_line(e)}; names: {known}, and the program's own") from None
        except BaseException as e:  # also SystemExit: nothing that is typed may end the program
            used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
            absent = [name for name in names if name in used and names[name] is None]
            if absent and "NoneType" in str(e):
                verb = "is" if len(absent) == 1 else "are"
                raise CommandError(f"{text.strip()}: {' and '.join(absent)} {verb} None at this stop") from None
            raise CommandError(f"{text.strip()}: {_one_line(e)}") from None

    @staticmethod
    def _ours(names: Mapping[str, object], tree: ast.AST) -> dict[str, object]:
        """Our tensors by name; copies where the expression may write to one: they are the record, or the engine's."""
        writes = _may_write(tree)
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        found: dict[str, object] = {}
        for name, value in names.items():
            tensor = value.value if isinstance(value, HeldTensor) else value
            copied = writes and name in used and isinstance(tensor, torch.Tensor)
            found[name] = tensor.detach().clone() if copied and isinstance(tensor, torch.Tensor) else tensor
        return found

    def show(self, value: object) -> str:
        """Return the value as text."""
        with self._probe.inert(), torch._C.DisableTorchFunction(), torch.no_grad(), _random_state():
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
