"""Who am I? What a script may ask about itself, and pickles of classes that live in it."""

from __future__ import annotations

import dataclasses
import inspect
import os
import pickle
import signal
import sys
import threading
import typing

from training import model, step


@dataclasses.dataclass
class Settings:
    """Lives in __main__."""

    lr: float = 0.1
    layers: typing.Optional[int] = None  # noqa: UP045


def double(x):
    return 2 * x


def ask():
    print(sorted(globals()))
    print(__name__, __file__, __doc__, __spec__, __package__, type(__builtins__).__name__)
    print(sys.argv, sys.path[0], os.getcwd(), os.path.abspath(__file__))
    print(sys.modules["__main__"].__dict__ is globals(), sys.modules["__main__"])
    print(sys.executable, sys.flags, sys.warnoptions, sys.dont_write_bytecode, sys.getrecursionlimit())
    print(sorted(name for name in os.environ if "BACKPROP" in name or "PYTHON" in name))
    print([signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGCHLD)])
    print(signal.pthread_sigmask(signal.SIG_BLOCK, []), sys.gettrace(), sys.getprofile(), sys.getswitchinterval())
    print(threading.current_thread() is threading.main_thread(), oct(os.umask(0o22)))
    frame, frames = inspect.currentframe(), []
    while frame is not None:
        frames.append(frame.f_code.co_name)
        frame = frame.f_back
    print(frames[:2], inspect.getsource(double), inspect.getmodule(double) is sys.modules["__main__"])


def pickles():
    print(pickle.loads(pickle.dumps(Settings(0.5))), pickle.loads(pickle.dumps(double))(4))
    print(Settings.__module__, typing.get_type_hints(Settings))
    print(len(pickle.dumps(model)), model.__dict__.keys())


if __name__ == "__main__":
    step()
    ask()
    pickles()
    step()
