"""Recordings without torch: tensors are bytes, and what "trains" is a loop that only makes events."""

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from backpropdbg.events import (
    Accumulated,
    BackwardFinished,
    BackwardStarted,
    BackwardUse,
    Event,
    ForwardUse,
    IterationStarted,
    Location,
    LossComputed,
    StepFinished,
    StepStarted,
    Use,
)
from backpropdbg.held import Facts, Form, Held, Packed, Stored
from backpropdbg.keep import EVERYTHING, Keep
from backpropdbg.recipes import Recipe
from backpropdbg.trace.format import About, Known
from backpropdbg.trace.opening import Opened
from backpropdbg.trace.writer import Writer

NAME = "cell.weight"
USES = 3
EVENTS = 2 * USES + 7  # of one iteration
TENSORS = USES + 3  # that are new in one iteration


class Plain(Held):
    """A vector of float32, as bytes."""

    def __init__(self, values: list[float]) -> None:
        self.values: list[float] | None = values
        self.size = len(values)
        self.stored = self.sum_so_far = None
        self.shown = 0

    @property
    def in_memory(self) -> bool:
        return self.values is not None

    @property
    def nbytes(self) -> int:
        return 4 * self.size if self.values is not None else 0

    def facts(self, measure: bool = True) -> Facts:
        return _facts(self.values or []) if measure else Facts(Form("float32", (self.size,)))

    def pack(self) -> Packed | None:
        if self.values is None:
            return None
        return Packed(Form("float32", (self.size,)), struct.pack(f"<{self.size}f", *self.values))

    def drop(self, measure: bool = True) -> None:
        self.values = None


class Back(Held):
    """The same, in a file."""

    def __init__(self, stored: Stored) -> None:
        self.stored, self.sum_so_far = stored, None

    @property
    def in_memory(self) -> bool:
        return False

    @property
    def kept(self) -> bool:
        return self.stored.kept

    def facts(self, measure: bool = True) -> Facts:
        found, values = self.stored.facts(), self.value if measure and self.kept else None
        return found if values is None else _facts(values)

    def pack(self) -> Packed | None:
        return self.stored.pack()

    @property
    def value(self) -> list[float] | None:
        return self.stored.load(_numbers)


def _facts(values: list[float]) -> Facts:
    form = Form("float32", (len(values),))
    return Facts(form, sum(v * v for v in values) ** 0.5, max(map(abs, values), default=0.0), True)


def _numbers(packed: Packed) -> list[float]:
    return list(struct.unpack(f"<{packed.form.shape[0]}f", packed.data))


def measure(tensors: Sequence[Packed]) -> list[Facts]:
    return [_facts(_numbers(packed)) for packed in tensors]


def fail(text: str) -> None:
    raise AssertionError(text)


def writer(path: Any, keep: Keep = EVERYTHING, say: Callable[[str], None] = fail, about: About | None = None) -> Writer:
    """A recording in the making."""
    known = Known({}, ("cell",), (), "SGD lr=0.1")
    return Writer(str(path), about or About("plain", 7, NAME), keep, say, lambda: known, Back, measure)


def opened(path: Any) -> Opened:
    return Opened(str(path), Back)


def iterations(size: int = 4, where: str = "train.py") -> Iterator[list[Event]]:
    """The events of one iteration after the other, without end; the first number in each tensor tells its iteration."""
    weight, grad = Plain([0.0] * size), None
    number = 0
    while True:
        number += 1
        place = Location(where, 3)
        uses = tuple([Use(NAME, n, USES, "cell", n, "MmBackward0", place, n - 1) for n in range(1, USES + 1)])
        partials = [Plain([number + n / 10, *[0.5] * (size - 1)]) for n in range(USES)]
        loss = Plain([1.0 / number])
        events: list[Event] = [IterationStarted(number, {NAME: weight}, {NAME: grad}, "SGD lr=0.1")]
        events += [ForwardUse(number, n, "cell", n + 1, (NAME,), (n + 1,), place, (n - 1,)) for n in range(USES)]
        events.append(LossComputed(number, "mse_loss", loss, place, (USES - 1,)))
        events.append(BackwardStarted(number, 1, loss, uses, {NAME: None}, {NAME: weight}, place, (USES - 1,)))
        for order, (use, partial) in enumerate(zip(reversed(uses), partials, strict=True), 1):
            events.append(BackwardUse(number, 1, use, partial, order))
        grad = Plain([float(number)] * size)
        events.append(Accumulated(number, 1, NAME, grad))
        events.append(BackwardFinished(number, 1, (), True, place))
        recipe = Recipe("SGD", "sgd", {"lr": 0.1}, {}, 0.0, weight, grad)
        events.append(StepStarted(number, "SGD lr=0.1", {NAME: grad}, {NAME: weight}, {NAME: recipe}, place))
        weight = Plain([-float(number)] * size)
        events.append(StepFinished(number, {NAME: weight}, place, (NAME,)))
        yield events
