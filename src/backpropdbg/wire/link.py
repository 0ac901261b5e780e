"""The connection to one child process: requests go, their answers and events come. It never waits."""

import contextlib
from collections.abc import Callable

from backpropdbg.wire.messages import Event, Framer, Request, Response, frame, parse, raw
from backpropdbg.wire.process import Child

Answer = Callable[[Response], None]


class Link:
    """Speaks with a child.

    Args:
        hear: gets each event.

    Attributes:
        open: the child may still say something. busy: something waits to be sent.
    """

    def __init__(self, child: Child, hear: Callable[[Event], None]) -> None:
        self._child, self._hear = child, hear
        self._framer = Framer()
        self._out = bytearray()
        self._seq = 0
        self._pending: dict[int, Answer] = {}
        self.open = True

    @property
    def busy(self) -> bool:
        return bool(self._out)

    def request(self, command: str, arguments: object, answer: Answer = lambda response: None) -> None:
        """Ask for something; answer: gets what comes back."""
        self._seq += 1
        self._pending[self._seq] = answer
        self._out += frame(Request(self._seq, command, raw(arguments)))
        self.flush()

    def flush(self) -> None:
        """Send what there is room for."""
        try:
            while self._out:
                del self._out[: self._child.socket.send(self._out)]
        except BlockingIOError:
            pass
        except OSError:
            self._out.clear()

    def read(self) -> bool:
        """Read what waits, and hand it out. Returns False where nothing more can come now. Raises WireError."""
        try:
            data = self._child.socket.recv(2**20)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self.open = False
            return False
        self._framer.feed(data)
        while self.open and (body := self._framer.next()) is not None:
            self._handle(parse(body))
        return True

    def _handle(self, message: Request | Response | Event) -> None:
        if isinstance(message, Response):
            answer = self._pending.pop(message.request_seq, None)
            if answer is not None:
                answer(message)
        elif isinstance(message, Event):
            self._hear(message)

    def say_goodbye(self) -> None:
        """Ask the child to end, behind all that waits to be sent."""
        with contextlib.suppress(OSError):
            self._child.socket.send(bytes(self._out) + frame(Request(self._seq + 1, "disconnect", raw({}))))
