"""Some events of a batch, and the tensors that they show: which are fresh, and what is to be written of each."""

import zlib
from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Struct

from backpropdbg.events import Accumulated, BackwardStarted, BackwardUse, Event, handles
from backpropdbg.held import Facts, Form, Held, Packed
from backpropdbg.keep import Keep
from backpropdbg.trace.batch import Mark
from backpropdbg.trace.heap import Bytes
from backpropdbg.trace.limits import Measure, sealed

_MOST_FORMS = 10_000
_HOT = 2**20  # bytes of a tensor that is measured while it is at hand: to read it again would take longer
_PORTION = 8  # of what the policy grants, this part goes into one transaction: only then its room is used again


class Part:
    """What goes into one transaction.

    Attributes:
        tensors: the rows of all fresh ones. pieces: the bytes of those that are kept, size: how many these are.
        data: of each of them its mark and checksum.
        again: those that older events showed, by number: the newest iteration that shows them now.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.tensors: list[tuple[int, bytes, int]] = []
        self.pieces: list[Bytes] = []
        self.size = 0
        self.data: list[tuple[Mark, int]] = []
        self.again: dict[int, int] = {}

    def rows(self, places: Iterable[int]) -> list[tuple[int, int, int, int, int]]:
        """Those of the bytes. places: where they are. What they say of the newest iteration is not in `again` then."""
        newest = self.again.pop
        return [
            (mark.number, newest(mark.number, mark.shown), place, len(piece), crc)
            for (mark, crc), place, piece in zip(self.data, places, self.pieces, strict=True)
        ]


class _Alone(Struct, frozen=True, gc=False):
    """A parameter's only partial so far in this backward."""

    partial: Held
    mark: Mark
    packed: Packed


class Parts:
    """Makes them, one after the other.

    measure: takes the statistics of tensors. of: the mark of one.

    Attributes:
        count: number of the newest tensor.
    """

    def __init__(self, keep: Keep, measure: Measure, of: Callable[[Held], Any]) -> None:
        self._most, self._measure, self._of = keep.size, measure, of
        self._lets_go = keep.size is not None or keep.last is not None
        self._portion = keep.size // _PORTION if keep.size else None
        self.count = 0
        self._only: dict[str, _Alone | None] = {}  # by parameter; None where it has several, or a gradient before
        self._bodies: dict[Form, tuple[bytes, int]] = {}  # of facts that are a form and no more
        self._passing: list[tuple[int, Packed]] = []  # that no file keeps, though it could, and where their rows are

    def make(self, events: Iterable[Event]) -> Part:
        """The first of these events, as many as go into one transaction: one at least, where there is one."""
        part, of = Part(), self._of
        for event in events:
            part.events.append(event)
            number, twin, packed = event.iteration, None, None
            if type(event) is Accumulated:
                twin = self._only.pop(event.parameter, None)
            elif type(event) is BackwardStarted:
                self._only = dict.fromkeys(name for name, held in event.carried.items() if held is not None)
            for held in handles(event):
                mark = of(held)
                if mark.shown < number:
                    if mark.number:
                        part.again[mark.number] = number
                    else:
                        packed = self._add(part, held, mark, twin)
                    mark.shown = number
            if type(event) is BackwardUse:
                one, name, first = event.partial, event.use.parameter, event.use.parameter not in self._only
                self._only[name] = _Alone(one, of(one), packed) if first and one is not None and packed else None
            if self._portion is not None and part.size > self._portion:
                break
        self._measure_passing(part)
        return part

    def _add(self, part: Part, held: Held, mark: Mark, twin: _Alone | None) -> Packed | None:
        """A fresh tensor; return its bytes. twin: the partial that this `.grad` most likely is."""
        packed = held.pack() if self._most != 0 or held.nbytes < _HOT else None
        if twin is not None and packed is not None and _are_one(held, packed, twin):
            mark.number = twin.mark.number
            return packed
        mark.number = self.count = self.count + 1
        if packed is None:
            part.tensors.append((mark.number, *sealed(held.facts())))
            return None
        data, size = packed.data, len(packed.data)
        known = sealed(held.facts()) if size >= _HOT and self._lets_go else self._unmeasured(packed.form)
        if self._most is None or size <= self._most:
            part.pieces.append(data)
            part.size += size
            part.data.append((mark, zlib.crc32(data)))
        elif size < _HOT:
            self._passing.append((len(part.tensors), packed))
        part.tensors.append((mark.number, *known))
        return packed

    def _unmeasured(self, form: Form) -> tuple[bytes, int]:
        found = self._bodies.get(form)
        if found is None:
            if len(self._bodies) >= _MOST_FORMS:
                self._bodies.clear()
            found = self._bodies[form] = sealed(Facts(form))
        return found

    def _measure_passing(self, part: Part) -> None:
        passing, self._passing = self._passing, []
        for (n, _), facts in zip(passing, self._measure([packed for _, packed in passing]), strict=True):
            part.tensors[n] = (part.tensors[n][0], *sealed(facts))


def _are_one(held: Held, packed: Packed, twin: _Alone) -> bool:
    """True where two tensors have the same bits and lie in memory in the same way.

    Where a parameter was used once, its partial and its `.grad` are the same tensor.
    """
    if packed.form != twin.packed.form:
        return False
    if isinstance(packed.data, bytes) and isinstance(twin.packed.data, bytes):
        return packed.data == twin.packed.data
    return held.in_memory and twin.partial.in_memory and held.same_bits(twin.partial)
