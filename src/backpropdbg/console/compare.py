"""`diff A B`: the first event where two recordings part, and by how much."""

import sys
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

import msgspec
from msgspec import Struct

from backpropdbg.child.opened import tensor_of
from backpropdbg.debugger.stop import Stop
from backpropdbg.events import Event, Paused
from backpropdbg.held import Facts, Held, Packed, Stored
from backpropdbg.trace.opening import Opened

SAME, DIFFER = 0, 1
# A program may stand in another folder, or on another line; and its nodes may not have been asked for.
_ELSEWHERE = {"where", "iteration", "nodes"}
_MOST_TOLD = 5


class _Raw(Held):
    """A tensor of a file, as bytes."""

    def __init__(self, stored: Stored) -> None:
        self.stored, self.sum_so_far = stored, None

    @property
    def packed(self) -> Packed | None:
        assert self.stored is not None
        return self.stored.pack() if self.stored.kept else None

    def facts(self, measure: bool = True) -> Facts:
        assert self.stored is not None
        return self.stored.facts()


class _Count(Struct):
    """How often tensors were compared: by all of their bits, or by their norms."""

    exact: int = 0
    by_norm: int = 0


def compare(a: str, b: str) -> int:
    """Print where two recordings part. Returns 0 where they are the same, 1 where not. Raises RecordingError."""
    one, other = Opened(a, _Raw), Opened(b, _Raw)
    for trace in (one, other):
        if trace.damage:
            print(f"backpropdbg: {trace.damage}", file=sys.stderr)
    count = _Count()
    for mine, theirs in zip_longest(_stops(one), _stops(other)):
        if mine is None or theirs is None:
            print(_shorter(a, b, one, other, mine, theirs))
            return DIFFER
        told = _parts(one[mine], other[theirs], count)
        if told:
            print(_title(a, b, one, other, mine, theirs))
            print("\n".join(f"  {line}" for line in told[:_MOST_TOLD]))
            if len(told) > _MOST_TOLD:
                print(f"  and {len(told) - _MOST_TOLD} more")
            return DIFFER
    print(f"{a} and {b} are the same: {len(one.iterations())} iterations, {len(one)} events, {_agreement(count)}")
    return SAME


def _stops(trace: Opened) -> Iterator[int]:
    """All positions, but for where somebody paused the program."""
    return (n for n in range(trace.first, len(trace)) if not isinstance(trace[n], Paused))


def _agreement(count: _Count) -> str:
    if not count.by_norm:
        return "every tensor bit for bit"
    kept = "the others by all of their bits" if count.exact else "for no values are kept"
    return f"tensors whose values are not kept by their norms alone, {kept}"


def _place(trace: Opened, position: int) -> str:
    event = trace[position]
    return f"iteration {event.iteration}, {Stop(trace, position, '', ()).where()}"


def _title(a: str, b: str, one: Opened, other: Opened, mine: int, theirs: int) -> str:
    left, right = _place(one, mine), _place(other, theirs)
    event = f"event {mine}" if mine == theirs else f"event {mine} of {a}, {theirs} of {b}"
    return f"{a} and {b} part at {event}: {left if left == right else f'{left} against {right}'}"


def _shorter(a: str, b: str, one: Opened, other: Opened, mine: int | None, theirs: int | None) -> str:
    short, goes_on, trace, position = (a, b, other, theirs) if mine is None else (b, a, one, mine)
    assert position is not None
    return f"{short} ends before event {position}; {goes_on} goes on: {_place(trace, position)}"


def _parts(mine: Event, theirs: Event, count: _Count) -> list[str]:
    """What differs between two events, in lines."""
    if type(mine) is not type(theirs):
        return [f"{type(mine).__name__} against {type(theirs).__name__}"]
    if mine.iteration != theirs.iteration:
        return [f"iteration {mine.iteration} against {theirs.iteration}"]
    told: list[str] = []
    for name in mine.__struct_fields__:
        if name not in _ELSEWHERE:
            told += _values(name, getattr(mine, name), getattr(theirs, name), count)
    return told


def _values(name: str, mine: Any, theirs: Any, count: _Count) -> list[str]:
    if isinstance(mine, _Raw) and isinstance(theirs, _Raw):
        told = _tensors(mine, theirs, count)
        return [f"{name}: {told}"] if told else []
    if isinstance(mine, dict) and isinstance(theirs, dict):
        keys = list(dict.fromkeys([*mine, *theirs]))
        both = [(f"{name} {key}", mine.get(key, _ABSENT), theirs.get(key, _ABSENT)) for key in keys]
        return [line for key, a, b in both for line in _values(key, a, b, count)]
    if isinstance(mine, Struct) and type(mine) is type(theirs):
        fields = [field for field in mine.__struct_fields__ if field not in _ELSEWHERE]
        both = [(f"{name} {field}", getattr(mine, field), getattr(theirs, field)) for field in fields]
        return [line for key, a, b in both for line in _values(key, a, b, count)]
    if isinstance(mine, tuple) and isinstance(theirs, tuple) and len(mine) == len(theirs):
        both = [(f"{name} {n}", a, b) for n, (a, b) in enumerate(zip(mine, theirs, strict=True), 1)]
        return [line for key, a, b in both for line in _values(key, a, b, count)]
    return [] if mine == theirs else [f"{name}: {_shown(mine)} against {_shown(theirs)}"]


_ABSENT = "nothing"


def _shown(value: Any) -> str:
    if isinstance(value, _Raw):
        return "a tensor"
    if isinstance(value, tuple):
        return f"{len(value)} of them"
    return str(value)[:80]


def _tensors(mine: _Raw, theirs: _Raw, count: _Count) -> str:
    """What differs between two tensors; "" where nothing does."""
    a, b = mine.facts(), theirs.facts()
    if (a.form.dtype, a.form.shape) != (b.form.dtype, b.form.shape):
        return f"{_form(a)} against {_form(b)}"
    left, right = mine.packed, theirs.packed
    if left is None or right is None:
        count.by_norm += 1
        a, b = (tensor_of(held.stored).facts() for held in (mine, theirs) if held.stored is not None)
        same = msgspec.msgpack.encode((a.norm, a.vmax, a.finite)) == msgspec.msgpack.encode((b.norm, b.vmax, b.finite))
        return "" if same else f"norm {_number(a.norm)} against {_number(b.norm)}; the values are not kept"
    count.exact += 1
    if left.form == right.form and left.data == right.data:
        return ""
    assert mine.stored is not None and theirs.stored is not None
    ours, others = tensor_of(mine.stored), tensor_of(theirs.stored)
    if ours.same_bits(others):  # they differed in strides alone
        return ""
    norms = f"norm {_number(ours.norm())} against {_number(others.norm())}"
    return f"{norms}; largest difference {_number(ours.minus(others).vmax())}"


def _form(facts: Facts) -> str:
    return f"{facts.form.dtype} [{', '.join(map(str, facts.form.shape))}]"


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.6g}"
