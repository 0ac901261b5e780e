"""`trace.save` and `open_trace`: what a block recorded is the same from a file."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from driving import OPTIMIZERS, make_net, seed

import backpropdbg
from backpropdbg.errors import RecordingError


def trained(optimizer: str = "adam", iterations: int = 3, **how):
    seed(0)
    model, x, y = make_net("module", 3)
    made = OPTIMIZERS[optimizer](model.parameters())
    with backpropdbg.record(model, made, **how) as trace:
        for _ in range(iterations):
            made.zero_grad()
            torch.nn.functional.mse_loss(model(x), y).backward()
            made.step()
    return trace


def same(a, b):
    return a is b is None or (a is not None and b is not None and a.equal(b))


def assert_same(live, again):
    assert [i.number for i in again.iterations] == [i.number for i in live.iterations]
    assert again.problems == live.problems
    for mine, theirs in zip(live.iterations, again.iterations, strict=True):
        assert theirs.parameters == mine.parameters
        for name in mine.parameters:
            a, b = mine.ledger(name), theirs.ledger(name)
            assert (a.uses, a.names, a.labels, a.exact) == (b.uses, b.names, b.labels, b.exact)
            assert all(
                map(same, (*a.partials, a.carried, a.running, a.grad), (*b.partials, b.carried, b.running, b.grad))
            )
            u, v = mine.update(name), theirs.update(name)
            assert u.skipped == v.skipped
            assert all(map(same, (u.before, u.after, u.delta), (v.before, v.after, v.delta)))
            assert list(u.terms) == list(v.terms) and all(map(same, u.terms.values(), v.terms.values()))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_saved_recording_is_the_same(tmp_path, optimizer):
    live, path = trained(optimizer), tmp_path / "run.bptrace"
    live.save(path)
    again = backpropdbg.open_trace(path)
    assert isinstance(again, type(live).__mro__[1])
    assert len(again.iterations) == 3 and len(again.iteration(2).ledger("middle_linear.weight").partials) == 3
    assert_same(live, again)


def test_saving_changes_nothing_and_can_be_done_again(tmp_path):
    live = trained()
    live.save(tmp_path / "a.bptrace")
    live.save(str(tmp_path / "b.bptrace"))
    (tmp_path / "a.bptrace").unlink()
    assert_same(live, backpropdbg.open_trace(tmp_path / "b.bptrace"))


def test_what_was_opened_can_be_saved(tmp_path):
    live = trained()
    live.save(tmp_path / "a.bptrace")
    backpropdbg.open_trace(tmp_path / "a.bptrace").save(tmp_path / "b.bptrace")
    assert_same(live, backpropdbg.open_trace(tmp_path / "b.bptrace"))


def test_what_was_not_kept_is_not_kept_in_the_file_either(tmp_path):
    live = trained(keep=2_000)
    live.save(tmp_path / "run.bptrace")
    again = backpropdbg.open_trace(tmp_path / "run.bptrace")
    with pytest.raises(RecordingError, match="was not kept"):
        _ = again.iteration(1).ledger("middle_linear.weight").partials
    assert len(again.iteration(3).ledger("middle_linear.weight").partials) == 3


def test_a_weight_that_nobody_looked_at_again_stays_so(tmp_path):
    """`after` is None in both: the program may have moved it by hand after the block's last backward."""
    seed(0)
    model, x, y = make_net("module", 2)
    with backpropdbg.record(model) as live:
        torch.nn.functional.mse_loss(model(x), y).backward()
    live.save(tmp_path / "run.bptrace")
    assert_same(live, backpropdbg.open_trace(tmp_path / "run.bptrace"))


def test_a_place_that_can_not_be_written_is_an_error_of_one_line(tmp_path):
    (tmp_path / "notes.txt").write_text("precious")
    for path, says in ((tmp_path / "notes.txt", "no recording"), (tmp_path / "no" / "a.bptrace", "is not there")):
        with pytest.raises(RecordingError, match=says):
            trained().save(path)
    assert (tmp_path / "notes.txt").read_text() == "precious"


def test_a_file_that_is_none_is_an_error_of_one_line(tmp_path):
    with pytest.raises(RecordingError, match="No such file"):
        backpropdbg.open_trace(tmp_path / "run.bptrace")


LOOK = """
import sys
import backpropdbg
trace = backpropdbg.open_trace(sys.argv[1])
assert [i.number for i in trace.iterations] == [1, 2, 3] and trace.problems == ()
assert "middle_linear.weight" in trace.iteration(2).parameters
assert "torch" not in sys.modules
assert trace.iteration(2).ledger("middle_linear.weight").exact
assert "torch" in sys.modules
"""


def test_torch_is_imported_once_a_ledger_is_asked_for(tmp_path):
    trained().save(tmp_path / "run.bptrace")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOOK, str(tmp_path / "run.bptrace")],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(backpropdbg.__file__).parent,
    )
    assert done.returncode == 0, done.stderr


def test_the_debugger_opens_what_was_saved(tmp_path, capfd, monkeypatch):
    from backpropdbg.cli import main

    monkeypatch.chdir(tmp_path)
    trained().save("run.bptrace")
    assert main(["open", "run.bptrace"]) == 0
    assert "a recording of record(), 3 iterations" in capfd.readouterr().out
