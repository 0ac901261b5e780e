"""What the core may ask of the program under test."""

from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any, Protocol

from backpropdbg.events import Held


class Program(Protocol):
    """The real one is `backpropdbg.child.beside.Beside`."""

    def parameters(self) -> tuple[str, ...]:
        """Names of all parameters that are tracked."""

    def named(self) -> dict[str, tuple[str, ...]]:
        """The same, each with all of its names, itself first; without any where it is computed and no leaf."""

    def modules(self) -> tuple[str, ...]:
        """Paths of all modules."""

    def aliases(self, name: str) -> tuple[str, ...]:
        """All names of a parameter, its own first: several where it is tied."""

    def resolve(self, text: str) -> str | None:
        """The parameter that has this name, tied or not; None where there is none."""

    def meet(self, text: str) -> bool:
        """Learn the names of a module that the program holds and never called, where this means it or a part of it."""

    def follow(self, text: str) -> tuple[str, bool] | None:
        """Follow what this names, where that is no leaf but a tensor computed from some; None where it names none.

        Return its name, and whether that begins in this iteration, not in the next.
        """

    def frozen(self) -> tuple[str, ...]:
        """Names of the parameters that require no gradient."""

    def evaluate(self, text: str, names: Mapping[str, object], frame: FrameType | None = None) -> object:
        """Value of an expression in the stopped thread. Raises CommandError."""

    def holds(self, text: str, names: Mapping[str, object]) -> bool:
        """Whether an expression is true, with the variables of the innermost frame. Raises CommandError."""

    def show(self, value: object) -> str:
        """A value as text."""

    def truth(self, value: object, text: str) -> bool:
        """A value as a condition. text: the expression, for the error."""

    def remember(self, value: object) -> object:
        """A value that stays what it is now: tensors are copied."""

    def same(self, remembered: object, value: object) -> bool:
        """True where a value is what it was: numbers by value, tensors bit for bit."""

    def stack(self) -> list[Any]:
        """The user's frames, innermost first."""

    def optimizer(self) -> str:
        """The optimizer in one line, "" while there is none."""

    def track(self, globs: Sequence[str]) -> None:
        """From now on look only at parameters whose name, or module, fits one of these."""

    def want_nodes(self, wanted: bool) -> None:
        """From the next backward on, have the probe read its nodes, or not."""

    def nodes(self, iteration: int, run: int) -> bytes:
        """The nodes of a backward that is in progress; none of another."""

    def edit(self, value: object) -> Held:
        """Let another partial flow on from the use that arrives now; return it. Raises CommandError where it can't."""

    def detach(self) -> None:
        """Take every hook out, for good."""
