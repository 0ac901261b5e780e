"""The program under test, as the debugger's core may see it: what it asks, the probe answers."""

from collections.abc import Mapping, Sequence
from traceback import walk_tb
from types import FrameType
from typing import Any

from backpropdbg.events import Held


class Beside:
    """One program and its probe."""

    def __init__(self, probe: Any) -> None:
        from backpropdbg.probe.evaluate import Evaluator

        self._probe, self._evaluator = probe, Evaluator(probe)
        self._left: list[FrameType] = []  # by the exception that ended the program, innermost first
        self._innermost: FrameType | None = None  # of these

    def over(self, error: BaseException) -> None:
        """The program raised: from now on its frames are those that the exception left."""
        from backpropdbg.probe.frames import is_users

        frames = [frame for frame, _ in walk_tb(error.__traceback__) if is_users(frame.f_code.co_filename)]
        self._left = frames[::-1]
        self._innermost = self._left[0] if frames else None

    def parameters(self) -> tuple[str, ...]:
        names: tuple[str, ...] = self._probe.names.all()
        return (*names, *self._probe.computed.names())

    def named(self) -> dict[str, tuple[str, ...]]:
        names: dict[str, tuple[str, ...]] = self._probe.names.named()
        if self._probe.computed.active:
            names |= dict.fromkeys(self._probe.computed.names(), ())
        return names

    def modules(self) -> tuple[str, ...]:
        names: tuple[str, ...] = self._probe.names.modules()
        return names

    def aliases(self, name: str) -> tuple[str, ...]:
        names: tuple[str, ...] = self._probe.names.aliases(name)
        return names

    def resolve(self, text: str) -> str | None:
        name: str | None = self._probe.names.resolve(text)
        return name

    def meet(self, text: str) -> bool:
        met: bool = self._probe.names.meet(text)
        return met

    def follow(self, text: str) -> tuple[str, bool] | None:
        found: tuple[str, bool] | None = self._probe.computed.ask(text)
        return found

    def frozen(self) -> tuple[str, ...]:
        names: tuple[str, ...] = self._probe.names.frozen()
        return names

    def evaluate(self, text: str, names: Mapping[str, object], frame: FrameType | None = None) -> object:
        return self._evaluator.evaluate(text, names, frame or self._innermost)

    def holds(self, text: str, names: Mapping[str, object]) -> bool:
        return self._evaluator.holds(text, names, self._innermost)

    def show(self, value: object) -> str:
        return self._evaluator.show(value)

    def truth(self, value: object, text: str) -> bool:
        return self._evaluator.truth(value, text)

    def remember(self, value: Any) -> object:
        from backpropdbg.probe.holding import copy

        if isinstance(value, (list, tuple)):
            return [self.remember(part) for part in value]
        if isinstance(value, dict):
            return {key: self.remember(part) for key, part in value.items()}
        return copy(value) if hasattr(value, "untyped_storage") else value

    def same(self, remembered: Any, value: Any) -> bool:
        from backpropdbg.probe.tensors import HeldTensor

        if isinstance(value, (list, tuple)) and isinstance(remembered, list):
            return len(value) == len(remembered) and all(map(self.same, remembered, value))
        if isinstance(value, dict) and isinstance(remembered, dict):
            return value.keys() == remembered.keys() and all(self.same(remembered[k], value[k]) for k in value)
        if isinstance(remembered, HeldTensor):
            return hasattr(value, "untyped_storage") and remembered.same_bits(HeldTensor(value))
        if hasattr(value, "untyped_storage"):
            return False
        try:
            with self._probe.inert():
                return bool(value is remembered or value == remembered or (value != value and remembered != remembered))
        except Exception:  # of the program's own `__eq__`
            return False

    def stack(self) -> list[Any]:
        from backpropdbg.probe.frames import user_stack

        return self._left or user_stack()

    def optimizer(self) -> str:
        from backpropdbg.probe.optimizers import summary

        return summary(self._probe.optimizer) if self._probe.optimizer is not None else ""

    def track(self, globs: Sequence[str]) -> None:
        self._probe.track(globs)

    def want_nodes(self, wanted: bool) -> None:
        self._probe.want_nodes(wanted)

    def nodes(self, iteration: int, run: int) -> bytes:
        found: bytes = self._probe.backward.reading.late(iteration, run)
        return found

    def edit(self, value: object) -> Held:
        held: Held = self._probe.edit(value)
        return held

    def detach(self) -> None:
        self._probe.detach()
