"""The file of a recording: one SQLite database. Its tables, and how events are written in it and read back.

A body is msgpack, never pickle: an event's fields by name, each tensor by its number in the table `tensors`. Where
its bytes are (see `heap`) stands in `data` until the policy lets them go; what is known of it stays in `tensors`. `crc`
is the CRC-32 of the bytes that it stands behind: a flipped bit must not show as another number.
"""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from backpropdbg import events
from backpropdbg.errors import RecordingError
from backpropdbg.events import Anomaly, Event, ForwardUse
from backpropdbg.held import Held

APPLICATION_ID = 0x62707464  # "bptd"
VERSION = 3
OLDEST = 2  # that can be read

# What a file of ours has in sqlite_schema, and nothing else: the name of each table or index, and its very text.
SCHEMA = {
    "meta": "CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    "events": "CREATE TABLE events (position INTEGER PRIMARY KEY, iteration INTEGER NOT NULL, kind TEXT NOT NULL,"
    " body BLOB NOT NULL, crc INTEGER NOT NULL)",
    "iterations": "CREATE TABLE iterations (number INTEGER PRIMARY KEY, start INTEGER NOT NULL)",
    "tensors": "CREATE TABLE tensors (id INTEGER PRIMARY KEY, facts BLOB NOT NULL, crc INTEGER NOT NULL)",
    "data": "CREATE TABLE data (id INTEGER PRIMARY KEY, shown INTEGER NOT NULL, place INTEGER NOT NULL,"
    " size INTEGER NOT NULL, crc INTEGER NOT NULL)",
    "data_by_shown": "CREATE INDEX data_by_shown ON data (shown)",
    "output": "CREATE TABLE output (number INTEGER PRIMARY KEY, position INTEGER NOT NULL, total INTEGER NOT NULL,"
    " stream TEXT NOT NULL, text BLOB NOT NULL)",
    "output_by_position": "CREATE INDEX output_by_position ON output (position)",
    "sources": "CREATE TABLE sources (path TEXT PRIMARY KEY, text BLOB NOT NULL) WITHOUT ROWID",
    "states": "CREATE TABLE states (id INTEGER PRIMARY KEY, body BLOB NOT NULL)",
    "known": "CREATE TABLE known (position INTEGER PRIMARY KEY, state INTEGER NOT NULL)",
}

# Version 2 had the bytes of tensors in that table.
SCHEMAS = {
    VERSION: SCHEMA,
    2: SCHEMA
    | {
        "data": "CREATE TABLE data (id INTEGER PRIMARY KEY, shown INTEGER NOT NULL, size INTEGER NOT NULL,"
        " bytes BLOB NOT NULL, crc INTEGER NOT NULL)",
        "data_by_shown": "CREATE INDEX data_by_shown ON data (shown, size)",
    },
}

KINDS: dict[str, type[Event]] = {
    kind.__name__: kind
    for kind in (
        events.ForwardUse,
        events.LossComputed,
        events.GradCleared,
        events.BackwardStarted,
        events.BackwardUse,
        events.PartialEdited,
        events.GroupSummed,
        events.Accumulated,
        events.BackwardFinished,
        events.GradChanged,
        events.StepStarted,
        events.StepFinished,
        events.ManualUpdate,
        events.IterationStarted,
        events.Anomaly,
        events.Paused,
        events.ProgramFinished,
    )
}


class About(Struct, frozen=True, omit_defaults=True):
    """What a recording is of.

    Attributes:
        title, seed, focus: of the program. command: how it was run. versions: of what ran, e.g. {"torch": "2.13.0"}.
        sure: parameters that nothing moved after the last event.
    """

    title: str
    seed: int | None = None
    focus: str = ""
    command: tuple[str, ...] = ()
    versions: dict[str, str] = {}
    sure: tuple[str, ...] = ()


class Ended(Struct, frozen=True):
    """How a recording ended. how: one line, e.g. "the program ended". code: of the program, where it is known."""

    how: str
    code: int | None = None


class Known(Struct, frozen=True, omit_defaults=True):
    """What was known of the program at some position.

    Attributes:
        names: of the parameters: all that each is called, by the first. frozen: those that require no gradient.
        optimizer: in one line, "" while there is none.
    """

    names: dict[str, tuple[str, ...]] = {}
    modules: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    optimizer: str = ""


def encoder(number_of: Callable[[Any], int | None]) -> Callable[[Any], bytes]:
    """Return what makes a body of an event.

    number_of: a tensor, None where the file has none such; it raises for what is no tensor.
    """
    encode = msgspec.msgpack.Encoder(enc_hook=number_of).encode

    def body(event: Any) -> bytes:
        try:
            return encode(event)
        except UnicodeEncodeError:
            return encode(readable(msgspec.structs.asdict(event)))

    return body


def readable(thing: Any) -> Any:
    """The same with surrogates, which no file holds, spelled out."""
    match thing:
        case str():
            return thing.encode("utf-8", "backslashreplace").decode()
        case dict():
            return {readable(key): readable(value) for key, value in thing.items()}
        case list() | tuple():
            return [readable(part) for part in thing]
        case Struct():
            return readable(msgspec.structs.asdict(thing))
    return thing


def decoder(held: Callable[[int], Held]) -> Callable[[str, bytes], Event]:
    """Return what reads an event of some kind from a body; it raises RecordingError. held: a handle by its number."""

    def handle(kind: type, number: Any) -> Held:
        if kind is not Held or type(number) is not int or number < 0:
            raise ValueError(f"{number!r} is no number of a tensor")
        return held(number)

    decoders = {name: msgspec.msgpack.Decoder(kind, dec_hook=handle).decode for name, kind in KINDS.items()}

    def event(kind: str, body: bytes) -> Event:
        if kind not in decoders:
            raise RecordingError(f"no event is of the kind {kind[:40]!r}")
        try:
            found: Event = decoders[kind](body)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise RecordingError(f"not the body of a {kind}: {str(error)[:200]}") from None
        if isinstance(found, ForwardUse) and not 0 < len(found.parameters) == len(found.numbers):
            raise RecordingError("a forward use of no parameter, or without its number")
        return found

    return event


def lost(event: Event, error: Exception) -> Anomaly:
    """What stands for an event that can't be written."""
    return Anomaly(event.iteration, f"{type(event).__name__} could not be recorded: {type(error).__name__}")
