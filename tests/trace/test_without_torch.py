"""Where torch is not installed, a recording shows the same: by numpy's arrays, up to rounding."""

import subprocess
import sys
from importlib.util import find_spec
from typing import Any

import msgspec
import pytest
from driving import OPTIMIZERS
from reopened import lived, looked_at, train_with

import backpropdbg.child.opened as opened
from backpropdbg.cli import main
from backpropdbg.errors import RecordingError

WEIGHT = "middle_linear.weight"


@pytest.fixture
def no_torch(monkeypatch):
    """As if it were not there, for what opens recordings."""
    pytest.importorskip("numpy")
    monkeypatch.setattr(opened, "find_spec", lambda name: None if name == "torch" else find_spec(name))
    opened._kind.cache_clear()
    yield
    opened._kind.cache_clear()


def close(a: Any, b: Any) -> bool:
    """Equal, but for the last digits of numbers."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(close(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(close, a, b))
    if isinstance(a, float) or isinstance(b, float):
        return a == pytest.approx(b, rel=1e-6, abs=1e-12)
    return bool(a == b)


@pytest.mark.parametrize("optimizer", ["sgd momentum decay", "adam", "adamw"])
def test_without_torch_every_stop_shows_the_same(tmp_path, no_torch, optimizer):
    path = str(tmp_path / "run.bptrace")
    live = lived(path, lambda: train_with(OPTIMIZERS[optimizer], "module"), WEIGHT)
    again = looked_at(path, sorted(live), WEIGHT)
    for position, (situation, windows) in live.items():
        mine, theirs = msgspec.json.decode(situation), msgspec.json.decode(again[position][0])
        words = {key: mine.pop(key) == theirs.pop(key) for key in ("explanation",)}
        assert close(mine, theirs), position
        assert all(words.values()), position
        mine, theirs = (msgspec.to_builtins(w) for w in (windows, again[position][1]))
        assert close(mine, theirs), position


def test_without_torch_an_expression_says_what_it_needs(tmp_path, no_torch):
    from backpropdbg.child.opened import OpenedProgram, open_file
    from backpropdbg.debugger.core import Debugger

    path, said = str(tmp_path / "run.bptrace"), []
    lived(path, lambda: train_with(OPTIMIZERS["sgd"], "module", 1), WEIGHT)
    trace = open_file(path)

    def wait(situation: Any) -> None:
        said.extend(debugger.execute(line) for line in ("print partial.norm()", "ledger", "why", "info uses"))

    debugger = Debugger(OpenedProgram(trace), trace, wait, "test", None, WEIGHT, recorded=True)
    debugger.open()
    assert not said[0].ok and said[0].text == "an expression needs torch, which is not installed here"
    assert all(result.ok for result in said[1:]), said


LOOK = """
import sys
sys.modules["torch"] = None  # importing it fails
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "torch" else find(name, *more)
from backpropdbg.debugger.core import Debugger
from backpropdbg.child.opened import OpenedProgram, open_file
trace = open_file(sys.argv[1])
left = [f"goto {n}" for n in range(1, len(trace))]
shown = []
def wait(situation):
    shown.append(situation)
    for m in situation.matrices:
        d.window(m.name, 3, 3, 0, 0, True)
    if left:
        assert d.execute(left.pop(0)).ok
d = Debugger(OpenedProgram(trace), trace, wait, "test", None, "middle_linear.weight", recorded=True)
d.open()
assert len(shown) > 20 and not any("internal error" in line for s in shown for line in s.explanation)
assert sys.modules["torch"] is None
"""


def test_without_torch_nothing_imports_it(tmp_path):
    pytest.importorskip("numpy")
    path = str(tmp_path / "run.bptrace")
    lived(path, lambda: train_with(OPTIMIZERS["adam"], "module", 1), WEIGHT)
    done = subprocess.run([sys.executable, "-c", LOOK, path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_without_torch_or_numpy_it_says_what_it_needs(tmp_path, capsys, monkeypatch):
    """The overview needs neither."""
    path = str(tmp_path / "run.bptrace")
    lived(path, lambda: train_with(OPTIMIZERS["adam"], "module", 1), WEIGHT)
    monkeypatch.setattr(opened, "find_spec", lambda name: None)
    with pytest.raises(RecordingError, match=r"needs torch or numpy; pip install numpy is enough$"):
        opened.open_file(path)
    capsys.readouterr()
    assert main(["open", path]) == 0
    assert "1 iteration, " in capsys.readouterr().out
