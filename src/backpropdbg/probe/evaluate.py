"""Evaluate a user's expression at a stop without changing the program: no gradients, no hooks, same random state."""

import math
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType
from typing import TypeVar

import torch

from backpropdbg.errors import CommandError
from backpropdbg.hurry import GivenUp, Later
from backpropdbg.probe.expression import Expression, read
from backpropdbg.probe.frames import locals_of, user_frame
from backpropdbg.probe.hooks import Probe
from backpropdbg.probe.tensors import HeldTensor

_LONGEST = 100_000
_NUMBERS = {int, float, bool, str, type(None)}
_PLAIN = {torch.Tensor, torch.nn.Parameter, *_NUMBERS}
_AS_IT_IS = nullcontext()
T = TypeVar("T")


@contextmanager
def _torch_as_it_was() -> Iterator[None]:
    """Afterwards torch's random state is put back."""
    state = torch.default_generator.get_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    try:
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


def _keeper(found: Expression, scope: Mapping[str, object]) -> AbstractContextManager[None]:
    """What keeps the program as it is while an expression is evaluated; much of it takes longer than the expression."""
    kinds = {type(value) for value in scope.values() if value is not math and not (value is torch and found.still)}
    if found.indirect or found.private or not (kinds <= _PLAIN and scope.keys() >= found.outside):
        return _all_as_it_was()
    return _AS_IT_IS if found.still else _torch_as_it_was()


def _one_line(error: BaseException) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__


def _itself(value: object, text: str) -> object:
    return value


def _truth(value: object, text: str) -> bool:
    """bool(value), with an error of one line where it has none."""
    try:
        return bool(value)
    except BaseException as e:
        raise CommandError(f"{text} is neither true nor false: {_one_line(e)}") from None


class Evaluator:
    """Expressions in the stopped thread; see DESIGN section 6 for the names."""

    def __init__(self, probe: Probe) -> None:
        self._probe, self._inert = probe, probe.inert()

    def evaluate(self, text: str, names: Mapping[str, object], frame: FrameType | None = None) -> object:
        """Return the value of an expression. Raises CommandError with one line where it can't.

        Args:
            names: ours, which win. frame: the user's, whose variables come next; None for the innermost.
        """
        return self._evaluate(text, names, frame, _itself)

    def holds(self, text: str, names: Mapping[str, object], frame: FrameType | None = None) -> bool:
        """Return whether an expression is true. Raises CommandError with one line where it can't."""
        return self._evaluate(text, names, frame, _truth)

    def _evaluate(
        self, text: str, names: Mapping[str, object], frame: FrameType | None, made: Callable[[object, str], T]
    ) -> T:
        """What is made of the value of an expression."""
        found = read(text)
        try:
            scope = self._scope(found, names, frame)
            kinds = {*map(type, scope.values())}
            if found.simple and kinds <= _NUMBERS:  # then it reaches nothing else
                return made(eval(found.code, scope), found.text)
            before = torch.is_grad_enabled()
            torch._C._set_grad_enabled(False)  # as `torch.no_grad` does, which takes longer
            try:
                with torch._C.DisableTorchFunction():
                    if found.still and kinds <= _PLAIN and scope.keys() >= found.outside:  # only torch's operations
                        return made(eval(found.code, scope), found.text)
                    with self._inert, _keeper(found, scope):
                        return made(eval(found.code, scope), found.text)
            finally:
                torch._C._set_grad_enabled(before)
        except (CommandError, Later, GivenUp):
            raise
        except NameError as e:
            known = ", ".join(names)
            raise CommandError(f"{found.text}: {_one_line(e)}; names: {known}, and the program's own") from None
        except BaseException as e:  # also SystemExit: nothing that is typed may end the program
            absent = [name for name in names if name in found.names and names[name] is None]
            if absent and "NoneType" in str(e):
                verb = "is" if len(absent) == 1 else "are"
                raise CommandError(f"{found.text}: {' and '.join(absent)} {verb} None at this stop") from None
            raise CommandError(f"{found.text}: {_one_line(e)}") from None

    def _scope(self, found: Expression, names: Mapping[str, object], frame: FrameType | None) -> dict[str, object]:
        """What its names stand for: ours, then the program's.

        Of our tensors copies where the expression may write to one: they are the record, or the engine's.
        """
        scope: dict[str, object] = {}
        for name in names if found.indirect else found.names:
            try:
                value = names[name]
            except KeyError:
                continue
            if isinstance(value, HeldTensor):
                value = value.value
            if found.writes and isinstance(value, torch.Tensor):
                value = value.detach().clone()
            scope[name] = value
        return (
            scope if len(scope) == len(found.names) and not found.indirect else self._with_theirs(found, scope, frame)
        )

    def _with_theirs(self, found: Expression, ours: dict[str, object], frame: FrameType | None) -> dict[str, object]:
        """The same with what is the program's: its model and so on, and the variables of a frame."""
        always = {"model": self._probe.model, "optimizer": self._probe.optimizer, "torch": torch, "math": math}
        ours |= always if found.indirect else {name: always[name] for name in always if name in found.names}
        absent = [name for name in found.names if name not in ours]
        frame = frame or (user_frame() if absent or found.indirect else None)
        if frame is None:
            return ours
        theirs = locals_of(frame)
        if found.indirect:
            return {**frame.f_globals, **theirs, **ours, "locals": theirs}
        for name in absent:
            place = theirs if name in theirs else frame.f_globals
            if name in place:
                ours[name] = place[name]
        return ours

    def show(self, value: object) -> str:
        """Return the value as text."""
        with torch.no_grad(), self._inert, torch._C.DisableTorchFunction(), _all_as_it_was():
            try:
                text = repr(value.detach() if isinstance(value, torch.Tensor) else value)
            except BaseException as e:
                raise CommandError(f"this value can't be shown: {_one_line(e)}") from None
        if len(text) > _LONGEST:
            return f"{text[:_LONGEST]}… ({len(text)} characters in all)"
        return text

    def truth(self, value: object, text: str) -> bool:
        """Return bool(value), with an error of one line where it has none."""
        with self._inert, torch._C.DisableTorchFunction():
            return _truth(value, text.strip())
