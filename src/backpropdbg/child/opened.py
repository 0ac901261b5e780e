"""What stands in the place of the program where a recording is looked at: nothing runs."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from types import FrameType
from typing import Any

from backpropdbg.errors import CommandError, RecordingError
from backpropdbg.held import Held, Stored
from backpropdbg.trace.opening import Opened

_NOTHING = "this is a recording: nothing runs here that could be changed"


def open_file(path: str) -> Opened:
    """Open a recording. Its tensors are torch's where torch is installed, else numpy's. Raises RecordingError."""
    if find_spec("torch") is None and find_spec("numpy") is None:
        raise RecordingError(f"{path}: to open a recording needs torch or numpy; pip install numpy is enough")
    return Opened(path, tensor_of)


@cache
def _kind() -> Callable[[Stored], Held]:
    if find_spec("torch") is not None:
        with warnings.catch_warnings():
            # torch warns about a numpy that is not installed; nothing here needs it.
            warnings.filterwarnings("ignore", message="Failed to initialize NumPy")
            from backpropdbg.probe.tensors import StoredTensor

        return StoredTensor
    from backpropdbg.arrays import StoredArray

    return StoredArray


def tensor_of(stored: Stored) -> Held:
    """A tensor of a recording: torch's where torch is installed, else numpy's."""
    return _kind()(stored)


class OpenedProgram:
    """A program that ran once; see `debugger.program.Program`.

    Attributes:
        position: of the stop that is looked at.
    """

    def __init__(self, trace: Opened) -> None:
        self._trace = trace
        self._evaluates: Any = None

    @property
    def _last(self) -> int:
        return len(self._trace) - 1

    def parameters(self) -> tuple[str, ...]:
        return tuple(self._trace.names_at(self._last))

    def named(self) -> dict[str, tuple[str, ...]]:
        return self._trace.names_at(self._last)

    def modules(self) -> tuple[str, ...]:
        return self._trace.known(self._last).modules

    def aliases(self, name: str) -> tuple[str, ...]:
        return self._trace.names_at(self._last).get(name, (name,))

    def resolve(self, text: str) -> str | None:
        names = self._trace.names_at(self._last)
        return next((name for name, all_of_it in names.items() if text in all_of_it), None)

    def meet(self, text: str) -> bool:
        return False  # nothing more can become known

    def follow(self, text: str) -> tuple[str, bool] | None:
        return None  # nor followed

    def frozen(self) -> tuple[str, ...]:
        return self._trace.known(self._last).frozen

    def optimizer(self) -> str:
        return self._trace.known(self._last).optimizer

    def _beside(self) -> Any:
        """What evaluates with torch, beside a program that isn't there. Raises CommandError where there is none."""
        if self._evaluates is None:
            if find_spec("torch") is None:
                raise CommandError("an expression needs torch, which is not installed here")
            from backpropdbg.child.beside import Beside
            from backpropdbg.probe.hooks import Probe

            self._evaluates = Beside(Probe(lambda event: None))
        return self._evaluates

    def evaluate(self, text: str, names: Mapping[str, object], frame: FrameType | None = None) -> object:
        return self._beside().evaluate(text, names, frame)

    def holds(self, text: str, names: Mapping[str, object]) -> bool:
        return bool(self._beside().holds(text, names))

    def show(self, value: object) -> str:
        text: str = self._beside().show(value)
        return text

    def truth(self, value: object, text: str) -> bool:
        return bool(self._beside().truth(value, text))

    def remember(self, value: object) -> object:
        return self._beside().remember(value)

    def same(self, remembered: object, value: object) -> bool:
        return bool(self._beside().same(remembered, value))

    def stack(self) -> list[Any]:
        return []

    def track(self, globs: Sequence[str]) -> None:
        raise CommandError(_NOTHING)

    def want_nodes(self, wanted: bool) -> None:
        """Nothing more can be read."""

    def nodes(self, iteration: int, run: int) -> bytes:
        return b""

    def edit(self, value: object) -> Held:
        raise CommandError(_NOTHING)

    def detach(self) -> None:
        """Nothing to take out."""
