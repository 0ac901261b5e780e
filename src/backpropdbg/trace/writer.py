"""A recording in the making: a thread of its own writes what happens to the file, in short transactions.

What was committed can be read at any time, by another process too, and is there after `kill -9`. Nothing here may fail
into the program: what can't be written ends the recording, with one line.
"""

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from backpropdbg.errors import RecordingError
from backpropdbg.events import (
    BackwardStarted,
    Event,
    IterationStarted,
    LossComputed,
    Paused,
    ProgramFinished,
    StepStarted,
)
from backpropdbg.held import Facts, Held, Packed, Stored
from backpropdbg.keep import Keep
from backpropdbg.trace import lay
from backpropdbg.trace.batch import Batch
from backpropdbg.trace.file import Names
from backpropdbg.trace.format import About, Ended, Known
from backpropdbg.trace.heap import beside, make_one
from backpropdbg.trace.limits import Measure
from backpropdbg.trace.reader import Reader
from backpropdbg.trace.rows import Rows

T = TypeVar("T")
SOON = 0.2  # seconds until what happened is in the file
MANY_BYTES = 8 * 2**20  # that wait are written at once
MOST_BYTES = 64 * 2**20  # may wait; then the program does
_EVENT_BYTES = 2000
# Around these a program may have got other modules, frozen parameters or optimizers.
_TELLING = frozenset({IterationStarted, LossComputed, BackwardStarted, StepStarted, Paused, ProgramFinished})


class InFile(Struct, gc=False):
    """One tensor of a recording in the making; see `held.Stored`.

    It is nothing that the collector looks at: many wait, and would have it run through all of the program's objects.

    Attributes:
        number: of the tensor, 0 before it is written. shown: the newest iteration that shows it, as far as is written.
    """

    writer: "Writer"
    number: int = 0
    shown: int = -1

    @property
    def kept(self) -> bool:
        return self.writer.has(self.number)

    def facts(self) -> Facts:
        return self.writer.facts(self.number)

    def pack(self) -> Packed | None:
        return self.writer.pack(self.number)

    def load(self, make: Callable[[Packed], T]) -> T | None:
        return self.writer.load(self.number, make)


class Writer:
    """Writes one recording.

    Args:
        path: of the file. A recording that is there is replaced, nothing else is. Raises RecordingError.
        about: what is recorded. keep: which tensors. say: gets the line that tells why it ended early.

        ask: what the program's modules, frozen parameters and optimizer are. make: a handle to a tensor in the file.
        measure: takes the statistics of tensors that are not kept.

    Attributes:
        alive: False once the recording has ended.
    """

    def __init__(
        self,
        path: str,
        about: About,
        keep: Keep,
        say: Callable[[str], None],
        ask: Callable[[], Known],
        make: Callable[[Stored], Held],
        measure: Measure,
    ) -> None:
        self.path, self.keep, self._say, self._ask = path, keep, say, ask
        self.alive = True
        self._db, self._heap = lay.new_file(path, about)
        self._held = lay.hold(path)
        self._pid = os.getpid()
        self._rows = Rows(self._db, self._heap, keep, measure, self._marks())
        self._lock = threading.RLock()  # what waits; a signal may come in between, and print
        self._changed = threading.Condition(self._lock)
        self._using = threading.Lock()  # the database
        self._batch = Batch()
        self._taken = self._written = 0  # batches
        self._hurry = self._closing = False
        self._takes = True  # what happens; False once it is closed, or failed, and in a forked worker
        self._safe = 0  # the number of the newest tensor that is in the file
        self._known = Known()
        self._reader = Reader(lay.reading(path), make, path)
        _not_after_fork(self)
        self._thread = threading.Thread(target=self._run, name="backpropdbg-file", daemon=True)
        self._thread.start()

    # -- in the threads of the program -----------------------------------------------------------

    def add(self, position: int, event: Event, shown: Iterable[Held]) -> None:
        """Take an event, and the tensors that it shows."""
        if not self._takes:
            return
        size = _EVENT_BYTES
        for held in shown:
            if held.stored is None:
                held.stored = InFile(self)
                size += held.nbytes
        self._put(position, event, size)

    def _put(self, position: int, event: Event, size: int) -> None:
        """Have an event wait with so many bytes."""
        if type(event) in _TELLING:
            self._know(position, replace(self._ask(), names=self._known.names))
        with self._lock:
            batch = self._batch
            if not batch.events:
                batch.first = position
                self._begin()
            batch.events.append(event)
            batch.nbytes += size
            if batch.nbytes > MANY_BYTES:
                self._press()

    def _press(self) -> None:
        """Much waits: have it written now; very much: wait until it is taken."""
        if not self._hurry:
            self._hurry = True
            self._changed.notify_all()
        while self._batch.nbytes > MOST_BYTES and self._writes():
            self._changed.wait(1.0)

    def learn(self, position: int, names: Names) -> None:
        """From this position on, the parameters are called so."""
        if self._takes:
            self._know(position, replace(self._ask(), names=names))

    def _know(self, position: int, known: Known) -> None:
        if known != self._known:
            self._known = known
            with self._lock:
                self._batch.known.append((position, known))
                self._begin()

    def print(self, position: int, stream: str, text: str) -> None:
        """Take what the program printed."""
        if self._takes:
            with self._lock:
                self._batch.print(position, stream, text)
                self._batch.nbytes += len(text)
                self._begin()

    def _begin(self) -> None:
        """Something waits: have it written soon."""
        if not self._batch.since:
            self._batch.since = time.monotonic()
            self._changed.notify_all()

    def _marks(self) -> Callable[[Held], Any]:
        """What gives the mark of a tensor, None where it has none."""
        return attrgetter("stored")

    def flush(self) -> None:
        """Wait until all that was taken is in the file."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            wanted, self._hurry = self._taken + bool(self._batch.since), True
            self._changed.notify_all()
            while self._written < wanted and self._writes():
                self._changed.wait(1.0)

    def _writes(self) -> bool:
        return self.alive and self._thread.is_alive()

    def settle(self, held: Held) -> None:
        """A tensor is about to be let go: be sure that it is in the file."""
        stored = held.stored
        if isinstance(stored, InFile) and not 0 < stored.number <= self._safe:
            self.flush()

    def close(self, how: str, code: int | None = None) -> None:
        """Write what is left, and that it is all; leave one file. Safe to call twice."""
        if os.getpid() != self._pid or self._closing:
            return
        self.flush()
        with self._lock:
            self._closing, self._takes = True, False
            self._changed.notify_all()
        self._thread.join()
        if not self.alive:
            return
        self.alive = False
        with self._using, contextlib.suppress(sqlite3.Error):
            self._reader.close()
            self._heap.close()
            whole = lay.close(self._db, Ended(how, code))
            self._make_one(whole)
        if self._held is not None:  # not before: closing the file lets go of the database's own locks
            os.close(self._held)

    def _make_one(self, whole: bool) -> None:
        try:
            if whole:
                make_one(self.path)
        except OSError as error:
            reason = lay.reason(error, self.path)
            self._say(f"{self.path}: keep {beside(self.path)} beside it, the tensors are in there: {reason}")

    # -- in the thread that writes ---------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._lock:
                while not (self._batch.since or self._closing):
                    self._changed.wait()
                while self._batch.since and not self._hurry and not self._closing:
                    left = self._batch.since + SOON - time.monotonic()
                    if left <= 0 or not self._changed.wait(left):
                        break
                if not self._batch.since:
                    return
                batch, self._batch, self._hurry = self._batch, Batch(), False
                self._taken += 1
            try:
                with self._using:
                    self._safe = self._rows.write(batch)
            except Exception as error:  # whatever it is, it must neither show in the program nor stop it
                self._fail(error)
            with self._lock:
                self._written = self._taken
                self._changed.notify_all()
            if not self.alive:
                return

    def _fail(self, error: Exception) -> None:
        self.alive = self._takes = False
        self._rows.undo()
        reason = lay.reason(error, self.path)
        self._say(f"{self.path}: the recording ends here: {reason}; the program runs on")

    # -- what was let go, or forgotten, elsewhere ------------------------------------------------

    def _reading(self) -> Reader:
        """Raises RecordingError in a forked worker: nothing of the file may be used there."""
        if os.getpid() != self._pid:
            raise RecordingError(f"{self.path}: it is recorded by another process")
        return self._reader

    def has(self, number: int) -> bool:
        """True while the file has the bytes of a tensor."""
        return not self._closing and self._reading().tensors.has(number)

    def facts(self, number: int) -> Facts:
        """What is known of a tensor."""
        return self._reading().tensors.facts(number)

    def pack(self, number: int) -> Packed | None:
        """The bytes of a tensor; None where they are gone."""
        return self._reading().tensors.pack(number)

    def load(self, number: int, make: Callable[[Packed], T]) -> T | None:
        """The tensor that `make` makes of its bytes; None where they are gone."""
        return self._reading().tensors.load(number, make)

    def events(self, start: int, end: int) -> Sequence[Event]:
        """Those from `start` on, before `end`."""
        return self._reading().events(start, end)

    def iterations(self) -> Sequence[int]:
        """Numbers of all iterations, the oldest first."""
        return self._reading().iterations()

    def start(self, number: int) -> int | None:
        """Position of an iteration's first event; None where it is not known."""
        return self._reading().start(number)


def _not_after_fork(writer: Writer) -> None:
    """No fork while the database is in use; and a worker must not even close its copy of it."""
    import weakref

    reference = weakref.ref(writer)

    def before() -> None:
        alive = reference()
        if alive is not None:
            alive._using.acquire()

    def after() -> None:
        alive = reference()
        if alive is not None:
            alive._using.release()

    def in_child() -> None:
        alive = reference()
        if alive is not None:
            alive._takes = False
            lay.forget(alive._db)
            lay.forget(alive._reader.db)
            alive._using.release()

    os.register_at_fork(before=before, after_in_parent=after, after_in_child=in_child)
