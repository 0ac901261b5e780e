"""`--unfuse` splits what it is named for: an LSTM on CPU shows a use by each time step."""

import json
import subprocess
import sys

import pytest

LSTM = """\
import torch
torch.manual_seed(0)
net = torch.nn.LSTM(3, 4)
net(torch.randn(5, 2, 3))[0].square().sum().backward()
"""


@pytest.mark.parametrize("flags,uses,split", [([], 1, False), (["--unfuse"], 5, True)])
def test_unfuse(tmp_path, flags, uses, split):
    script, output = tmp_path / "lstm.py", tmp_path / "rows"
    script.write_text(LSTM)
    command = [sys.executable, "-m", "backpropdbg", "report", *flags, "--format", "jsonl", "-o", output, script]
    subprocess.run(command, check=True, timeout=120)
    rows = {row["names"][0]: row for row in map(json.loads, output.read_text().splitlines())}
    assert (rows["weight_hh_l0"]["uses"], rows["weight_hh_l0"]["split"]) == (uses, split)
    assert rows["weight_hh_l0"]["exact"] is True


def test_the_flag_is_named_where_it_splits(tmp_path):
    script = tmp_path / "lstm.py"
    script.write_text(LSTM)
    command = [sys.executable, "-m", "backpropdbg", "report", script]
    said = subprocess.run(command, check=True, timeout=120, capture_output=True, text=True).stderr
    assert "MkldnnRnnLayerBackward0; with --unfuse it is split" in said
