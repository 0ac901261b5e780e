"""Ends in the way that its argument names, in the middle of training."""

import atexit
import ctypes
import os
import resource
import signal
import sys

import torch
from training import model, step


class Exits(torch.nn.Module):
    """Ends the program in forward."""

    def forward(self, x):
        sys.exit(9)


def from_a_hook(grad):
    sys.exit(11)


def in_forward():
    model.head = Exits()
    step()


def in_backward():
    model.cell.weight.register_hook(from_a_hook)
    step()


def interrupted():
    raise KeyboardInterrupt


def signalled(number):
    os.kill(os.getpid(), number)
    print("still here")


ENDS = {
    "in-forward": in_forward,
    "in-backward": in_backward,
    "at-once": lambda: os._exit(5),
    "segfault": lambda: ctypes.string_at(0),
    "kill": lambda: signalled(signal.SIGKILL),
    "term": lambda: signalled(signal.SIGTERM),
    "int": lambda: signalled(signal.SIGINT),
    "interrupted": interrupted,
}

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
atexit.register(print, "the end")
step("flushed")
sys.stdout.flush()
step()
print("an unfinished line", end="")
sys.stderr.write("and one on stderr")
ENDS[sys.argv[1]]()
