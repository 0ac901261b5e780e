"""The bare uses: operations that take a parameter outside of any module of torch's."""

import warnings
from types import MethodWrapperType
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from backpropdbg.probe.forward import Forward, elsewhere, tensors_in
from backpropdbg.probe.here import sequence
from backpropdbg.probe.unseen import is_compiling

_GRAD: Any = vars(torch._C.TensorBase)["grad"].__get__


def _grad_of(t: Tensor) -> Any:
    """`t.grad`; torch's warning about a tensor that is no leaf names the user's line, not ours."""
    if t.is_leaf or t.retains_grad:
        return _GRAD(t)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        grad = _GRAD(t)
    for warning in caught:
        warnings.warn(warning.message, stacklevel=3)
    return grad


class BareUses(TorchFunctionMode):
    """Sees operations that take a parameter outside of a library module's own call. idle: no more."""

    idle = False

    def __init__(self, forward: Forward) -> None:
        super().__init__()
        self._forward = forward

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func == _GRAD:
            return _grad_of(args[0])
        kwargs = kwargs or {}
        taken = self._taken(func, args, kwargs) if torch.is_grad_enabled() else []  # an optimizer's have none
        low = sequence() if taken else 0
        result = func(*args, **kwargs)  # the only call: torch.jit.trace compares the lines that operations come from
        if taken and not (type(func) is MethodWrapperType and _no_operation(result)):
            self._forward.bare_use(taken, low, result)
        return result

    def _taken(self, func: Any, args: Any, kwargs: Any) -> list[Tensor]:
        """The leaves that an operation takes, where anybody wants to know."""
        if is_compiling():
            return []
        forward = self._forward
        if self.idle or forward.watch.off or elsewhere():
            return []
        if forward.computed.variables:
            forward.see_variables()
        if forward.is_inside_library():
            return []
        if type(func) is MethodWrapperType:  # an attribute; some, such as `.T`, are operations
            return [t for t in args[:1] if t.requires_grad and t.is_leaf]
        found = tensors_in(args) + tensors_in(kwargs) if kwargs else tensors_in(args)
        return [t for t in found if t.requires_grad and t.is_leaf]


def _no_operation(result: Any) -> bool:
    """True for what an attribute such as `.grad` or `.shape` returned."""
    return not isinstance(result, Tensor) or result.grad_fn is None
