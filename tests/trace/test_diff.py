"""`diff A B` names the first event where two recordings part, and by how much: both compared with plain torch."""

from pathlib import Path

import pytest
import torch
from driving import make_net, probed, seed, writer

from backpropdbg.cli import main
from backpropdbg.keep import EVERYTHING, Keep
from backpropdbg.trace.history import Trace


def recorded(path: Path, change=lambda n, model: None, iterations=4, keep=EVERYTHING, uses=2, lr=1e-3) -> Trace:
    """A small training; change(iteration, model) runs before each iteration, unseen."""
    file = writer(str(path), keep=keep)
    trace = Trace(file=file)
    seed(0)
    model, x, y = make_net("module", uses)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    with probed(trace.append):
        for n in range(1, iterations + 1):
            change(n, model)
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(model(x), y).backward()
            optimizer.step()
    file.close("the program ended", 0)
    return trace


def diff(folder: Path, capsys, monkeypatch) -> tuple[int, str]:
    monkeypatch.chdir(folder)
    code = main(["diff", "a.bptrace", "b.bptrace"])
    out, err = capsys.readouterr()
    assert err == ""
    return code, out


def test_the_same_run_twice(tmp_path, capsys, monkeypatch):
    a = recorded(tmp_path / "a.bptrace")
    recorded(tmp_path / "b.bptrace")
    said = f"a.bptrace and b.bptrace are the same: 4 iterations, {len(a)} events, every tensor bit for bit\n"
    assert diff(tmp_path, capsys, monkeypatch) == (0, said)


def test_one_bit_of_one_weight(tmp_path, capsys, monkeypatch):
    """Where it shows first: at what the program did by hand; by how much, in the norm and the largest element."""

    def change(n, model):
        if n == 3:
            with torch.no_grad():
                w = model.middle_linear.weight
                w[1, 2] = torch.nextafter(w[1, 2], torch.tensor(9.0))

    a = recorded(tmp_path / "a.bptrace")
    b = recorded(tmp_path / "b.bptrace", change)
    code, out = diff(tmp_path, capsys, monkeypatch)
    first = next(n for n in range(len(a)) if type(a[n]) is not type(b[n]))
    assert code == 1 and f"part at event {first}: iteration 3, " in out and "ManualUpdate" in out


def test_another_rate_shows_where_the_optimizer_is_known(tmp_path, capsys, monkeypatch):
    a = recorded(tmp_path / "a.bptrace")
    b = recorded(tmp_path / "b.bptrace", lr=2e-3)
    code, out = diff(tmp_path, capsys, monkeypatch)
    told = [getattr(a[n], "optimizer", "") != getattr(b[n], "optimizer", "") for n in range(len(a))]
    assert code == 1 and f"part at event {told.index(True)}: " in out
    assert "optimizer: SGD lr=0.001 against SGD lr=0.002" in out


@pytest.mark.parametrize("keep", [EVERYTHING, Keep(0)])
def test_another_input_by_how_much(tmp_path, capsys, monkeypatch, keep):
    """Where the weights are shown first."""

    def change(n, model):
        if n == 1:
            model.middle_linear.weight.data[0, 0] += 0.25

    a = recorded(tmp_path / "a.bptrace", keep=keep)
    b = recorded(tmp_path / "b.bptrace", change, keep=keep)
    code, out = diff(tmp_path, capsys, monkeypatch)
    where = next(n for n in range(len(a)) if getattr(a[n], "weights", None))
    name = "middle_linear.weight"
    one, other = (trace[where].weights[name].value for trace in (a, b))
    assert code == 1 and f"part at event {where}: iteration 1, " in out
    line = f"weights {name}: norm {one.double().norm().item():.6g} against {other.double().norm().item():.6g}; "
    largest = (one.double() - other.double()).abs().max().item()
    told = f"largest difference {largest:.6g}" if keep == EVERYTHING else "the values are not kept"
    assert line + told in out


def test_one_goes_on_longer(tmp_path, capsys, monkeypatch):
    a = recorded(tmp_path / "a.bptrace", iterations=2)
    recorded(tmp_path / "b.bptrace")
    code, out = diff(tmp_path, capsys, monkeypatch)
    said = f"a.bptrace ends before event {len(a)}; b.bptrace goes on: iteration 3, an iteration begins\n"
    assert (code, out) == (1, said)


def test_statistics_alone_are_said_to_be(tmp_path, capsys, monkeypatch):
    recorded(tmp_path / "a.bptrace", keep=Keep(0))
    recorded(tmp_path / "b.bptrace", keep=Keep(0))
    code, out = diff(tmp_path, capsys, monkeypatch)
    assert code == 0 and "by their norms alone, for no values are kept" in out


def test_another_number_of_uses(tmp_path, capsys, monkeypatch):
    recorded(tmp_path / "a.bptrace")
    recorded(tmp_path / "b.bptrace", uses=3)
    code, out = diff(tmp_path, capsys, monkeypatch)
    assert code == 1 and "middle_linear#3" in out


def test_what_is_no_recording(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recorded(tmp_path / "a.bptrace")
    (tmp_path / "b.bptrace").write_text("hello")
    assert main(["diff", "a.bptrace", "b.bptrace"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err == "backpropdbg: b.bptrace is no recording; give a .bptrace file\n"
