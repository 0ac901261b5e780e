"""Headless replay: a script's commands run one by one, what they show goes to stdout as text or JSON lines."""

import contextlib
import os
import queue
import shlex
import sys

import msgspec

from backpropdbg.console import keyboard
from backpropdbg.console.render import harmless, render_stop
from backpropdbg.console.script import Line, Script, parse
from backpropdbg.situation import Situation
from backpropdbg.wire.client import ChildSession
from backpropdbg.wire.messages import to_json
from backpropdbg.wire.session import Body, Ended, Message, ProgramOutput, Result, Said, Session, Stopped

__all__ = ["Printer", "Replay", "Script", "carry_out", "parse", "replay"]

FOR_A_SCREEN = ("sleep", "screenshot", "theme", "layout")  # or with a viewer's time
FINE, FAILED, RAISED, INTERRUPTED, PIPE_CLOSED = 0, 1, 3, 130, 141


class Printer:
    """Writes what happens to stdout; form is "text" or "jsonl"."""

    def __init__(self, form: str = "text") -> None:
        self.json = form == "jsonl"
        self._at_line_start = True

    def _line(self, text: str) -> None:
        if not self._at_line_start:
            sys.stdout.write("\n")
        self._at_line_start = True
        sys.stdout.write(harmless(text) + "\n")
        sys.stdout.flush()

    def _object(self, kind: str, **fields: object) -> None:
        self._line(to_json({"type": kind, **fields}).decode())

    def echo(self, line: str) -> None:
        """Show the command before its result."""
        if not self.json:
            self._line(f"(bpdb) {line}")

    def stop(self, situation: Situation) -> None:
        """Show a stop."""
        if self.json:
            self._object("stop", situation=msgspec.to_builtins(situation))
        else:
            self._line(render_stop(situation))

    def result(self, command: str, text: str, ok: bool) -> None:
        """Show what a command printed; the text of a failed one goes to stderr elsewhere."""
        if self.json:
            self._object("result", command=command, text=text, ok=ok)
        elif ok and text:
            self._line(text.rstrip("\n"))

    def output(self, stream: str, text: str) -> None:
        """Pass the program's own output on."""
        if self.json:
            self._object("output", stream=stream, text=text)
        elif stream == "stderr":
            sys.stdout.flush()
            sys.stderr.write(text)
            sys.stderr.flush()
        else:
            sys.stdout.write(text)
            sys.stdout.flush()
            self._at_line_start = text.endswith("\n")

    def said(self, text: str) -> None:
        """Show what the debugger says between two stops."""
        if self.json:
            self._object("said", text=text)
        else:
            self._line(text.rstrip("\n"))

    def say(self, text: str) -> None:
        """Show words of the script, set off by an empty line."""
        if self.json:
            self._object("say", text=text)
        else:
            self._line(f"\n{text}\n")

    def ended(self, message: Ended) -> None:
        """Show that the program is gone."""
        if self.json:
            self._object("ended", cause=message.cause, code=message.code, raised=message.raised)


class Replay:
    """Runs the lines of a script one by one."""

    def __init__(self, session: Session, printer: Printer) -> None:
        self.session = session
        self.printer = printer
        self.inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self.ended: Ended | None = None

    def wait(self, command: str | None) -> Result | None:
        """Handle messages until the program stops (command None), or until that command's result arrived."""
        while True:
            message = self.inbox.get()
            if isinstance(message, ProgramOutput):
                self.printer.output(message.stream, message.text)
            elif isinstance(message, Said):
                self.printer.said(message.text)
            elif isinstance(message, Stopped):
                self.stopped(message.situation, redrawn=command is not None)
                if command is None:
                    return None
            elif isinstance(message, Ended):
                self.ended = message
                self.printer.ended(message)
                return None
            elif isinstance(message, Result) and command is not None:
                return message

    def stopped(self, situation: Situation, redrawn: bool) -> None:
        """Show a stop; redrawn: the same one, with another focus or element, which text has no need of."""
        if not redrawn:
            self.printer.stop(situation)

    def failed(self, text: str) -> None:
        """Say why the script ends here."""
        _error(text)

    def run(self, lines: tuple[Line, ...], start: str) -> int:
        """Run all commands. Returns the exit code."""
        self.session.start(self.inbox.put)
        self.wait(None)
        if self.ended is not None:
            return self.after_end(start)
        body = Body()
        for line in lines:
            word = "" if body.takes(line.text) else line.text.split()[0]
            if word in ("quit", "q"):
                return _quit_code(line)
            if not self.run_one(line, word):
                return FAILED
            if self.ended is not None and (self.ended.raised or self.ended.code):
                return self.after_end(line.place)
        return FINE

    def run_one(self, line: Line, word: str) -> bool:
        """Run one command. Returns False where it failed."""
        if word == "say":
            self.printer.say(" ".join(shlex.split(line.text, comments=True)[1:]))
            return True
        self.printer.echo(line.text)
        if word in FOR_A_SCREEN:
            self.printer.result(line.text, f"({word}: nothing to do without a screen)", True)
            return True
        if word == "restart":
            self.ended = None
        self.session.command(line.text)
        result = self.wait(line.text)
        if result is None:  # the program is gone before it could answer
            self.after_end(line.place)
            return False
        self.printer.result(line.text, result.text, result.ok)
        if not result.ok:
            self.failed(f"{line.place}: {result.text}")
            return False
        if result.moves:
            self.wait(None)
        return True

    def after_end(self, place: str) -> int:
        """The program is gone before the script is: say why. Its own traceback was shown already."""
        assert self.ended is not None
        self.failed(f"{place}: {self.ended.cause}")
        return RAISED if self.ended.raised else FAILED


def replay(script: Script, form: str = "text", session: Session | None = None) -> int:
    """Play a script without a screen. Returns the exit code; both processes are gone then.

    Args:
        script: from `parse`.
        form: "text" or "jsonl".
        session: a program to use in place of the script's own.
    """
    options = {**script.options, "drawn": form == "jsonl"}
    session = session or ChildSession(options, streams=keyboard.streams("pipe"))
    keyboard.pass_on(session.feed)
    return carry_out(Replay(session, Printer(form)), script)


def carry_out(player: Replay, script: Script) -> int:
    """Let a player run a script. Returns the exit code; both processes are gone then."""
    try:
        return player.run(script.lines, f"{script.path}:1")
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    finally:
        player.session.close()


def _quit_code(line: Line) -> int:
    words = shlex.split(line.text, comments=True)
    return int(words[1]) & 0xFF if len(words) > 1 and words[1].isdigit() else FINE


def _error(text: str) -> None:
    sys.stdout.flush()
    print(text, file=sys.stderr)
