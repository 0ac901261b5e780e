"""What one thread of the program is inside of."""

import threading
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from backpropdbg.probe.edit import Arrived

sequence = torch._C._autograd._get_sequence_nr


class Call:
    """A module call that has not returned yet."""

    __slots__ = ("frame", "low", "module", "where")

    def __init__(self, module: torch.nn.Module, frame: FrameType, where: Any) -> None:
        self.module, self.frame, self.where = module, frame, where
        self.low = sequence()


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
