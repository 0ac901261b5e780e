"""The one face that may speak with the program: it comes in with a one-time token; then messages go both ways."""

import contextlib
import hmac
import os
import select
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator

from backpropdbg.errors import WireError
from backpropdbg.wire.messages import (
    HANDSHAKE_BODY,
    MAX_BODY,
    AttachArguments,
    Event,
    Framer,
    Request,
    Response,
    body_of,
    convert,
    frame,
    parse,
)

CAPABILITIES = {"supportsConfigurationDoneRequest": True, "supportsStepBack": True}
HANDSHAKE_TIME = 5.0
_TICK = 0.25


_Made = Callable[[int], Response | Event]  # a message with this number


class Peer:
    """Waits for the face, and speaks with it. In a forked worker (another pid) it is silent.

    Args:
        fd: a listening socket. token: what `attach` must bring. parent: the process without which all is over.
    """

    def __init__(self, fd: int, token: str, parent: int) -> None:
        self._pid, self._parent = os.getpid(), parent
        self._token = token.encode("utf-8", "replace")
        self._listener = socket.socket(fileno=fd)
        self._listener.set_inheritable(False)
        self._socket: socket.socket | None = None
        self._framer = Framer(HANDSHAKE_BODY)
        self._sending = threading.Lock()
        self._seq = 0
        _close_after_fork(self)

    # ---- what comes, in the reading thread

    def requests(self) -> Iterator[Request]:
        """Let the face in, then hand out what it asks until it is gone. Raises OSError or WireError at a bad end."""
        while not self._accept():
            pass
        with contextlib.suppress(OSError):
            self._listener.close()
        sock = self._socket
        assert sock is not None
        while True:
            try:
                body = self._body(sock)
            except WireError as error:
                self.complain(str(error))
                return
            if body is None:
                return
            try:
                message = parse(body)
            except WireError as error:
                self.complain(str(error))
                continue
            if isinstance(message, Request):
                yield message

    def _body(self, sock: socket.socket, until: float = float("inf")) -> bytes | None:
        """Wait for the next message; None at its end, or at `until`. Raises WireError where it makes no sense."""
        while (body := self._framer.next()) is None:
            data = sock.recv(65536) if self._wait_readable(sock, until) else b""
            if not data:
                return None
            self._framer.feed(data)
        return body

    def _wait_readable(self, sock: socket.socket, until: float = float("inf")) -> bool:
        """Wait for bytes. Returns False at `until`. Raises WireError when the parent process is gone."""
        watched = select.poll()  # `select` refuses descriptors from 1024 on
        watched.register(sock, select.POLLIN)
        while time.monotonic() < until:
            if watched.poll(1000 * _TICK):
                return True
            if os.getppid() != self._parent:
                raise WireError("the parent process is gone")
        return False

    def _accept(self) -> bool:
        """Let one in. Returns False where it brought no token."""
        self._wait_readable(self._listener)
        sock, _ = self._listener.accept()
        sock.setblocking(True)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = sock
        with contextlib.suppress(OSError, WireError, ValueError):
            if self._handshake(sock):
                return True
        self._socket = None
        sock.close()
        return False

    def _handshake(self, sock: socket.socket) -> bool:
        self._framer = Framer(HANDSHAKE_BODY)
        deadline = time.monotonic() + HANDSHAKE_TIME
        initialized = False
        while True:
            body = self._body(sock, deadline)
            if body is None:
                return False
            try:
                message = parse(body)
            except WireError as error:
                self.complain(str(error))
                return False
            if not isinstance(message, Request):
                return False
            if message.command == "initialize" and not initialized:
                initialized = True
                self.answer(message, CAPABILITIES)
                self.event("initialized", None)
            elif message.command == "attach" and initialized:
                if self._right_token(message):
                    self._framer.limit = MAX_BODY
                    self.answer(message)
                    return True
                self.answer(message, error="wrong token")
                return False
            else:
                self.answer(message, error=f"{message.command[:60]!r} before initialize and attach")
                return False

    def _right_token(self, request: Request) -> bool:
        try:
            given = convert(request.arguments, AttachArguments).token
        except WireError:
            return False
        return hmac.compare_digest(given.encode("utf-8", "replace"), self._token)

    # ---- what goes, from any thread

    def answer(self, request: Request, body: object = None, error: str = "") -> None:
        """Answer a request; error: why it failed."""
        self._send(self._answer(request, body, error))

    def answer_and_tell(self, request: Request, body: object, name: str, event: object) -> None:
        """Answer a request, and tell of something at once: who reads both is woken once."""
        self._send(self._answer(request, body), self._event(name, event))

    def complain(self, text: str) -> None:
        """Answer what is no request."""
        self._send(lambda seq: Response(seq, 0, False, "", text))

    def event(self, name: str, body: object) -> None:
        """Tell of something."""
        self._send(self._event(name, body))

    def _answer(self, request: Request, body: object, error: str = "") -> _Made:
        return lambda seq: Response(seq, request.seq, not error, request.command, error, body_of(body))

    def _event(self, name: str, body: object) -> _Made:
        return lambda seq: Event(seq, name, body_of(body))

    def _send(self, *made: _Made) -> None:
        sock = self._socket
        if sock is None or os.getpid() != self._pid:
            return
        with self._sending, contextlib.suppress(OSError):
            first, self._seq = self._seq + 1, self._seq + len(made)
            sock.sendall(b"".join([frame(make(seq)) for seq, make in enumerate(made, first)]))


def _close_after_fork(peer: Peer) -> None:
    """Close the sockets in forked workers, else they keep the connection open after the program's end."""
    reference = weakref.ref(peer)

    def close() -> None:
        alive = reference()
        if alive is not None:
            for sock in (alive._listener, alive._socket):
                if sock is not None:
                    with contextlib.suppress(OSError):
                        sock.close()

    os.register_at_fork(after_in_child=close)
