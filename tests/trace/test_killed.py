"""`kill -9` at any moment: all that was committed is there, and the file says where it ends."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import plain
import pytest

from backpropdbg.console.record import overview
from backpropdbg.events import handles
from backpropdbg.trace import heap
from backpropdbg.trace.history import Trace

TESTS = Path(__file__).parent.parent


def record(path: Path, tell: int) -> None:
    """Record for ever; say through a pipe how many events are in the file for certain."""
    writer = plain.writer(path)
    trace = Trace(file=writer)
    for n, events in enumerate(plain.iterations(64), 1):
        for event in events:
            trace.append(event)
        trace.note_output("stdout", f"step {n}\n")
        if n % 7 == 0:
            writer.flush()
            os.write(tell, len(trace).to_bytes(8, "big"))


def kill(path: Path, after: float) -> int:
    """Record until the process is killed; how many events were in the file for certain."""
    hear, tell = os.pipe()
    child = os.fork()
    if not child:
        try:
            record(path, tell)
        finally:
            os._exit(1)
    os.close(tell)
    certain = os.read(hear, 8)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    with open(hear, "rb") as pipe:
        told = certain + pipe.read()
    os.waitpid(child, 0)
    return int.from_bytes(told[-8:], "big")


@pytest.mark.parametrize("seed", range(50))
def test_nothing_that_was_committed_is_lost(tmp_path, seed):
    path = tmp_path / "run.bptrace"
    certain = kill(path, random.Random(seed).uniform(0, 0.15))
    trace = plain.opened(path)
    assert len(trace) >= certain and trace.first == 0 and trace.damage == "" and trace.ended is None
    for position in range(len(trace)):
        assert trace[position].iteration == position // plain.EVENTS + 1
    last = trace[len(trace) - 1].iteration
    assert trace.iterations() == list(range(1, last + 1))
    for number in {1, (last + 1) // 2, last - 1} - {0}:
        partials = [e.partial.value for e in trace.iteration(number) if type(e).__name__ == "BackwardUse"]
        assert [p[0] for p in partials] == pytest.approx([number, number + 0.1, number + 0.2])
    printed = "".join(text for _, text in trace.printed.tail(certain, 2**40))
    assert printed.startswith("".join(f"step {n}\n" for n in range(1, certain // plain.EVENTS + 1)))


def test_the_log_beside_a_killed_recording_is_needed_and_the_overview_says_so(tmp_path):
    path = tmp_path / "run.bptrace"
    certain = kill(path, 0.2)
    assert os.path.exists(f"{path}-wal")
    text, damage = overview(str(path))
    assert f"keep {path}-wal beside it" in text and "its program was killed" in text and damage == ""
    assert f"keep {path}-data beside it: the tensors are in there" in text
    assert len(plain.opened(path)) >= certain


def test_killed_while_it_becomes_one_file(tmp_path):
    """Half of the tensors are behind the pages, all are beside: nothing is lost, and the next one replaces both."""
    path = tmp_path / "run.bptrace"
    certain = kill(path, 0.05)
    sqlite3.connect(path).execute("PRAGMA journal_mode = DELETE").fetchone()
    data = Path(heap.beside(str(path))).read_bytes()
    with open(path, "ab") as file:
        file.write(data[: len(data) // 2])
    trace = plain.opened(path)
    assert len(trace) >= certain and trace.damage == ""
    assert all(held.value is not None for n in range(len(trace)) for held in handles(trace[n]))
    plain.writer(path).close("the next one")
    assert [p.name for p in tmp_path.iterdir()] == ["run.bptrace"]


def test_it_can_be_read_while_it_grows(tmp_path):
    path = tmp_path / "run.bptrace"
    writer, made = plain.writer(path), plain.iterations()
    live, trace = Trace(file=writer), None
    for number in range(1, 6):
        for event in next(made):
            live.append(event)
        writer.flush()
        trace = trace or plain.opened(path)
        trace.refresh()
        assert len(trace) == len(live) and trace[len(live) - 1].iteration == number
    writer.close("the program ended", 0)
    trace.refresh()
    assert trace.ended is not None and trace.ended.code == 0


def test_a_signal_that_prints_may_come_while_an_event_is_taken(tmp_path):
    """Its handler runs in the thread that takes the event: it must not wait for that to end."""

    class Interrupted(list):
        def append(self, event):
            super().append(event)
            writer.print(len(self), "stdout", "x")

    path = tmp_path / "run.bptrace"
    writer, events = plain.writer(path), next(plain.iterations(4))

    def take() -> None:
        with writer._lock:  # so that all of them are in one batch
            writer._batch.events = Interrupted()
            for position, event in enumerate(events):
                writer.add(position, event, handles(event))

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    writer.close("the program ended", 0)
    trace = plain.opened(path)
    assert (len(trace), trace.reader.count(len(events))) == (len(events), len(events))


def test_a_forked_worker_never_writes_nor_closes(tmp_path):
    """Not even at its interpreter's end, and not while the parent is in the middle of a transaction."""
    path = tmp_path / "run.bptrace"
    writer, made = plain.writer(path), plain.iterations()
    live = Trace(file=writer)
    for _ in range(30):
        for event in next(made):
            live.append(event)
        pid = os.fork()
        if not pid:
            live.append(event)
            live.note_output("stdout", "from the worker")
            writer.flush()
            writer.close("by the worker")
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    writer.close("the program ended", 0)
    trace = plain.opened(path)
    assert len(trace) == len(live) and trace.printed.count(len(live)) == 0 and trace.ended.how == "the program ended"


FORKS = """
import os, sys
import plain
from backpropdbg.events import handles
from backpropdbg.trace import heap
from backpropdbg.trace.history import Trace
writer = plain.writer(sys.argv[1])
trace = Trace(file=writer)
for n, events in enumerate(plain.iterations(64), 1):
    for event in events:
        trace.append(event)
    if n == 40 and not os.fork():
        sys.exit(0)  # the interpreter ends as ever, with all that it does then
    if n == 80:
        assert os.wait()[1] == 0
        writer.close("the program ended", 0)
        break
"""


def test_a_worker_that_ends_as_python_does_leaves_the_file_alone(tmp_path):
    path = tmp_path / "run.bptrace"
    done = subprocess.run(
        [sys.executable, "-c", FORKS, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": str(TESTS)},
    )
    assert (done.returncode, done.stderr) == (0, "")
    trace = plain.opened(path)
    assert len(trace) == 80 * plain.EVENTS and trace.ended is not None
    assert [p.name for p in tmp_path.iterdir()] == ["run.bptrace"]


@pytest.mark.parametrize("left", ["wal and shm", "wal alone", "neither"])
def test_a_folder_that_can_not_be_written_is_read_all_the_same(left):
    """By somebody who may only read. A pytest folder is its owner's alone, so this one is another."""
    if os.getuid():
        pytest.skip("only root can become somebody else")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.bptrace"
        certain = kill(path, 0.05)
        if left == "wal alone":
            os.unlink(f"{path}-shm")
        if left == "neither":
            sqlite3.connect(path).execute("PRAGMA journal_mode = DELETE").fetchone()
        for name in path.parent.iterdir():
            name.chmod(0o444)
        path.parent.chmod(0o555)
        child = os.fork()
        if not child:
            code = 2
            try:
                os.setgid(65534)
                os.setuid(65534)
                code = int(len(plain.opened(path)) < certain)
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
