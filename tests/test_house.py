"""The import rules of the house: data flows probe -> trace -> debugger -> situation -> a face; torch has its rooms."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import backpropdbg

SOURCE = Path(backpropdbg.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
FACES = {"backpropdbg.console", "backpropdbg.tui"}
SCREEN = {"textual", "rich"}
ENDS = {
    "backpropdbg.demo",
    "backpropdbg.child.program",
    "backpropdbg.cli",
    "backpropdbg.child.recorder",
    "backpropdbg.child.looking",
}
INSIDE = {f"backpropdbg.{room}" for room in ("probe", "trace", "debugger", "wire")}
TALES = {"backpropdbg.report", "backpropdbg.api.recording", "backpropdbg.api.recorded"}
PICKLES = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "multiprocessing"}

# What the modules of a room must never import, directly or through others.
NEVER = {
    "": {"torch", *SCREEN, *INSIDE, *FACES, *ENDS},
    "errors": {"torch", *SCREEN, *INSIDE, *FACES, *ENDS},
    "events": {"torch", *SCREEN, *INSIDE, *FACES, *ENDS},
    "situation": {"torch", *SCREEN, *INSIDE, *FACES, *ENDS},
    "palette": {"torch", *SCREEN, *INSIDE, *FACES, *ENDS},
    "figures": {"torch", *SCREEN, *INSIDE, *FACES, *ENDS},
    # It draws what it is given, so that console, recordings and notebooks may all have a page made.
    "pages": {"torch", *SCREEN, *INSIDE, *FACES, *ENDS, *TALES},
    "ledger": {"torch", *SCREEN, *INSIDE, *FACES, *ENDS},
    "trace": {"torch", *SCREEN, *FACES, *ENDS, *TALES, *INSIDE} - {"backpropdbg.trace"},
    "debugger": {"torch", *SCREEN, *FACES, *ENDS, *TALES, "backpropdbg.probe"},
    "probe": {*SCREEN, *FACES, *ENDS, *TALES, *INSIDE} - {"backpropdbg.probe"},
    # The child collects without a screen and the parent shows without torch: neither needs what the other one has.
    "report": {"torch", "textual", *FACES, *ENDS, *INSIDE, *TALES} - {"backpropdbg.report"},
    "api/recorded": {"torch", *SCREEN, *FACES, *ENDS, *INSIDE, "backpropdbg.api.recording"},
    # It puts probe and trace together, the probe (and with it torch) only once a recording begins.
    "api/recording": {"torch", *SCREEN, *FACES, *ENDS, "backpropdbg.debugger", "backpropdbg.wire"},
    "api/told": {"torch", *SCREEN, *INSIDE, *FACES, *ENDS, *TALES},
    # A recording has it loaded once it is shown: the one way from there to what the debugger says.
    "api/notebook": {"torch", "textual", *FACES, *ENDS, *TALES, "backpropdbg.probe", "backpropdbg.wire"},
    "wire": {"torch", *SCREEN, *FACES, *ENDS, "backpropdbg.probe", "backpropdbg.trace", "backpropdbg.debugger"},
    "console": {"torch", "textual", "backpropdbg.tui", "backpropdbg.probe", "backpropdbg.demo"},
    "tui": {"torch", "backpropdbg.console", "backpropdbg.probe", "backpropdbg.trace", "backpropdbg.debugger"},
    "cli": {"torch", *SCREEN, *FACES, *INSIDE, "backpropdbg.demo", "backpropdbg.child.program"},
    "demo": {*SCREEN, *FACES, *INSIDE, "backpropdbg.events", "backpropdbg.child.program", "backpropdbg.cli"},
}


def module_of(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(path: Path) -> str:
    """The folder, or the module itself where it has rules of its own."""
    own = path.relative_to(SOURCE).with_suffix("").as_posix()
    return own if own in NEVER else own.split("/")[0]


def imports(text: str) -> Iterator[str]:
    """Every module that a source names in an import, wherever it stands."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def below(name: str, roots: set[str]) -> bool:
    return any(name == root or name.startswith(root + ".") for root in roots)


def named(path: Path) -> list[str]:
    return list(imports(path.read_text(encoding="utf-8")))


def importers(roots: set[str]) -> set[str]:
    """The files, from the package's folder, that name one of these in an import."""
    return {str(p.relative_to(SOURCE)) for p in FILES if any(below(name, roots) for name in named(p))}


def test_the_walk_sees_every_kind_of_import():
    text = "import torch.nn as nn, os\ndef f():\n    from backpropdbg.tui import app\n    if x:\n        import rich\n"
    assert list(imports(text)) == ["torch.nn", "os", "backpropdbg.tui.app", "rich"]
    assert below("torch.nn", {"torch"}) and not below("torchvision", {"torch"})
    assert len(FILES) > 30 and {room_of(p) for p in FILES} >= {room for room in NEVER if room}


@pytest.mark.parametrize("room", [room for room in NEVER if room != "cli"])
def test_a_room_names_no_other_that_it_must_not_know(room):
    """Nor inside a function."""
    mine = [p for p in FILES if room_of(p) == (room or "__init__")]
    assert mine
    found = {f"{module_of(p)} imports {name}" for p in mine for name in named(p) if below(name, NEVER[room])}
    assert found == set()


def test_torch_lives_in_probe_and_demo_only():
    assert {name for name in importers({"torch"}) if name.split("/")[0] not in ("probe", "demo")} == set()


def test_textual_lives_in_the_tui_only():
    assert {name.split("/")[0] for name in importers({"textual"})} == {"tui"}


def test_no_room_imports_a_face_but_the_command_line_and_set_trace_start_them():
    for face in FACES:
        starts = {"cli.py", "api"} if face == "backpropdbg.console" else {"cli.py"}
        assert {name.split("/")[0] for name in importers({face})} == {face.rpartition(".")[2], *starts}


def test_nothing_about_the_demo_is_known_outside_of_its_caller():
    assert {name.split("/")[0] for name in importers({"backpropdbg.demo"})} == {"demo", "child"}


def test_a_recording_alone_shows_itself_in_a_notebook():
    assert importers({"backpropdbg.api.notebook"}) == {"api/recording.py", "api/recorded.py"}
    assert not {name for name in loaded("backpropdbg.api.recording") if below(name, {"backpropdbg.debugger", "rich"})}


def test_nothing_is_pickled():
    """Neither on the wire nor in a file."""
    assert importers(PICKLES) == set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
            assert text not in ("torch.load", "torch.save"), path


def test_no_import_hides_from_these_tests():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = ast.unparse(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""
            assert name not in ("import_module", "__import__"), path
            # The program under test is what launch.py executes, as `__main__`.
            assert name != "exec" or path.name == "launch.py", path


# -- what is truly loaded ------------------------------------------------------------------------

LOOK = """
import sys
for name in sys.argv[1].split():
    __import__(name)
print("\\n".join(sys.modules))
"""


def loaded(*modules: str) -> set[str]:
    """All modules that a fresh interpreter has after importing these."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOOK, " ".join(modules)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found = set(done.stdout.split())
    assert found >= set(modules)
    return found


@pytest.mark.parametrize("room", [room for room in NEVER if room != "demo"])
def test_importing_a_room_loads_no_other_that_it_must_not_know(room):
    modules = [module_of(p) for p in FILES if room_of(p) == (room or "__init__")]
    assert modules
    assert {name for name in loaded(*modules) if below(name, NEVER[room])} == set()


def test_all_rooms_but_probe_and_demo_open_without_torch():
    """So that a recording opens on a machine that has none."""
    modules = [module_of(p) for p in FILES if room_of(p) not in ("probe", "demo", "__main__")]
    assert {name for name in loaded(*modules) if below(name, {"torch", "numpy"})} == set()


def test_the_public_api_loads_torch_only_once_something_is_recorded():
    found = loaded("backpropdbg", "backpropdbg.api.recording", "backpropdbg.report.collect", "backpropdbg.report.read")
    assert {name for name in found if below(name, {"torch", *SCREEN, *FACES, "backpropdbg.probe"})} == set()


@pytest.mark.parametrize("words", [["--help"], ["demo", "--help"], ["replay", "--help"]])
def test_help_loads_neither_torch_nor_a_face(words):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "backpropdbg", *words], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0 and done.stdout.startswith("usage: ")
    names = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "backpropdbg.cli" in names and "argparse" in names
    assert {name for name in names if below(name, {"torch", *SCREEN, *FACES, *INSIDE})} == set()
