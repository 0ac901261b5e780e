"""What the child process runs: the demo, or a script or module of the user's, unmodified, as `__main__`."""

import io
import os
import sys
import types
from collections.abc import Callable
from typing import Any

from msgspec import Struct


class Launch(Struct, frozen=True):
    """A program that can be run.

    Attributes:
        title: for the header. seed, focus: where they are known beforehand.
        raised: the exit code where it ends with an exception.
    """

    title: str
    run: Callable[[], object]
    seed: int | None = None
    focus: str = ""
    raised: int = 1


def launch(options: dict[str, Any]) -> Launch:
    """Return the program that the options name."""
    if options["program"] == "demo":
        return _demo(options["demo"])
    arguments = list(options["args"])
    if options["module"]:
        name = options["module"]
        return Launch(f"-m {name}", lambda: _run_module(name, arguments))
    path = options["script"]
    return Launch(os.path.basename(path), lambda: _run_script(path, arguments))


def _demo(given: dict[str, Any]) -> Launch:
    from backpropdbg.demo.training import Settings, train

    settings = Settings(**given)
    return Launch(settings.title, lambda: train(settings), settings.chosen_seed, settings.focus, 3)


def _run_script(path: str, arguments: list[str]) -> None:
    """Run a file as `python path arguments` does."""
    sys.argv = [path, *arguments]
    sys.path[0] = os.path.dirname(os.path.abspath(path))
    with io.open_code(os.path.abspath(path)) as file:
        code = compile(file.read(), path, "exec")
    main = types.ModuleType("__main__")
    main.__dict__.update(__file__=path, __cached__=None, __builtins__=__builtins__)
    sys.modules["__main__"] = main
    exec(code, main.__dict__)


def _run_module(name: str, arguments: list[str]) -> None:
    """Run a module as `python -m name arguments` does."""
    import runpy

    sys.argv = [name, *arguments]
    sys.path[0] = os.getcwd()
    runpy.run_module(name, run_name="__main__", alter_sys=True)
