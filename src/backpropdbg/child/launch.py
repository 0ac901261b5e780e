"""What the child process runs: the demo, or a script or module of the user's, unmodified, as `__main__`."""

import builtins
import importlib.machinery
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
    import warnings

    with warnings.catch_warnings():
        # torch warns about a numpy that is not installed; the demo needs none.
        warnings.filterwarnings("ignore", message="Failed to initialize NumPy")
        from backpropdbg.demo.compiler import import_meanwhile
        from backpropdbg.demo.training import Settings, train

    settings = Settings(**given)

    def run() -> None:
        import_meanwhile()
        train(settings)

    return Launch(settings.title, run, settings.chosen_seed, settings.focus, 3)


def _main_module() -> types.ModuleType:
    """A fresh `__main__`, in the place of ours."""
    main = types.ModuleType("__main__")
    main.__dict__.update(__builtins__=builtins, **({"__annotations__": {}} if sys.version_info < (3, 14) else {}))
    sys.modules["__main__"] = main
    return main


def _first_path(folder: str) -> None:
    if not sys.flags.safe_path:
        sys.path[0] = folder


def _run_script(path: str, arguments: list[str]) -> None:
    """Run a file as `python path arguments` does."""
    sys.argv = [path, *arguments]
    _first_path(os.path.dirname(os.path.realpath(path)))
    main, whole = _main_module(), path if os.path.isabs(path) else os.path.join(os.getcwd(), path)
    loader = importlib.machinery.SourceFileLoader("__main__", whole)
    main.__dict__.update(__file__=whole, __cached__=None, __loader__=loader)
    with io.open_code(whole) as file:
        source = file.read()
    exec(compile(source, whole, "exec"), main.__dict__)


def _run_module(name: str, arguments: list[str]) -> None:
    """Run a module as `python -m name arguments` does."""
    import runpy

    sys.argv = ["-m", *arguments]
    _first_path(os.getcwd())
    _main_module()
    runpy._run_module_as_main(name)  # type: ignore[attr-defined]
