"""Where several threads train, nothing is said of one that another did; that they do is said once."""

import io
import threading

import torch
from torch import nn


def steps(layer):
    """One training loop, an instruction at a time."""
    stepper = torch.optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(3):
        layer(torch.ones(2, 2)).square().sum().backward()
        yield
        stepper.step()
        yield
        stepper.zero_grad()
        yield


def in_turns(first, second):
    """Both loops, the instructions of each in turn, in one thread."""
    for _ in zip(first, second, strict=True):
        pass


def in_threads(first, second):
    """The same, each loop in a thread of its own."""
    turns = [threading.Semaphore(1), threading.Semaphore(0)]

    def play(loop, mine, other):
        for _ in range(9):
            mine.acquire()
            next(loop)
            other.release()
        mine.acquire()  # both threads are alive to the end
        other.release()

    threads = [
        threading.Thread(target=play, args=(loop, turns[n], turns[1 - n])) for n, loop in enumerate((first, second))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def pair(run):
    """Two loops that train one layer."""

    def program():
        torch.manual_seed(0)
        layer = nn.Linear(2, 2, bias=False)
        run(steps(layer), steps(layer))

    return program


FALSE = ("carried-in", "never-zeroed", "moved-without-gradient", "not-exact")


def findings(report):
    return {slug for line in report.lines for slug in line.row.findings if slug.startswith(FALSE)}


def test_no_finding_is_about_what_another_thread_did(collect):
    assert findings(collect(pair(in_turns), 9))  # in one thread there is something to find
    report = collect(pair(in_threads), 9)
    assert report.lines and findings(report) == set()
    trained = [line.row for line in report.lines if line.row.runs]
    assert trained and {(row.exact, row.labels) for row in trained} == {(None, ("several threads train",))}
    assert all(row.weight_moved for row in trained)


def test_it_is_said_once(collect):
    report = collect(pair(in_threads), 9)
    text = io.StringIO()
    report.write("table", text)
    assert text.getvalue().count("Several threads train: their iterations are counted together") == 1
    text = io.StringIO()
    collect(pair(in_turns), 9).write("table", text)
    assert "hreads train" not in text.getvalue()


def test_threads_one_after_the_other_are_one(collect):
    """A thread that has ended writes nothing any more; the next one may even have its number."""

    def program():
        layer = nn.Linear(2, 2, bias=False)
        for _ in range(3):
            thread = threading.Thread(target=lambda: list(steps(layer)))
            thread.start()
            thread.join()

    report = collect(program, 9)
    trained = [line.row for line in report.lines if line.row.runs]
    assert not report.several and len(trained) == 9 and all(row.exact is True for row in trained)
