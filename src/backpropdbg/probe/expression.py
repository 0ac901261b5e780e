"""What can be known of an expression before it is evaluated: what it names, and whether it may change anything."""

import ast
from functools import lru_cache
from types import CodeType
from typing import NamedTuple

from backpropdbg.errors import CommandError

# Through these an expression reaches variables that it does not spell.
_INDIRECT = {"eval", "exec", "locals", "globals", "vars", "dir"}
_PURE = {"abs", "all", "any", "bool", "float", "int", "isinstance", "len", "list", "max", "min", "range", "repr"}
_PURE |= {"round", "set", "sorted", "str", "sum", "tuple", "type", "zip"}
_ALIASES = {"numpy", "data_ptr", "storage", "untyped_storage", "apply", "map"}
# What of a tensor, of torch and of math draws no random number.
_STILL = {"abs", "all", "allclose", "amax", "amin", "any", "argmax", "argmin", "bool", "ceil", "clamp", "count_nonzero"}
_STILL |= {"cpu", "detach", "device", "dim", "dist", "dot", "double", "dtype", "equal", "exp", "fabs", "flatten"}
_STILL |= {"float", "floor", "grad", "inf", "int", "isclose", "isfinite", "isinf", "isnan", "item", "linalg", "log"}
_STILL |= {"log10", "log2", "max", "mean", "median", "min", "nan", "ndim", "nonzero", "norm", "numel", "pi", "pow"}
_STILL |= {"prod", "quantile", "requires_grad", "reshape", "shape", "sign", "size", "sqrt", "square", "std", "sum"}
_STILL |= {"t", "T", "tolist", "topk", "trace", "unique", "var", "vector_norm", "view"}


class Expression(NamedTuple):
    """One that was read.

    Attributes:
        text: without spaces around it.
        names: that it spells. outside: those of them that are neither bound in it nor functions that change nothing.
        indirect: it may reach others. private: it reaches for the inside of a value.
        writes: it may change something in place.
        simple: nothing but operators. still: where its values are tensors and numbers, it draws no random number.
    """

    text: str
    code: CodeType
    names: tuple[str, ...]
    outside: frozenset[str]
    indirect: bool
    private: bool
    writes: bool
    simple: bool
    still: bool


@lru_cache(maxsize=256)
def read(text: str) -> Expression:
    """Read an expression: a condition is the same at each of thousands of stops. Raises CommandError."""
    text = text.strip()
    try:
        tree = ast.parse(text, "<expression>", "eval")
        code = compile(tree, "<expression>", "eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as e:
        raise CommandError(f"{text!r} is no expression: {getattr(e, 'msg', e)}") from None
    nodes = list(ast.walk(tree))
    named = [node for node in nodes if isinstance(node, ast.Name)]
    names = {node.id for node in named}
    bound = {node.id for node in named if isinstance(node.ctx, ast.Store)}
    attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    called = [node.func for node in nodes if isinstance(node, ast.Call)]
    pure = all(isinstance(f, ast.Attribute) or (isinstance(f, ast.Name) and f.id in _PURE) for f in called)
    return Expression(
        text,
        code,
        tuple(sorted(names)),
        frozenset(names - bound - _PURE),
        indirect=not names.isdisjoint(_INDIRECT),
        private=any(name.startswith("_") for name in attributes),
        writes=_may_write(nodes),
        simple=not called and not attributes,
        still=pure and attributes <= _STILL,
    )


def _may_write(nodes: list[ast.AST]) -> bool:
    """True unless it is plain that an expression changes nothing in place: methods of torch without `_` at the end, no
    `out=`, and no function of the program's own.
    """
    for node in nodes:
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
