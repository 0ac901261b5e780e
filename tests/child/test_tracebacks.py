"""Tracebacks read as without us: those that end the program, and those that it prints itself."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """\
import logging, sys, traceback
import torch


class Fails(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        raise ArithmeticError("in backward")


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU())

    def forward(self, x, fails=""):
        x = self.layers(x)
        if fails == "view":
            return x.view(5)
        if fails == "relu":
            return torch.nn.functional.relu("text")
        return Fails.apply(x) if fails == "backward" else x


net = Net()


def fail(how):
    if how == "hook":
        net.layers[0].weight.register_hook(lambda grad: 1 / 0)
    net(torch.ones(3, 2), how).sum().backward()


for how in ("view", "relu", "backward", "hook"):
    try:
        fail(how)
    except Exception as error:
        traceback.print_exc()
        print(traceback.format_exc())
        logging.exception("again")
        print(len(traceback.extract_tb(error.__traceback__)) > 1)
        try:
            raise RuntimeError("while handling") from error
        except RuntimeError:
            traceback.print_exc()
try:
    torch.optim.SGD(net.parameters(), lr=-1)
except ValueError:
    traceback.print_exc()
if len(sys.argv) > 1:
    fail(sys.argv[1])
"""


@pytest.mark.parametrize("how", ["", "view", "relu", "backward", "hook"])
@pytest.mark.parametrize("options", [[], ["-c", "continue"]], ids=["idle", "stepping"])
def test_the_program_prints_the_same(tmp_path: Path, how: str, options: list[str]) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-W", "ignore", *words, "program.py", *filter(None, [how])]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)

    plain, watched = run(), run("-m", "backpropdbg", "run", *options)
    assert plain.returncode == watched.returncode == (1 if how else 0)
    assert plain.stdout == watched.stdout and plain.stdout.count("Traceback") >= 4
    theirs = watched.stderr if not options else watched.stderr[watched.stderr.index("Traceback") :]
    assert theirs.startswith(plain.stderr) if options else theirs == plain.stderr
