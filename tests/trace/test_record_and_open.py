"""`record` and `open` from the command line, end to end."""

import subprocess
import sys
from pathlib import Path

import pytest
from plain import opened

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


def test_with_its_nodes_it_is_the_same_recording_and_shows_them(recorded):
    folder, _ = recorded
    assert backpropdbg("record", "--nodes", "-o", "nodes.bptrace", "train.py", "7", folder=folder).returncode == 7
    look = ("-c", "until backward weight#2", "-c", "graph nodes")
    told = backpropdbg("open", "nodes.bptrace", *look, folder=folder).stdout
    assert "backward 1 of iteration 1: 8 nodes" in told and "A2" in told
    assert "not recorded" in backpropdbg("open", "train.bptrace", *look, folder=folder).stdout
    assert "are the same: " in backpropdbg("diff", "train.bptrace", "nodes.bptrace", folder=folder).stdout
    (folder / "nodes.bptrace").unlink()


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
        ("set partial = 0", "set partial: this is a recording: nothing runs here"),
        ("mute middle_linear#2", "mute: this is a recording: nothing runs here"),
        ("unmute", "unmute: this is a recording: nothing runs here"),
    ],
)
def test_what_needs_a_program_says_in_one_line_that_there_is_none(recorded, capfd, monkeypatch, command, says):
    folder, _ = recorded
    monkeypatch.chdir(folder)
    assert main(["open", "train.bptrace", "-c", "continue", "-c", command]) == 1
    said = capfd.readouterr().err
    assert said.count("\n") == 1 and says in said


def test_run_and_demo_record_too(recorded, tmp_path):
    """Without a terminal, and without a command: every event is there all the same."""
    folder, _ = recorded
    path = tmp_path / "live.bptrace"
    done = backpropdbg("run", "--record", str(path), "train.py", "7", folder=folder)
    assert done.returncode == 7 and done.stdout.count("step") == 4
    live, alone = opened(path), opened(folder / "train.bptrace")
    assert live.iterations() == alone.iterations()
    assert len(live) == len(alone) - 1  # nobody waits at its end
    done = backpropdbg("demo", "--record", str(tmp_path / "demo.bptrace"), folder=folder)
    assert done.returncode == 0
    assert "a recording of DynamicNet" in backpropdbg("open", "demo.bptrace", folder=tmp_path).stdout


def test_what_is_recorded_stands_beside_what_was_printed(recorded):
    """Each text before the event that came after it."""
    folder, _ = recorded
    trace = opened(folder / "train.bptrace")
    for number in (2, 3, 4):
        start = trace.start(number)
        assert trace.printed.tail(start, 1000)[-1][1].endswith("\n") and trace.printed.count(start) == 15 * (number - 1)


@pytest.mark.parametrize("words", [["record"], ["record", "--keep", "some", "train.py"], ["record", "no.py"]])
def test_bad_words(recorded, capsys, monkeypatch, words):
    monkeypatch.chdir(recorded[0])
    assert main(words) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_record_does_not_begin_where_it_can_not_write(recorded, capsys, monkeypatch):
    monkeypatch.chdir(recorded[0])
    assert main(["record", "-o", "train.py", "train.py"]) == 2
    assert "there is a file that is no recording" in capsys.readouterr().err
    assert Path("train.py").read_text() == SCRIPT


def test_a_program_that_raises_is_recorded_up_to_there(recorded, tmp_path):
    (tmp_path / "fails.py").write_text(
        SCRIPT.replace("    optimizer.step()", "    assert n < 2, 'enough'\n    optimizer.step()")
    )
    done = backpropdbg("record", "fails.py", folder=tmp_path)
    assert done.returncode == 1 and "AssertionError: enough" in done.stderr
    told = backpropdbg("open", "fails.bptrace", folder=tmp_path).stdout
    assert "it ends in iteration 3: the program raised AssertionError: enough" in told


def test_a_program_that_raises_what_no_file_holds_leaves_a_whole_recording(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [
        "import torch",
        "w = torch.ones(3, requires_grad=True)",
        "w.sum().backward()",
        "print('printed \\ud800'.encode('utf-8', 'replace').decode())",
        "raise ValueError('boom \\ud800')",
    ]
    (tmp_path / "crash.py").write_text("\n".join(lines))
    assert main(["record", "crash.py"]) == 1
    shown = capfd.readouterr().err
    assert "ValueError: boom" in shown and "backpropdbg/" not in shown
    assert sorted(p.name for p in tmp_path.iterdir()) == ["crash.bptrace", "crash.py"]
    assert main(["open", "crash.bptrace"]) == 0
    assert "boom \\ud800" in capfd.readouterr().out


def test_a_program_that_is_killed_is_said_to_be(tmp_path):
    (tmp_path / "die.py").write_text("import torch, os\nos.kill(os.getpid(), 9)\n")
    command = [sys.executable, "-m", "backpropdbg", "record", "die.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == -9 and "the program was killed by SIGKILL" in done.stderr
