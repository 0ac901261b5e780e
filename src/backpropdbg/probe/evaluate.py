"""Evaluate a user's expression at a stop without changing the program: no gradients, no hooks, same random state."""

import math
import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from backpropdbg.errors import CommandError
from backpropdbg.events import Held
from backpropdbg.probe.frames import user_frame
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


class Evaluator:
    """Expressions in the stopped thread; see DESIGN section 6 for the names."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe

    def evaluate(self, text: str, names: Mapping[str, object]) -> object:
        """Return the value of an expression. Raises CommandError with one line where it can't."""
        ours = {k: v.value if isinstance(v, HeldTensor) else v for k, v in names.items()}
        ours |= {"model": self._probe.model, "optimizer": self._probe.optimizer, "torch": torch, "math": math}
        frame = user_frame()
        theirs: dict[str, Any] = dict(frame.f_locals) if frame is not None else {}
        scope = {**(frame.f_globals if frame is not None else {}), **theirs, **ours, "locals": theirs}
        try:
            with self._probe.inert(), torch._C.DisableTorchFunction(), torch.no_grad(), _random_state():
                return eval(compile(text.strip(), "<expression>", "eval"), scope)
        except SyntaxError as e:
            raise CommandError(f"{text.strip()!r} is no expression: {e.msg}") from None
        except Exception as e:
            raise CommandError(f"{text.strip()}: {type(e).__name__}: {e}") from None

    def show(self, value: object) -> str:
        """Return the value as text."""
        with self._probe.inert(), torch._C.DisableTorchFunction(), torch.no_grad(), _random_state():
            try:
                return repr(value.detach() if isinstance(value, torch.Tensor) else value)
            except Exception as e:
                raise CommandError(f"this value can't be shown: {type(e).__name__}: {e}") from None

    def truth(self, value: object) -> bool:
        """Return bool(value), with an error of one line where it has none."""
        try:
            with self._probe.inert(), torch._C.DisableTorchFunction():
                return bool(value)
        except Exception as e:
            raise CommandError(f"the condition is neither true nor false: {e}") from None

    def raw(self, held: Held | None) -> object:
        """Return the tensor behind a handle."""
        return None if held is None else held.value
