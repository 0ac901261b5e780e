"""What one thread of the program is inside of."""

import threading
from types import FrameType

import torch
from msgspec import Struct
from torch import Tensor

from backpropdbg.probe.edit import Arrived

sequence = torch._C._autograd._get_sequence_nr


class Call(Struct):
    """A module call that has not returned yet; low: the number of the next node when it began."""

    module: torch.nn.Module
    frame: FrameType
    low: int


class Thread:
    """Stands for a thread, as long as that lives: whether the program ran anything in it, and a backward."""

    __slots__ = ("__weakref__", "ran", "ran_backward")

    def __init__(self) -> None:
        self.ran = self.ran_backward = False


class Here(threading.local):
    """What one thread is inside of: a partial, module calls, those without gradients, steps, runs of the engine."""

    def __init__(self) -> None:
        self.thread = Thread()
        self.arrived: Arrived | None = None
        self.edited: Tensor | None = None
        self.calls: list[Call] = []
        self.unwatched: list[FrameType] = []
        self.steps: list[FrameType] = []
        self.runs = 0
