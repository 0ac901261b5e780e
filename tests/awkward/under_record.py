"""Runs a script as `python SCRIPT` does, or a module as `python -m MODULE` does, inside of `backpropdbg.record()`."""

import importlib.machinery
import os
import runpy
import sys
import types

import backpropdbg

this = sys.modules["__main__"]  # else it would be gone with the line that puts another one in its place
sys.argv = sys.argv[1:]
if sys.argv[0] == "-m":
    name = sys.argv[1]
    sys.argv = sys.argv[1:]
    with backpropdbg.record():
        runpy.run_module(name, run_name="__main__", alter_sys=True)
else:
    path = os.path.abspath(sys.argv[0])
    with open(path, encoding="utf-8") as file:
        source = file.read()
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    loader = importlib.machinery.SourceFileLoader("__main__", path)
    main.__dict__.update(
        __file__=path, __cached__=None, __loader__=loader, __annotations__={}, __builtins__=__builtins__
    )
    with backpropdbg.record():
        exec(compile(source, path, "exec"), main.__dict__)
