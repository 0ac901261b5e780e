"""The Server against raw sockets: tokens, garbage, a vanished face."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from backpropdbg.wire.messages import Event, Framer, Request, Response, frame, parse, raw

FAKE = str(Path(__file__).with_name("fake_child.py"))


class Peer:
    def __init__(self, address) -> None:
        self.socket = socket.create_connection(address, timeout=10)
        self.framer = Framer()
        self.seq = 0

    def send(self, command: str, arguments: object = None) -> None:
        self.seq += 1
        self.socket.sendall(frame(Request(self.seq, command, raw(arguments or {}))))

    def read(self):
        while (body := self.framer.next()) is None:
            data = self.socket.recv(65536)
            if not data:
                return None
            self.framer.feed(data)
        return parse(body)

    def ask(self, command: str, arguments: object = None) -> Response | None:
        self.send(command, arguments)
        return self.response()

    def response(self) -> Response | None:
        while isinstance(message := self.read(), Event):
            pass
        return message

    def hello(self, token: str) -> "Peer":
        self.ask("initialize")
        assert self.ask("attach", {"token": token}).success
        assert self.ask("configurationDone").success
        while not (isinstance(event := self.read(), Event) and event.event == "stopped"):
            pass
        return self

    def closed(self) -> bool:
        try:
            while self.read() is not None:
                pass
        except ConnectionError:
            pass
        return True


@pytest.fixture
def child():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = subprocess.Popen(
            [sys.executable, FAKE, "{}"],
            env={
                **os.environ,
                "BACKPROPDBG_FD": str(listener.fileno()),
                "BACKPROPDBG_TOKEN": "sésame",
                "BACKPROPDBG_PARENT": str(os.getpid()),
            },
            pass_fds=[listener.fileno()],
            stdout=subprocess.DEVNULL,
        )
        address = listener.getsockname()
    yield process, address
    process.kill()
    process.wait()


@pytest.mark.parametrize("token", ["", "wrong", "sésame ", None, 1, ["sésame"]])
def test_wrong_token_then_the_right_one(child, token) -> None:
    peer = Peer(child[1])
    peer.ask("initialize")
    answer = peer.ask("attach", {"token": token})
    assert answer is not None and not answer.success and answer.message == "wrong token"
    assert peer.closed()
    assert Peer(child[1]).hello("sésame").ask("evaluate", {"expression": "look"}).success


@pytest.mark.parametrize("command", ["attach", "evaluate", "disconnect", "pause", "configurationDone", "nonsense"])
def test_nothing_before_initialize_and_attach(child, command) -> None:
    peer = Peer(child[1])
    answer = peer.ask(command, {"token": "sésame", "expression": "step"})
    assert answer is not None and not answer.success
    assert peer.closed()
    assert child[0].poll() is None
    Peer(child[1]).hello("sésame")


@pytest.mark.parametrize(
    "data",
    [
        b"\0" * 10_000,
        b"GET / HTTP/1.1\r\n\r\n",
        b"Content-Length: 99999999\r\n\r\n",
        b"Content-Length: 2\r\n\r\n[]",
        b"",
    ],
)
def test_garbage_from_a_stranger(child, data) -> None:
    peer = Peer(child[1])
    peer.socket.sendall(data)
    peer.socket.shutdown(socket.SHUT_WR)
    assert peer.closed()
    Peer(child[1]).hello("sésame")


def test_bad_requests_change_nothing(child) -> None:
    peer = Peer(child[1]).hello("sésame")
    bodies = [b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"type":"request","seq":1,"command":"\\ud800"}']
    for body in bodies:
        peer.socket.sendall(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        assert not peer.response().success
    for command, arguments in [
        ("evaluate", {}),
        ("evaluate", {"expression": 3}),
        ("backpropdbg/tensor", {"name": "weight"}),
        ("backpropdbg/tensor", {"name": "weight", "rows": 10**6, "cols": 10**6}),
        ("setBreakpoints", {}),
        ("", {}),
        ("x" * 1000, {}),
    ]:
        answer = peer.ask(command, arguments)
        assert not answer.success and answer.message and len(answer.message) < 400
    assert b'"lines"' in bytes(peer.ask("evaluate", {"expression": "lines"}).body)
    for command in ("next", "stepIn", "stepOut", "continue", "stepBack", "reverseContinue"):
        assert peer.ask(command).success
        while not (isinstance(event := peer.read(), Event) and event.event == "stopped"):
            pass
    answer = peer.ask("evaluate", {"expression": "lines"})
    assert b"lines | next | step | finish | continue | rs | rc | lines" in bytes(answer.body)
    assert b'"position":6' in bytes(peer.ask("backpropdbg/situation").body)


@pytest.mark.parametrize("how", ["disconnect", "eof", "garbage"])
def test_process_ends_with_its_face(child, how) -> None:
    peer = Peer(child[1]).hello("sésame")
    if how == "disconnect":
        assert peer.ask("disconnect").success
    elif how == "garbage":
        peer.socket.sendall(b"x" * 5000)
    else:
        peer.socket.close()
    start = time.monotonic()
    assert child[0].wait(3) == 0
    assert time.monotonic() - start < 1.5


def test_process_ends_when_its_parent_is_killed(tmp_path) -> None:
    parent = (
        "import sys,time\nfrom backpropdbg.wire.client import ChildSession\n"
        f"s=ChildSession({{}},[sys.executable,{FAKE!r}])\n"
        "s.start(lambda m: print(s._child.process.pid, flush=True))\ntime.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    process.kill()
    process.wait()
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return
        if state == "Z":
            return
        time.sleep(0.05)
    pytest.fail("the child outlived its parent")
