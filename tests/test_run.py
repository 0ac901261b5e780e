"""`run SCRIPT`, in a script of commands: the program is itself, with its arguments, output, exit code and traceback."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

TRAIN = """\
import sys
import torch

class Shared(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = torch.nn.RNNCell(3, 4)

    def forward(self, xs):
        h = torch.zeros(xs.shape[1], 4)
        for x in xs:
            h = self.cell(x, h)
        return h

def main(steps):
    torch.manual_seed(0)
    model = Shared()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(steps):
        loss = model(torch.randn(5, 2, 3)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(loss.item())
    print([p.tolist() for p in model.parameters()], sys.argv[1:], __name__, __file__)
    if steps == 3:
        raise ValueError("three") from KeyError("why")
    sys.exit(steps)

if __name__ == "__main__":
    main(int(sys.argv[1]))
"""


def python(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-W", "ignore", *words], cwd=folder, capture_output=True, text=True, timeout=120
    )


def replay(folder: Path, first: str, *lines: str) -> "subprocess.CompletedProcess[str]":
    (folder / "s.bpdb").write_text("\n".join([first, *lines]))
    return python(folder, "-m", "backpropdbg", "replay", "s.bpdb")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(TRAIN)
    return tmp_path


@pytest.mark.parametrize("words", ["train.py 2", "-m train 2"])
def test_the_same_output_and_exit_code(folder: Path, words: str) -> None:
    plain = python(folder, *words.split())
    assert plain.returncode == 2 and "'__main__'" not in plain.stderr
    watched = replay(folder, f"run {words}", "continue")
    said = watched.stdout.replace(str(folder) + "/", "")
    assert plain.stdout.replace(str(folder) + "/", "") in said
    assert "The program ended with exit code 2." in said and watched.returncode == 0


def test_the_same_traceback(folder: Path) -> None:
    plain, watched = python(folder, "train.py", "3"), replay(folder, "run train.py 3", "continue")
    assert plain.returncode == 1 and watched.returncode == 3
    theirs, ours = watched.stderr.rstrip("\n").rpartition("\n")[::2]
    assert theirs == plain.stderr.rstrip("\n")
    assert ours == "s.bpdb:2: the program raised ValueError: three"


def test_uses_of_a_cell_are_named_and_stopped_at(folder: Path) -> None:
    done = replay(
        folder,
        "run train.py 1",
        "focus cell.weight_hh",
        "until backward cell#3",
        "expect (use, uses) == (3, 5)",
        "where",
    )
    assert (done.returncode, done.stderr) == (0, "")
    line = TRAIN.splitlines().index("        loss.backward()") + 1
    assert f"train.py:{line} main" in done.stdout and "BACKWARD  cell#3 of 5" in done.stdout


def test_the_program_of_demos_is_itself() -> None:
    root = Path(__file__).parent.parent
    plain = python(root, "demos/rnn.py", "--steps", "2")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "s.bpdb").write_text(
            "run demos/rnn.py --steps 2\nfocus cell.weight_hh\nn\nexpect use == 2\nc\n"
        )
        watched = python(root, "-m", "backpropdbg", "replay", f"{folder}/s.bpdb")
    assert plain.returncode == watched.returncode == 0 and plain.stdout.count("loss") == 2
    assert plain.stdout in watched.stdout


@pytest.mark.parametrize(
    ("first", "named"),
    [("run", "which script"), ("run nope.py", "run nope.py: no such file"), ("run .", "is a folder")],
)
def test_mistakes_are_one_line(folder: Path, first: str, named: str) -> None:
    done = replay(folder, first)
    assert done.returncode == 2 and done.stderr.startswith("backpropdbg: s.bpdb:1: ") and named in done.stderr
    assert done.stderr.count("\n") == 1 and done.stdout == ""
