"""`record` and `open` from the command line, end to end."""

import subprocess
import sys
from pathlib import Path

import pytest

from backpropdbg.cli import main

ROOT = Path(__file__).parent.parent.parent
SCRIPT = """
import sys
import torch

torch.manual_seed(0)
cell = torch.nn.Linear(2, 2)
optimizer = torch.optim.SGD(cell.parameters(), lr=0.1, momentum=0.5)
for n in range(4):
    optimizer.zero_grad()
    loss = cell(cell(torch.ones(1, 2))).square().sum()
    loss.backward()
    optimizer.step()
    print(f"step {n}: {loss.item():.4f}")
sys.exit(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
"""


def backpropdbg(*words: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "backpropdbg", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        env={"PATH": "", "PYTHONWARNINGS": "ignore"},
    )


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A folder with a script and its recording, and how `record` ended."""
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "train.py").write_text(SCRIPT)
    return folder, backpropdbg("record", "train.py", "7", folder=folder)


def test_record_passes_the_program_through(recorded):
    folder, done = recorded
    plain = subprocess.run(
        [sys.executable, "-W", "ignore", "train.py", "7"], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (plain.returncode, plain.stdout) == (7, plain.stdout)
    assert "recorded 4 iterations, " in done.stderr and "train.bptrace" in done.stderr
    assert {p.name for p in folder.iterdir()} == {"train.py", "train.bptrace"}  # one file, no log beside it


def test_open_without_a_terminal_says_what_it_is(recorded):
    folder, _ = recorded
    done = backpropdbg("open", "train.bptrace", folder=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "train.bptrace: a recording of train.py, 4 iterations, " in done.stdout
    assert "it ends in iteration 4: the program ended" in done.stdout


def test_a_script_may_begin_with_open(recorded, capfd, monkeypatch):
    folder, _ = recorded
    monkeypatch.chdir(folder)
    lines = [
        "open train.bptrace",
        "focus weight",
        "until accumulate weight",
        "expect grad is not None and running.equal(grad)",
        "list",
        "goto iteration 4",
        "expect iteration == 4",
        "rs",
        "expect iteration == 3",
        "info optimizer",
        "continue",
        "expect phase == 'finished'",
    ]
    (folder / "look.bpdb").write_text("\n".join(lines))
    assert main(["replay", "look.bpdb"]) == 0
    shown = capfd.readouterr().out
    assert "SGD lr=0.1 momentum=0.5" in shown and "loss.backward()" in shown


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("step", "the recording ends here"),
        ("track weight", "nothing runs here"),
        ("set partial = 0", "past"),
    ],
)
def test_what_needs_a_program_says_in_one_line_that_there_is_none(recorded, capfd, monkeypatch, command, says):
    folder, _ = recorded
    monkeypatch.chdir(folder)
    assert main(["open", "train.bptrace", "-c", "continue", "-c", command]) == 1
    said = capfd.readouterr().err
    assert said.count("\n") == 1 and says in said
