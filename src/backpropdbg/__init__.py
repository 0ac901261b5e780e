"""backpropdbg: a step-through debugger for backprop. Importing it imports neither torch nor textual."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os

    from backpropdbg.api.recording import Recorder, Recording

__all__ = ["open_trace", "record", "set_trace"]


def record(
    model: Any = None,
    optimizer: Any = None,
    track: str | Sequence[str] = (),
    keep: int = 256 * 2**20,
) -> "Recorder":
    """Record what happens to the gradients in a `with` block: no pause, no change of a bit, any loop inside.

    Example:
        with backpropdbg.record(model, optimizer) as trace:
            criterion(model(x), y).backward()
            optimizer.step()
        trace.iteration(1).ledger("middle_linear.weight").partials

    Args:
        model: a torch.nn.Module whose own names stand; without it, models are found when they are called.
        optimizer: a torch.optim.Optimizer that was made before the block; others are found when they are made or step.
        track: record only parameters, or those of modules, whose names match one of these (globs).
        keep: bytes of tensors to keep; what is older says that it was not kept.
    """
    from backpropdbg.api.recording import Recorder

    return Recorder(model, optimizer, track, keep)


def open_trace(path: "str | os.PathLike[str]") -> "Recording":
    """Open a recording: of `trace.save`, or of `backpropdbg record`. torch is imported once a ledger is asked for.

    Raises RecordingError where it is none, or nothing of it can be read.

    Example:
        backpropdbg.open_trace("run.bptrace").iteration(1).ledger("middle_linear.weight").partials
    """
    import os

    from backpropdbg.api.recording import Saved
    from backpropdbg.child.opened import open_file

    return Saved(open_file(os.fspath(path)))


def set_trace() -> None:
    """Stop here: under the debugger that watches this process, or else at a prompt in this terminal.

    From the prompt, `step`, `next`, `until LOC` … go on through autograd, `detach` goes on without a debugger, and
    `quit` ends the program.
    """
    from backpropdbg.api.tracing import stop_here

    stop_here()
