"""What a recording keeps obeys its policy; and what memory let go or forgot comes back from it."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import plain
import pytest
import torch
from driving import make_net, probed, seed, writer

from backpropdbg.child.opened import open_file
from backpropdbg.errors import RecordingError, UsageError
from backpropdbg.events import Accumulated, BackwardUse, handles
from backpropdbg.keep import EVERYTHING, Keep, keep_of
from backpropdbg.trace.history import Trace
from backpropdbg.trace.lay import check

TESTS = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("text", "keep"),
    [
        ("all", EVERYTHING),
        ("stats", Keep(0)),
        ("last 10", Keep(None, 10)),
        ("last 1 iteration", Keep(None, 1)),
        ("last 3 iterations", Keep(None, 3)),
        ("64MiB", Keep(2**26)),
        ("1.5GB", Keep(1_500_000_000)),
    ],
)
def test_policies_in_words(text, keep):
    assert keep_of(text) == keep


@pytest.mark.parametrize("text", ["", "last", "last 0", "last -1", "some", "0", "12XB", "-5MB"])
def test_other_words_are_refused(text):
    with pytest.raises(UsageError, match="is neither 'all', 'stats', 'last N' nor a size"):
        keep_of(text)


def recorded(path: Path, keep: Keep, iterations: int = 30, size: int = 256) -> Trace:
    """A trace of that many iterations, of which nothing is left in memory."""
    file = plain.writer(path, keep)
    trace, made = Trace(file=file), plain.iterations(size)
    for _ in range(iterations):
        for event in next(made):
            trace.append(event)
    file.close("the program ended")
    return trace


def kept(path: Path) -> dict[int, list[bool]]:
    """By iteration, whether each tensor that it shows is kept."""
    trace = plain.opened(path)
    return {n: [h.kept for event in trace.iteration(n) for h in handles(event)] for n in trace.iterations()}


def norms(path: Path) -> list[float | None]:
    trace = plain.opened(path)
    return [h.facts().norm for n in range(len(trace)) for h in handles(trace[n])]


def test_all_of_it(tmp_path):
    path = tmp_path / "run.bptrace"
    recorded(path, EVERYTHING)
    assert all(all(of) for of in kept(path).values())


def test_statistics_only(tmp_path):
    """Every tensor has its norm, none its bytes."""
    path, whole = tmp_path / "run.bptrace", tmp_path / "all.bptrace"
    recorded(path, Keep(0), size=1024)
    recorded(whole, EVERYTHING, size=1024)
    assert not any(any(of) for of in kept(path).values())
    assert norms(path) == pytest.approx(norms(whole)) and None not in norms(path)
    assert path.stat().st_size < whole.stat().st_size / 2


@pytest.mark.parametrize("last", [1, 5, 29, 30, 100])
def test_the_last_iterations_whole(tmp_path, last):
    """What an older iteration showed first is there too, where one of those shows it."""
    path = tmp_path / "run.bptrace"
    recorded(path, Keep(None, last))
    found = kept(path)
    for number in range(31 - min(last, 30), 31):
        assert all(found[number]), number
    for number in range(1, 30 - last):
        assert not any(found[number]), number
    if last < 30:  # the first one that is kept whole begins with the weight and the gradient that this one ends with
        assert found[30 - last].count(True) == 3


def test_a_size_holds_the_newest(tmp_path):
    size = 40 * 1024
    path = tmp_path / "run.bptrace"
    recorded(path, Keep(size), 200)
    found = kept(path)
    trace = plain.opened(path)
    sizes = {h.stored._number: len(h.pack().data) for n in range(len(trace)) for h in handles(trace[n]) if h.kept}
    assert size - 8 * 1024 < sum(sizes.values()) <= size
    assert all(found[200]) and all(found[197]) and not any(found[1])
    assert None not in norms(path)


def test_the_file_stops_growing_by_tensors_once_the_size_is_reached(tmp_path):
    sizes = []
    for iterations in (100, 400):
        path = tmp_path / f"{iterations}.bptrace"
        recorded(path, Keep(64 * 1024), iterations, 1024)
        sizes.append(path.stat().st_size)
    events = 300 * plain.EVENTS * 600
    assert sizes[1] - sizes[0] < events  # the same tensors would be 7 MB


def test_a_tensor_that_alone_is_too_large_is_not_kept(tmp_path):
    path = tmp_path / "run.bptrace"
    recorded(path, Keep(1000), 3)
    assert {k for of in kept(path).values() for k in of} == {True, False}  # the losses fit


# -- live: what memory has no room for ---------------------------------------------------------------


def train(iterations: int, uses: int = 3) -> None:
    seed(0)
    model, x, y = make_net("module", uses)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    for _ in range(iterations):
        loss = torch.nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def traced(iterations: int, file=None, **limits) -> Trace:
    trace = Trace(file=file, **limits)
    with probed(trace.append):
        train(iterations)
    return trace


def values(trace: Trace) -> list[list[torch.Tensor]]:
    return [[h.value for h in handles(trace[n])] for n in range(trace.first, len(trace))]


def test_what_the_budget_let_go_comes_back_when_asked_for(tmp_path):
    """Bit for bit; without a file it is gone."""
    budget = 3_000
    file = writer(str(tmp_path / "run.bptrace"))
    whole, poor, rich = traced(20), traced(20, budget=budget), traced(20, file, budget=budget)
    assert not all(h.kept for h in handles(poor[10]))
    assert rich.nbytes <= 2 * budget
    dropped = [h for n in range(len(rich)) for h in handles(rich[n]) if not h.in_memory]
    assert len(dropped) > 100 and all(h.kept for h in dropped)
    for mine, theirs in zip(values(rich), values(whole), strict=True):
        assert all(a.equal(b) for a, b in zip(mine, theirs, strict=True))
    file.close("the test ended")


def test_events_that_were_forgotten_come_back_too(tmp_path):
    file = writer(str(tmp_path / "run.bptrace"))
    whole, rich = traced(20), traced(20, file, max_events=100, budget=3_000)
    assert rich.first == 0 and len(rich) == len(whole) and rich._base > 400
    assert rich.iterations() == whole.iterations()
    for number in whole.iterations():
        assert rich.start(number) == whole.start(number)
        start = whole.start(number)
        for until in (start, start + 7, None):
            mine, theirs = rich.iteration(number, until), whole.iteration(number, until)
            assert [type(e) for e in mine] == [type(e) for e in theirs]
    for mine, theirs in zip(values(rich), values(whole), strict=True):
        assert all(a.equal(b) for a, b in zip(mine, theirs, strict=True))
    with pytest.raises(IndexError):
        rich[-1]
    file.close("the test ended")


def test_many_uses_in_one_backward_add_up_to_the_same_bits(tmp_path):
    """With a file none of the partials is lost."""
    file = writer(str(tmp_path / "run.bptrace"))
    trace = Trace(2_000, file=file)
    with probed(trace.append) as seen:
        train(1, uses=300)
    from backpropdbg.ledger import fold

    run = fold("middle_linear.weight", trace.iteration(1)).runs[-1]
    assert len(run.partials) == 300 and all(p.kept for p in run.partials) and trace.nbytes < 100_000
    assert run.exact() is True and not run.lost
    assert len(seen.events) == len(trace)
    file.close("the test ended")


def test_a_gradient_that_is_its_only_partial_is_written_once(tmp_path):
    """Of what is used three times, and of what another backward adds to, both are written."""
    path = tmp_path / "run.bptrace"
    seed(0)
    model, x, y = make_net("module", 3)
    file = writer(str(path))
    trace = Trace(file=file)
    with probed(trace.append):
        for _ in range(2):
            torch.nn.functional.mse_loss(model(x), y).backward()
    file.close("the test ended")
    found = open_file(str(path))
    runs = [{}, {}]
    for n in range(len(found)):
        event, live = found[n], trace[n]
        assert all(a.value.equal(b.value) for a, b in zip(handles(event), handles(live), strict=True))
        if isinstance(event, BackwardUse):
            runs[event.run - 1].setdefault(event.use.parameter, []).append(event.partial)
        if isinstance(event, Accumulated):
            once = event.grad is runs[event.run - 1][event.parameter][0]
            assert once == (event.run == 1 and not event.parameter.startswith("middle"))


@pytest.mark.parametrize("keep", [Keep(0), Keep(100), Keep(9_000), Keep(None, 2)], ids=str)
def test_of_what_was_let_go_every_norm_is_torchs(tmp_path, keep):
    """Whoever has it open meanwhile finds it too."""
    path = tmp_path / "run.bptrace"
    file = writer(str(path), keep=keep)
    trace = Trace(file=file)
    with probed(trace.append):
        train(3)
        file.flush()
        opened = open_file(str(path))
        early = [h for n in range(len(opened)) for h in handles(opened[n]) if h.facts(False).form.shape]
        train(8)
    file.close("the test ended")
    found = open_file(str(path))
    gone = 0
    for n in range(len(found)):
        for mine, live in zip(handles(found[n]), handles(trace[n]), strict=True):
            gone += not mine.kept
            assert mine.norm() == torch.linalg.vector_norm(live.value.double()).item()
            assert mine.kept or mine.vmax() == live.value.abs().max().item()
    assert gone > 200
    live = [h for n in range(len(trace)) for h in handles(trace[n]) if h.shape]
    assert [h.norm() for h in early] == [h.norm() for h in live[: len(early)]]


def test_what_is_damaged_when_it_is_let_go_is_not_measured(tmp_path):
    path = tmp_path / "run.bptrace"
    file = plain.writer(path, Keep(None, 5))
    trace, made = Trace(file=file), plain.iterations(64)
    for number in range(12):
        for event in next(made):
            trace.append(event)
        file.flush()
        if number == 2:  # a bit of the loss of the first iteration: it comes after a key and the first weight
            data = tmp_path / "run.bptrace-data"
            with data.open("r+b") as heap:
                heap.seek(24 + 256)
                heap.write(b"\x01")
    file.close("the test ended")
    odd = [h.facts() for h in handles(plain.opened(path)[plain.USES + 1])]
    assert [facts.norm for facts in odd] == [None] and norms(path).count(None) == 2  # it shows in two events


# -- where it can't be written ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("there.txt", "there is a file that is no recording; give another name"),
        ("folder", "it is a folder"),
        ("no/where.bptrace", "is not there"),
    ],
)
def test_nothing_else_is_overwritten(tmp_path, monkeypatch, name, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.txt").write_text("precious")
    (tmp_path / "folder").mkdir()
    with pytest.raises(RecordingError) as caught:
        check(name)
    assert says in str(caught.value) and repr(name) in str(caught.value)
    with pytest.raises(RecordingError):
        plain.writer(tmp_path / name)
    assert (tmp_path / "there.txt").read_text() == "precious"


def test_a_recording_is_replaced_by_the_next_one(tmp_path):
    path = tmp_path / "run.bptrace"
    recorded(path, EVERYTHING, 5)
    old = plain.opened(path)
    recorded(path, EVERYTHING, 2)
    assert len(plain.opened(path)) == 2 * plain.EVENTS
    assert len(old) == 5 * plain.EVENTS and old[30].iteration == 3  # who has it open goes on reading
    assert [p.name for p in tmp_path.iterdir()] == ["run.bptrace"]


def test_a_killed_recording_is_replaced_with_its_log(tmp_path):
    """An old log would be taken for the new file's."""
    path = tmp_path / "run.bptrace"
    file = plain.writer(path)
    trace = Trace(file=file)
    for event in next(plain.iterations()):
        trace.append(event)
    file.flush()
    assert os.path.exists(f"{path}-wal")
    os.close(file._held)  # as the end of its process does
    recorded(path, EVERYTHING, 2)
    assert len(plain.opened(path)) == 2 * plain.EVENTS


def test_two_do_not_record_to_one_file(tmp_path):
    path = tmp_path / "run.bptrace"
    file = plain.writer(path)
    with pytest.raises(RecordingError, match="another process is recording to it; give another name"):
        plain.writer(path)
    trace = Trace(file=file)
    for event in next(plain.iterations()):
        trace.append(event)
    file.close("at the end")
    assert len(plain.opened(path)) == plain.EVENTS
    plain.writer(path).close("at once")


FULL = """
import resource, sys
import plain
from backpropdbg.trace.history import Trace
file = plain.writer(sys.argv[1], say=lambda text: print(text, flush=True))
trace, made = Trace(file=file), plain.iterations(1000)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
for n in range(200):
    for event in next(made):
        trace.append(event)
    trace.note_output("stdout", "step")
    if n < 5:
        file.flush()
file.flush()
file.close("the program ended", 0)
print(file.alive, len(trace))
"""


def test_a_full_disk_ends_the_recording_with_one_line_and_the_program_runs_on(tmp_path):
    """What is in the file by then can be read."""
    path = tmp_path / "run.bptrace"
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": str(TESTS)},
    )
    assert (done.returncode, done.stderr) == (0, "")
    said, result = done.stdout.splitlines()
    assert said.startswith(f"{path}: the recording ends here: ") and said.endswith("; the program runs on")
    assert result == f"False {200 * plain.EVENTS}"
    found = plain.opened(path)
    assert 0 < len(found) < 200 * plain.EVENTS and found.ended is None and found.damage == ""
    assert all(h.value[0] or True for n in range(len(found)) for h in handles(found[n]))


def test_this_machine_can_limit_files():
    assert hasattr(resource, "RLIMIT_FSIZE")
