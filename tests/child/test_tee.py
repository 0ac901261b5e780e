"""What the program prints is heard, and is what it was without us."""

import io
import logging
import os
import subprocess
import sys

import pytest

from backpropdbg.child.tee import tee


def listen(monkeypatch):
    """Streams of the test's own; pytest puts its own in place before each phase, so a fixture can't."""
    raw = {name: io.BytesIO() for name in ("stdout", "stderr")}
    for name, file in raw.items():
        monkeypatch.setattr(sys, name, io.TextIOWrapper(file, "utf-8", write_through=True))
    heard: list[tuple[str, str]] = []
    return raw, heard


def test_it_hears_all_that_goes_through_the_streams_and_changes_nothing(monkeypatch):
    raw, heard = listen(monkeypatch)
    end = tee(lambda stream, text: heard.append((stream, text)))
    kind = type(sys.stdout)
    print("one", 2, sep="-")
    sys.stdout.writelines(["a", "b"])
    assert sys.stdout.write("three") == 5
    logging.StreamHandler(sys.stderr).stream.write("warned")
    end()
    print("not heard")
    assert "".join(text for stream, text in heard if stream == "stdout") == "one-2\nabthree"
    assert ("stderr", "warned") in heard
    assert raw["stdout"].getvalue() == b"one-2\nabthreenot heard\n" and raw["stderr"].getvalue() == b"warned"
    assert type(sys.stdout) is kind and "write" not in vars(sys.stdout)


def test_a_write_that_fails_fails_as_before(monkeypatch):
    _, heard = listen(monkeypatch)
    end = tee(lambda stream, text: heard.append((stream, text)))
    with pytest.raises(TypeError, match="must be str, not int"):
        sys.stdout.write(3)  # type: ignore[arg-type]
    end()
    assert heard == []


@pytest.mark.parametrize("stream", [None, object()])
def test_a_stream_that_is_none_is_left_alone(monkeypatch, stream):
    monkeypatch.setattr(sys, "stdout", stream)
    tee(lambda stream, text: None)()
    assert sys.stdout is stream


FORKED = """
import os
from backpropdbg.child.tee import tee

heard = []
tee(lambda stream, text: heard.append(text))
pid = os.fork()
if not pid:
    print("from the worker", flush=True)
    os._exit(len(heard))
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
print("from the program")
assert "".join(heard) == "from the program\\n"
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_worker_tells_nothing():
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "from the worker\nfrom the program\n"), done.stderr
