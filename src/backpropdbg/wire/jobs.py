"""Jobs that other threads leave for one thread, which is woken while it waits for files."""

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable


class Jobs:
    """A queue with a file to wait for. fd: readable once somebody woke the thread; -1 after `close`."""

    def __init__(self) -> None:
        self._jobs: deque[Callable[[], object]] = deque()
        self._lock = threading.Lock()
        self.fd, self._write = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._write, False)

    def post(self, job: Callable[[], object]) -> None:
        """Leave a job."""
        self._jobs.append(job)
        self.wake()

    def wake(self) -> None:
        """Let the thread look around."""
        with self._lock, contextlib.suppress(BlockingIOError):
            if self._write >= 0:
                os.write(self._write, b"x")

    def take(self) -> Callable[[], object] | None:
        """The next job; None where there is none."""
        return self._jobs.popleft() if self._jobs else None

    def rest(self) -> None:
        """Be ready to be woken again."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 65536)

    def close(self) -> None:
        """Nobody is woken any more."""
        with self._lock:
            if self._write >= 0:
                os.close(self.fd)
                os.close(self._write)
            self.fd = self._write = -1
