"""Where our hooks keep quiet; and what makes a method the body of one, whose failures are told, not raised."""

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, TypeVar, cast

import torch

if TYPE_CHECKING:
    from backpropdbg.probe.watch import Watch

P = ParamSpec("P")
R = TypeVar("R")

is_compiling = torch.compiler.is_compiling
transforms = torch._C._functorch.get_interpreter_stack
_VMAP = torch._C._functorch.TransformType.Vmap


def transforming() -> bool:
    """True inside of grad, jvp and the like of torch.func: leaves are wrappers there, which are no parameters."""
    stack = transforms()
    return stack is not None and any(transform.key() != _VMAP for transform in stack)


# Around our own look at tensors: else each attribute would pass through our own and the user's function modes.
unseen = torch._C.DisableTorchFunction


class _Quiet(threading.local):
    """True where this thread is inside of a sink, of whatever probe: what runs there is nobody's program."""

    off = False


class _Inert:
    """Lets code run unseen by any probe, in whatever thread; counts how often that was entered."""

    count = 0

    def __enter__(self) -> None:
        self.count += 1

    def __exit__(self, *failure: object) -> None:
        self.count -= 1


quieted, inert = _Quiet(), _Inert()


class Watching(Protocol):
    """Whoever has hooks."""

    watch: "Watch"


W = TypeVar("W", bound=Watching)


def guarded(method: Callable[Concatenate[W, P], R]) -> Callable[Concatenate[W, P], R | None]:
    """Make a method the body of a hook: unseen by function modes, and its failures are told, not raised."""

    @functools.wraps(method)
    def safe(self: W, *args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            with unseen():
                return method(self, *args, **kwargs)
        except Exception as error:
            self.watch.report(error)
            return None

    return cast(Callable[Concatenate[W, P], R | None], safe)


@contextmanager
def quiet() -> Iterator[None]:
    """Let our own look at tensors go unseen, in this thread."""
    before, quieted.off = quieted.off, True
    try:
        yield
    finally:
        quieted.off = before
