"""A program with a Server and a fake Host; the last argument says how it behaves."""

import json
import os
import sys
import time
from collections.abc import Callable

from msgspec.structs import replace

from backpropdbg.errors import CommandError
from backpropdbg.hurry import looking_up
from backpropdbg.questions import Moment, Question, Timeline, TimelineOf
from backpropdbg.situation import Progress, Situation, Window
from backpropdbg.wire.server import Server
from backpropdbg.wire.session import Result


class Quit(BaseException):
    pass


def situation(position: int) -> Situation:
    return Situation(
        position, 1, "forward", "ForwardUse", f"stop {position}", "fake", "NaN", 0, "SGD", "w", (2, 3), (0, 1),
        (), (), (), (), "running sum", (), None, ("A sentence.",),
    )  # fmt: skip


class FakeHost:
    def __init__(self) -> None:
        self.position = 0
        self.quitting = False
        self.pauses = 0
        self.lacks = self.complete = False
        self.last = ""
        self.lines: list[str] = []
        self.redraw: Callable[[Situation], None] = lambda situation: None

    def execute(self, line: str) -> Result:
        self.lines.append(line)
        word = line.split()[0]
        if word == "focus":
            self.redraw(situation(self.position))
        if word in (
            "goto",
            "step",
            "next",
            "continue",
            "finish",
            "rs",
            "rc",
            "die",
            "raise",
            "exit",
            "spin",
            "flood",
            "fork",
        ):
            self.last = line
            return Result(line, "", moves=True)
        if word == "lack":
            self.lacks, self.complete = True, False
        if word == "complete":
            self.complete = True
        if word == "bad":
            raise CommandError("no such command: bad")
        if word == "bug":
            raise ZeroDivisionError("oops")
        if word == "lines":
            return Result(line, " | ".join(self.lines))
        if word == "surrogate":
            return Result(line, "a\udc80b")
        if word == "print":
            print("printed at the stop")
        if word == "mute":
            return Result(line, f"muted: {line.removeprefix('mute ')}")
        return Result(line, f"did {line}")

    def window(self, name: str, rows: int, cols: int, row0: int, col0: int, pool: bool) -> Window | None:
        while name == "endless":
            looking_up()
            time.sleep(0.001)
        return Window(name, (rows, cols), (("NaN", 1.0),)) if name == "weight" else None

    def rest(self, waits: Callable[[], bool]) -> Situation | None:
        """After `lack` no end comes before something is wanted; after `complete` it comes at once."""
        while not waits() and not self.complete:
            time.sleep(0.001)
        if waits():
            return None
        self.lacks = False
        return replace(situation(self.position), proof="all of it")

    def situation(self) -> Situation | None:
        return situation(self.position)

    def printed(self, position: int, most: int) -> tuple[tuple[str, str], ...]:
        return (("stdout", f"{position} \udc80"[-most:]), ("stderr", "oh"))

    def answer(self, asked: Question) -> Timeline:
        assert isinstance(asked, TimelineOf)
        return Timeline(1, 9, 2, 3, (Moment(asked.first, 7, "NaN"), Moment(min(asked.last, asked.columns), 8)))

    def progress(self) -> Progress | None:
        return Progress(self.position, 90, 7, "NaN") if self.last == "spin" else None

    def pause(self) -> None:
        self.pauses += 1

    def quit(self) -> None:
        self.quitting = True


def main() -> None:
    server = Server.from_environment()
    options = json.loads(sys.argv[1])
    if options.get("import"):
        time.sleep(options["import"])
    host = FakeHost()
    host.redraw = lambda shown: server.event("stopped", {"reason": "redraw", "threadId": 1, "situation": shown})
    server.serve(host)
    print("hello from the program")
    try:
        while True:
            server.wait_at_stop(situation(host.position))
            if host.quitting:
                if options.get("stubborn"):
                    time.sleep(60)
                raise Quit
            host.position += 1
            match host.last.split()[0]:
                case "die":
                    os.kill(os.getpid(), 9)
                case "exit":
                    sys.exit(int(host.last.split()[1]))
                case "raise":
                    server.event("backpropdbg/raised", {"error": "ValueError: x"})
                    print("Traceback: ValueError: x", file=sys.stderr)
                    sys.exit(3)
                case "spin":
                    while not (host.pauses or host.quitting):
                        time.sleep(0.01)
                case "fork":
                    if (worker := os.fork()) == 0:
                        server.wait_at_stop(situation(99))
                        server.event("backpropdbg/raised", {"error": "from a worker"})
                        time.sleep(60)
                    print(f"worker {worker}")
                case "flood":
                    print("x" * 100 + "\n", end="")
                    sys.stdout.write("y" * 300_000 + "\n")
            print(f"out {host.position}")
            print(f"err {host.position}", file=sys.stderr)
    except Quit:
        pass


if __name__ == "__main__":
    main()
