"""Whatever bytes arrive, reading gives a message or a WireError."""

import json
import random

import msgspec
import pytest

from backpropdbg.errors import WireError
from backpropdbg.wire.messages import (
    MAX_HEADER,
    EvaluateArguments,
    Event,
    Framer,
    Request,
    Response,
    ResultBody,
    convert,
    frame,
    parse,
    raw,
    to_json,
)


def read_all(data: bytes, limit: int = 1000) -> list[object]:
    framer = Framer(limit)
    framer.feed(data)
    found: list[object] = []
    while (body := framer.next()) is not None:
        found.append(parse(body))
    return found


@pytest.mark.parametrize(
    "message",
    [
        Request(1, "evaluate", raw(EvaluateArguments("step"))),
        Response(2, 1, True, "evaluate", "", raw(ResultBody("ü", True))),
        Event(3, "stopped", raw({"a": ["NaN", None]})),
    ],
)
def test_round_trip(message: Request | Response | Event) -> None:
    data = frame(message)
    for cut in range(len(data)):
        framer = Framer()
        framer.feed(data[:cut])
        assert framer.next() is None
        framer.feed(data[cut:])
        body = framer.next()
        assert body is not None and frame(parse(body)) == data
        assert framer.next() is None


def test_type_field_is_that_of_dap() -> None:
    assert json.loads(frame(Request(1, "next")).partition(b"\r\n\r\n")[2])["type"] == "request"


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n\r\n",
        b"hello\r\n\r\n",
        b"Content-Length: x\r\n\r\n",
        b"Content-Length: -1\r\n\r\n",
        b"Content-Length: 1e3\r\n\r\n",
        b"Content-Length: 1001\r\n\r\n",
        b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"Other: 2\r\n\r\n{}",
        b"\xff" * (MAX_HEADER + 1),
        "Content-Length: ²\r\n\r\n".encode(),
    ],
)
def test_bad_headers(data: bytes) -> None:
    with pytest.raises(WireError):
        read_all(data)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"1",
        b"{}",
        b"\xff\xfe",
        b'{"type":"request"}',
        b'{"type":"nonsense","seq":1}',
        b'{"type":"request","seq":"1","command":"next"}',
        b'{"type":"request","seq":1,"command":null}',
        b'{"type":"request","seq":1e400,"command":"next"}',
        b'{"type":"request","seq":1,"command":"next"',
        b'{"type":"request","seq":99999999999999999999999999,"command":"next"}',
        b'{"type":"request","seq":1,"command":"\xff"}',
        b'{"type":"request","seq":1,"command":"\\ud800"}',
        b'{"type":1,"seq":1}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"type":"request","seq":1,"command":"x","arguments":' + b"[" * 100_000 + b"}",
        b'{"type":"request","seq":1,"command":"x","extra":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_bad_bodies(body: bytes) -> None:
    with pytest.raises(WireError) as caught:
        parse(body)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "arguments",
    [
        b"[]",
        b"null",
        b"{}",
        b'{"expression":1}',
        b'{"expression":"\xff"}',
        b'{"expression":"\\ud800"}',
        b'{"a":' + b"[" * 50_000,
    ],
)
def test_bad_arguments(arguments: bytes) -> None:
    with pytest.raises(WireError):
        convert(msgspec.Raw(arguments), EvaluateArguments)


def test_fuzz_never_another_exception() -> None:
    source = random.Random(7)
    good = frame(Request(1, "evaluate", raw(EvaluateArguments("print é"))))
    for _ in range(3000):
        data = bytearray(good * 2)
        for _ in range(source.randint(1, 6)):
            data[source.randrange(len(data))] = source.randrange(256)
        try:
            for message in read_all(bytes(data)):
                if isinstance(message, Request):
                    convert(message.arguments, EvaluateArguments)
        except WireError:
            pass


def test_surrogates_are_sent_as_question_marks() -> None:
    assert json.loads(to_json(ResultBody("a\udc80b")))["result"] == "a?b"
    assert json.loads(to_json({"k\ud800": ["\ud800", 1]})) == {"k?": ["?", 1]}
    message = parse(frame(Response(1, 2, False, "x", "\udc80", raw({"a": 1}))).partition(b"\r\n\r\n")[2])
    assert isinstance(message, Response) and message.message == "?" and bytes(message.body) == b'{"a":1}'
