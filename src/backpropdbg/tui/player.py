"""Plays a script in the app at reading pace: captions, pauses, and commands that wait for their answer."""

import asyncio
import shlex
from collections.abc import Callable, Sequence

from backpropdbg.wire.session import Body, Ended, Message, Result, Stopped

Script = Sequence[tuple[str, int]]
PACE = 1.5
LETTER = 0.045


def reading_time(text: str) -> float:
    """Return the seconds that a caption stays up at speed 1."""
    return max(PACE, LETTER * len(text))


def words_of(line: str) -> list[str]:
    """Return the words of a script line; its quotes may be unbalanced."""
    try:
        return shlex.split(line)
    except ValueError:
        return line.split()


class Player:
    """Sends the lines of a script, one after the other.

    Attributes:
        failed: the message of the line that failed, or "".
    """

    def __init__(
        self,
        script: Script,
        speed: float,
        send: Callable[[str], None],
        caption: Callable[[str], None],
    ) -> None:
        self.script = tuple(script)
        self.speed = max(speed, 1e-3)
        self.failed = ""
        self.stopped = False
        self._send = send
        self._caption = caption
        self._going = asyncio.Event()
        self._going.set()
        self._ready = asyncio.Event()
        self._answered = asyncio.Event()
        self._awaiting = False
        self._moving = False

    @property
    def paused(self) -> bool:
        """True while a pause holds the script."""
        return not self._going.is_set()

    def hold(self) -> None:
        """Pause."""
        self._going.clear()

    def go_on(self) -> None:
        """End a pause."""
        self._going.set()

    def stop(self) -> None:
        """Leave the rest of the script alone."""
        self.stopped = True
        self._going.set()
        self._ready.set()
        self._answered.set()

    def hear(self, message: Message) -> None:
        """Take note of what the session says."""
        match message:
            case Result(ok=False) if self._awaiting:
                self.failed = message.text
                self._answered.set()
            case Result(moves=False) if self._awaiting:
                self._answered.set()
            case Stopped() | Ended():
                self._ready.set()
                if self._awaiting and self._moving:
                    self._answered.set()
        self._moving = self._moving or (isinstance(message, Result) and message.moves)

    async def _wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.speed)
        await self._going.wait()

    async def play(self) -> None:
        """Play the script to its end, its first failure, or `stop()`."""
        await self._ready.wait()
        body = Body()
        for line, number in self.script:
            await self._going.wait()
            if self.stopped:
                return
            words = words_of(line)
            if not words or words[0].startswith("#"):
                continue
            if body.takes(line):
                words = [""]
            if words[0] == "say":
                text = " ".join(words[1:])
                self._caption(text)
                await self._wait(reading_time(text))
            elif words in (["ledger"], ["info", "ledger"]):  # it is on the screen already
                await self._wait(PACE)
            elif words[0] == "sleep":
                await self._wait(seconds_of(words))
            else:
                await self._ask(line)
                if self.failed:
                    self.failed = f"line {number}: {line}: {self.failed}"
                    self._caption(self.failed)
                    return
                if self._moving:  # what was said was said of the stop before
                    self._caption("")
                await self._wait(0 if words[0] == "expect" else PACE)

    async def _ask(self, line: str) -> None:
        self._answered.clear()
        self._awaiting, self._moving = True, False
        self._send(line)
        await self._answered.wait()
        self._awaiting = False


def seconds_of(words: Sequence[str]) -> float:
    """Return S of `sleep S`, 1 where it is missing or no number."""
    try:
        return max(0.0, float(words[1]))
    except (IndexError, ValueError):
        return 1.0
