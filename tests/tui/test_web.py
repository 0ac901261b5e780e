"""`demo --web`: the app in a real browser, and nobody else's."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import FOUND, chromium

from backpropdbg.cli import main
from backpropdbg.options import build, demo_options, demo_words, run_words, split
from backpropdbg.tui.web import LOOPBACK

HERE = Path(__file__).parent
# The served app is the real one, on a program that is none; what it is asked goes to a file.
APP = f"""
import os, sys
sys.path.insert(0, {str(HERE)!r})
from fake_session import FakeSession
from backpropdbg.tui.app import DebuggerApp

class Telling(FakeSession):
    def command(self, line):
        with open(sys.argv[1], "a") as file:
            file.write(line + "\\n")
        super().command(line)

with open(sys.argv[1], "w") as file:
    file.write(str(os.getpid()) + "\\n")
DebuggerApp(Telling()).run()
"""
SERVER = "import sys; from backpropdbg.tui.web import serve; serve(sys.argv[3:], sys.argv[1], int(sys.argv[2]), print)"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[tuple[str, Path]]:
    """The link, and the file that the app writes."""
    pytest.importorskip("textual_serve")
    log = tmp_path_factory.mktemp("web") / "asked"
    words = [LOOPBACK, str(free_port()), sys.executable, "-c", APP, str(log)]
    process = subprocess.Popen([sys.executable, "-u", "-c", SERVER, *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip(), log
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def answer(url: str, **headers: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.skipif(FOUND is None, reason="there is no Chromium here")
def test_a_browser_sees_the_app_and_its_keys_arrive(served):
    link, log = served
    with chromium() as tab:
        tab.open(link, 1280, 800)
        assert "token" not in tab.run("location.href")
        tab.wait("document.body.classList.contains('-first-byte')")
        tab.click(400, 400)
        end = time.monotonic() + 30
        while "next" not in log.read_text().split():
            assert time.monotonic() < end
            tab.press("n")
            time.sleep(0.2)
    pid = int(log.read_text().split()[0])
    end = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists():  # the tab is gone, and so is the app
        assert time.monotonic() < end
        time.sleep(0.05)


def test_nobody_is_let_in_without_the_link_or_from_another_page(served):
    link, log = served
    log.unlink(missing_ok=True)
    origin, token = link.split("/?token=")
    port = origin.rpartition(":")[2]
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    mine = {"Cookie": f"backpropdbg_{port}={token}"}
    assert origin.startswith(f"http://{LOOPBACK}:")
    assert answer(origin) == answer(f"{origin}/static/css/xterm.css") == answer(f"{origin}/?token=x") == 403
    assert answer(f"{origin}/ws", **upgrade) == 403
    assert answer(f"{origin}/ws", Origin="http://evil.example", **upgrade, **mine) == 403
    assert answer(f"{origin}/ws", **upgrade, **mine) == 403  # no browser, so no origin
    assert answer(origin, **mine) == 200 and not log.exists()


def test_it_says_what_is_missing(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "textual_serve", None)
    monkeypatch.setitem(sys.modules, "textual_serve.server", None)
    assert main(["demo", "--web"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "pip install 'backpropdbg[web]'" in err


def test_a_taken_port_is_one_line(capsys):
    pytest.importorskip("textual_serve")
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["demo", "--web", "--port", str(port)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and f"can't listen at {LOOPBACK}:{port}: {os.strerror(98)}" in err


@pytest.mark.parametrize(
    "words", [["--port", "0"], ["--port", "x"], ["--host", "nowhere.invalid"], ["--html", "a.html"]]
)
def test_what_cannot_be_served_is_one_line(words, capsys):
    pytest.importorskip("textual_serve")
    assert main(["demo", "--web", *words]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and words[0] in err


def test_the_demo_of_a_visitor_has_the_same_options():
    assert build().parse_args(["demo", "--web"]).host == LOOPBACK
    for text in ("", "--uses random --seed 5", "--uses 3 --optimizer adam --lr 0.01 --keep-zero-grads --tutorial"):
        options = demo_options(text.split())
        assert demo_options(demo_words(options["demo"])) == options
    assert re.fullmatch(r"(--[a-z-]+( \S+)?\s*)*", " ".join(demo_words(demo_options(["--d-in", "3"])["demo"])))


def test_the_program_of_a_visitor_has_the_same_options(tmp_path):
    script = tmp_path / "train it.py"
    script.write_text("")
    mine = ["--keep", "1MB", "--unfuse", "--track", "a.*", "--track", "b", "--until", "iteration 2", "-c", "break nan"]
    web = ["--web", "--host", LOOPBACK, "--port", "8123"]
    for words in (
        [*mine, *web, str(script), "--web", "--lr", "1"],
        [*web, "-m", "package", "--port", "x"],
        [str(script)],
    ):
        given = build().parse_args(["run", *split(words, False)[0]])
        given.words = split(words, False)[1]
        said = run_words(given)
        again = build().parse_args(["run", *split(said, False)[0]])
        again.words = split(said, False)[1]
        same = {name: value for name, value in vars(given).items() if name not in ("web", "host", "port")}
        assert vars(again) == {**same, "web": False, "host": LOOPBACK, "port": 8000}


@pytest.mark.parametrize("words", [["--record", "a.bptrace"], ["--prompt"], ["--port", "0"]])
def test_what_a_run_can_not_serve_is_one_line(words, tmp_path, capsys):
    pytest.importorskip("textual_serve")
    script = tmp_path / "train.py"
    script.write_text("")
    assert main(["run", "--web", *words, str(script)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and words[0] in err
