"""What a peer is asked to do: train one loop under a tool, as that tool's own documentation says."""

from typing import Protocol

from answers import Answers


class Session(Protocol):
    """A tool at work on one loop, from its making to `close`."""

    def step(self) -> None:
        """One iteration."""

    # A tool that acts on the whole process has `timed() -> float` too, which times a step and keeps away from others.

    def answers(self) -> Answers:
        """What the tool says about the last one; asked only on the small net of `answers.case`."""

    def close(self) -> None:
        """Let go of the loop."""
