"""Debug Adapter Protocol messages and their framing: `Content-Length: N`, an empty line, N bytes of JSON.

Whatever bytes a peer sends, reading them gives a message or a WireError, never another exception.
"""

from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct

from backpropdbg.errors import WireError
from backpropdbg.questions import Answer, Question
from backpropdbg.situation import Progress, Situation, Window

MAX_HEADER = 4096
MAX_BODY = 64 * 2**20
HANDSHAKE_BODY = 64 * 2**10
RUNNING = "the program is running; interrupt it first"

T = TypeVar("T")
Count = Annotated[int, Meta(ge=0, lt=2**53)]


class Request(Struct, frozen=True, tag_field="type", tag="request"):
    """A request; `arguments` stay raw until the command is known."""

    seq: Count
    command: str
    arguments: Raw = Raw(b"{}")


class Response(Struct, frozen=True, tag_field="type", tag="response"):
    """The answer to the request whose `seq` is `request_seq`; `message` says what went wrong."""

    seq: Count
    request_seq: Count
    success: bool
    command: str
    message: str = ""
    body: Raw = Raw(b"{}")


class Event(Struct, frozen=True, tag_field="type", tag="event"):
    """Something that happened in the program's process."""

    seq: Count
    event: str
    body: Raw = Raw(b"{}")


DapMessage = Request | Response | Event
_decoder: msgspec.json.Decoder[DapMessage] = msgspec.json.Decoder(DapMessage)


class AttachArguments(Struct):
    """The one-time token."""

    token: str


class EvaluateArguments(Struct):
    """One command line."""

    expression: str


class TensorArguments(Struct):
    """A window of a matrix."""

    name: str
    rows: Count
    cols: Count
    row0: Count = 0
    col0: Count = 0
    pool: bool = True


class PrintedArguments(Struct):
    """The last `most` characters that were printed up to a position."""

    position: Count
    most: Count = 20_000


class PrintedBody(Struct):
    """Pieces of output, as (stream, text)."""

    pieces: tuple[tuple[str, str], ...] = ()


class AskArguments(Struct):
    """What a face wants to know of a stop."""

    question: Question


class AnswerBody(Struct):
    """That."""

    answer: Answer


class StoppedBody(Struct):
    """Where the program stands."""

    situation: Situation


class RestBody(Struct):
    """The whole of a stop that was reported without some numbers."""

    situation: Situation


class ProgressBody(Struct):
    """How far it is."""

    progress: Progress


class CellsBody(Struct):
    """A window of a matrix; None where it has no value."""

    window: Window | None = None


class ResultBody(Struct):
    """What a command printed; `moves` where the program runs on; `again`, `walks`: see `session.Result`."""

    result: str = ""
    moves: bool = False
    again: str = ""
    walks: bool = False
    variablesReference: int = 0


class OutputBody(Struct):
    """What the debugger itself has to say."""

    output: str
    category: str = "console"


class DisconnectArguments(Struct):
    """Whether the program shall end with the connection."""

    terminateDebuggee: bool = True


class RaisedBody(Struct):
    """The program's exception in one line."""

    error: str


def _clean(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(item) for item in value]
    if isinstance(value, Struct):
        config = value.__struct_config__
        fields: dict[object, object] = {config.tag_field: config.tag} if config.tag_field else {}
        fields.update((name, _clean(getattr(value, name))) for name in value.__struct_fields__)
        return fields
    return value


def to_json(value: object) -> bytes:
    """Encode as JSON; a lone surrogate, which JSON can't carry, becomes "?"."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(_clean(value))


def raw(value: object) -> Raw:
    """Encode a body or arguments."""
    return value if isinstance(value, Raw) else Raw(to_json(value))


def convert(data: Raw, kind: type[T]) -> T:
    """Decode a body or arguments. Raises WireError where it is no valid `kind`."""
    try:
        return msgspec.json.decode(bytes(data), type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError) as error:
        raise WireError(f"bad {kind.__name__}: {_one_line(error)}") from None


def frame(message: DapMessage) -> bytes:
    """Return the message as bytes for the socket."""
    body = to_json(message)
    return b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


def parse(body: bytes) -> DapMessage:
    """Return the message in `body`. Raises WireError where it is none."""
    try:
        return _decoder.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError) as error:
        raise WireError(f"not a message: {_one_line(error)}") from None


def _one_line(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return text.splitlines()[0][:200].encode("utf-8", "replace").decode("utf-8")


class Framer:
    """Cuts a stream of bytes into message bodies.

    Example: `for body in framer.feed(sock.recv(65536)): message = parse(body)`.
    """

    def __init__(self, limit: int = MAX_BODY) -> None:
        self.limit = limit
        self._buffer = bytearray()
        self._length = -1

    def feed(self, data: bytes) -> None:
        """Add what arrived."""
        self._buffer += data

    def next(self) -> bytes | None:
        """Return the next whole body, or None. Raises WireError on a bad header; the stream is lost then."""
        if self._length < 0:
            end = self._buffer.find(b"\r\n\r\n", 0, MAX_HEADER + 4)
            if end < 0:
                if len(self._buffer) > MAX_HEADER:
                    raise WireError(f"no end of header in {MAX_HEADER} bytes")
                return None
            self._length = self._read_length(bytes(self._buffer[:end]))
            del self._buffer[: end + 4]
        if len(self._buffer) < self._length:
            return None
        body = bytes(self._buffer[: self._length])
        del self._buffer[: self._length]
        self._length = -1
        return body

    def _read_length(self, header: bytes) -> int:
        plain = header.removeprefix(b"Content-Length: ")
        found = int(plain) if plain.isdigit() and len(plain) <= 12 else self._looked_up(header)
        if found > self.limit:
            raise WireError(f"message of {found} bytes, at most {self.limit} are allowed")
        return found

    def _looked_up(self, header: bytes) -> int:
        """The length among other lines, or in other letters. Raises WireError where it is not there once."""
        found: int | None = None
        for line in header.split(b"\r\n"):
            name, colon, value = line.partition(b":")
            if not colon:
                raise WireError(f"bad header line {line[:60]!r}")
            if name.strip().lower() == b"content-length":
                digits = value.strip()
                if found is not None or not digits.isdigit() or len(digits) > 12:
                    raise WireError(f"bad Content-Length {digits[:20]!r}")
                found = int(digits)
        if found is None:
            raise WireError("header without Content-Length")
        return found


def body_of(result: Any) -> Raw:
    """Encode the body of a response; None becomes an empty object."""
    return Raw(b"{}") if result is None else raw(result)
