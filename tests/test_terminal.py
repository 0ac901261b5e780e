"""The real app with its real child on a real terminal. An emulator (pyte) reads the screen, not the byte stream."""

import contextlib
import os
import random
import re
import signal
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import oracle
import pexpect
import pyte
import pytest
import torch

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")

ROOT = Path(__file__).parents[1]
WAIT = 60.0  # for anything to appear, on a loaded machine
END = 12.0  # for both processes to end; the promise is two seconds, on a machine with nothing else to do
WEIGHT = "middle_linear.weight"
DOWN, RIGHT, PAGE_UP, TAB, CTRL_C, CTRL_Q = "\x1b[B", "\x1b[C", "\x1b[5~", "\t", "\x03", "\x11"
MODES = (1049, 1000, 1002, 1003, 1006, 1015, 1004, 2004)  # alternate screen, mouse, focus and paste reports
LONG = ["demo", "--iterations", "1000000"]
FLOOD = "[print(('x', 'FL')[n > 2000] * 500) for n in __import__('itertools').count()]"
Start = Callable[..., "Terminal"]


class Terminal:
    """One terminal with the app in it. An environment variable that is None is unset."""

    def __init__(self, *arguments: str, size: tuple[int, int] = (36, 120), **more: str | None) -> None:
        self.raw = b""
        self.screen = pyte.Screen(size[1], size[0])
        self.stream = pyte.ByteStream(self.screen)
        unset = dict.fromkeys(("NO_COLOR", "COLORTERM", "LINES", "COLUMNS"))
        environment = {**os.environ, "TERM": "xterm-256color", **unset, **more}
        environment = {name: value for name, value in environment.items() if value is not None}
        command = ["-m", "backpropdbg", *arguments]
        self.app = pexpect.spawn(sys.executable, command, env=environment, dimensions=size, cwd=str(ROOT))
        self.tty = os.open(os.readlink(f"/proc/{self.app.pid}/fd/0"), os.O_RDWR | os.O_NOCTTY)
        self.modes = termios.tcgetattr(self.tty)

    def pump(self) -> None:
        """Read what the app wrote, for a moment."""
        if self.app.ptyproc.fileobj.closed:
            return time.sleep(0.02)
        with contextlib.suppress(pexpect.TIMEOUT, pexpect.EOF):
            data = self.app.read_nonblocking(1 << 16, timeout=0.03)
            self.raw += data
            self.stream.feed(data)

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display)

    @property
    def header(self) -> str:
        return self.screen.display[0]

    def said(self, word: str) -> str:
        """Return what the header says after a word."""
        return self.header.partition(f"{word} ")[2].split()[0]

    def until(self, check: Callable[..., object], *arguments: object) -> None:
        """Wait until `check` neither raises nor is False."""
        deadline = time.monotonic() + WAIT
        while True:
            self.pump()
            late = time.monotonic() > deadline
            try:
                assert check(*arguments) is not False
                return
            except (AssertionError, LookupError, StopIteration, ValueError) as error:
                if late:
                    raise AssertionError(f"never on the screen: {error}\n{self.text}") from None
            if not self.app.isalive():
                deadline = min(deadline, time.monotonic() + 0.5)

    def keys(self, keys: str, *parts: str, gone: str = "\0") -> None:
        """Press keys, and wait until all parts are on the screen, and `gone` is not."""
        self.app.send(keys)
        self.until(lambda: [part for part in parts if part not in self.text] == [] and gone not in self.text)

    def see(self, *parts: str) -> None:
        self.keys("", *parts)

    def resize(self, rows: int, columns: int) -> None:
        self.screen.resize(rows, columns)
        self.app.setwinsize(rows, columns)
        self.signal(signal.SIGWINCH)

    def signal(self, *numbers: signal.Signals) -> None:
        for number in numbers:
            os.kill(self.app.pid, number)

    def pane(self, title: str) -> list[str]:
        """Return the lines in the frame whose title matches, and what is written on its lower edge."""
        rows = self.screen.display
        for top, row in enumerate(rows):
            for found in re.finditer("[╭┏][^╮┓]*[╮┓]", row):
                if re.fullmatch(title, found[0].strip("╭─╮┏╍┓ ")):
                    left, right = found.start(), found.end() - 1
                    bottom = next(y for y in range(top, len(rows)) if rows[y][left] in "╰┗")
                    return [rows[y][left + 1 : right].strip("─╍ ") for y in range(top + 1, bottom + 1)]
        raise LookupError(f"no pane {title!r}")

    def ledger(self, parameter: str = WEIGHT) -> dict[str, dict[str, str]]:
        """Return the rows by term, each with its texts under `norm`, `cos` and `element`, and the `titles`."""
        assert f"{parameter}  [" in self.text
        found = r"(?P<norm>norm) +(?P<cos>cos\(\w+\)) +(?P<element>\w+(\[[\d,]*\])?)"
        top, titles = next((n, m) for n, line in enumerate(self.screen.display) if (m := re.search(found, line)))
        rows = {"titles": titles.groupdict()}
        term = r"[│╏║> ]*(carried in|A\d+|running sum|\.grad|before|after|gradient|momentum|rounding|difference)(?= )"
        for line in self.screen.display[top + 1 :]:
            if row := re.match(term, line):
                rows[row[1]] = {
                    name: word[0]
                    for word in re.finditer(r"\S+", line)
                    for name in ("norm", "cos", "element")
                    if word.start() < titles.end(name) and word.end() > titles.start(name)
                }
        return rows

    def children(self) -> list[int]:
        """Return the app's child processes that run."""
        found = [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/stat")]
        return [pid for pid in found if status(pid)[1] == str(self.app.pid) and status(pid)[0] not in "ZX"]

    def ends(self, how: str | Callable[[], object], *codes: int, restored: bool = True) -> None:
        """Do the last thing: both processes end in time, with one of the codes, and the terminal is as it was."""
        children, begun = self.children(), time.monotonic()
        self.app.send(how) if isinstance(how, str) else how()
        while (self.app.isalive() or any(map(alive, children))) and time.monotonic() < begun + END:
            self.pump()
        print(f"both ended {time.monotonic() - begun:.2f} s after {how!r}")
        assert not self.app.isalive() and not any(map(alive, children)), self.text
        assert (self.app.exitstatus if self.app.signalstatus is None else -self.app.signalstatus) in codes
        if restored:
            self.pump()
            assert termios.tcgetattr(self.tty) == self.modes, "the line discipline is not as it was"
            assert [mode for mode in MODES if self.last(mode) == b"h"] == [], "terminal modes are left on"
            assert self.last(25) != b"l" and self.last(7) != b"l", "cursor or line wrap are left off"
            assert len(re.findall(rb"\x1b\[>\d+u", self.raw)) <= self.raw.count(b"\x1b[<u"), "keyboard protocol"

    def last(self, mode: int) -> bytes:
        """Return b"h" where a terminal mode was set last, b"l" where it was reset, b"" where neither."""
        return b"".join(re.findall(rb"\x1b\[\?%d([hl])" % mode, self.raw))[-1:]

    def close(self) -> None:
        for pid in self.children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(pexpect.ExceptionPexpect, OSError):
            self.app.close(force=True)
        os.close(self.tty)


def status(pid: int) -> list[str]:
    """Return state and parent of a process; a zombie that nobody collects has state Z, one that is gone has X."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    return ["X", ""]


def alive(pid: int) -> bool:
    return status(pid)[0] not in "ZX"


@pytest.fixture
def start() -> Iterator[Start]:
    with contextlib.ExitStack() as stack:
        yield lambda *arguments, **more: stack.enter_context(contextlib.closing(Terminal(*arguments, **more)))


@pytest.fixture(scope="module")
def shared() -> Iterator[Terminal]:
    """A demo for the tests that need no fresh one; it must survive them all, and quit."""
    with contextlib.closing(Terminal("demo", "--uses", "3", "--seed", "1816")) as terminal:
        terminal.see("you are here")
        terminal.app.send(":")  # the command line keeps the keyboard
        yield terminal
        terminal.ends(CTRL_Q, 0)


def training(seed: int, net: str = "module", sizes: tuple[int, ...] = (16, 4, 5, 3), **more: Any) -> Iterator[Any]:
    """Train in plain torch; each iteration: its uses, loss, untied partials, .grad and weight before and after."""
    torch.manual_seed(seed)
    random.seed(seed)
    x, y = torch.linspace(-torch.pi, torch.pi, 2000), torch.empty(0)
    if net == "module":
        x, y = torch.randn(sizes[0], sizes[1]), torch.randn(sizes[0], sizes[3])
        model, forward, focus = oracle.TutorialNet(*sizes[1:], more.get("uses")), oracle.module_net, WEIGHT
    else:
        y, model, forward, focus = torch.sin(x), oracle.TutorialPolynomial(None), oracle.polynomial_net, "e"
    rate = more.get("lr", 1e-3)
    kinds: Any = {"adam": torch.optim.Adam, "sgd": lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9)}
    optimizer = kinds[more.get("optimizer", "sgd")](model.parameters(), lr=rate)
    parameter, buffer = dict(model.named_parameters())[focus], None
    while True:
        drawn = oracle.peek_randint(0, 3) if net == "module" else oracle.peek_randint(4, 6) - 4
        uses, before, old = more.get("uses", drawn), oracle.state_of(model), parameter.grad
        partials = oracle.untied_partials(forward, before, x, y, uses)
        loss = oracle.squares(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        assert parameter.grad is not None, "these tests want an iteration with a use"
        terms = oracle.sgd_terms(before[focus], parameter.grad, buffer, rate, momentum=0.9)
        optimizer.step()
        buffer, after = optimizer.state[parameter].get("momentum_buffer", torch.empty(0)).clone(), parameter.detach()
        known = {"uses": uses, "loss": loss.item(), "partials": partials, "old": old, "grad": parameter.grad}
        yield SimpleNamespace(**known, terms=terms, before=before[focus], after=after.clone())


def same(text: str, value: float) -> None:
    """Assert that `text` is `value`, as far as its digits go; only a true zero may look like one."""
    if text in ("·", "0") or value == 0:
        assert text in ("·", "0") and value == 0, (text, value)
        return
    found = re.fullmatch(r"[+-]?\d*(?:\.(\d*))?(?:e([+-]?\d+))?", text)
    assert found and float(text) != 0, (text, value)
    digit = 10.0 ** (int(found[2] or 0) - len(found[1] or ""))
    assert abs(float(text) - value) <= 0.5 * digit + 3e-6 * abs(value), (text, value)


def same_row(row: dict[str, str], tensor: torch.Tensor, element: tuple[int, ...]) -> None:
    same(row["norm"], tensor.double().norm().item())
    same(row["element"], tensor[element].item())


def same_cells(terminal: Terminal, title: str, tensor: torch.Tensor) -> None:
    lines = terminal.pane(title)
    assert lines[0].split() == [str(n) for n in range(tensor.shape[1])]
    for n, row in enumerate(tensor.tolist()):
        number, *cells = lines[n + 1].split()
        assert number == str(n) and len(cells) == len(row), lines
        for text, value in zip(cells, row, strict=True):
            same(text, value)
    assert float(lines[-1].split()[0].strip("±")) >= tensor.abs().max().item() * 0.95  # it has two digits


def same_stop(t: Terminal, truth: Any, number: int, phase: str, where: str, arrived: int, element: Any) -> None:
    """Assert that all that the screen says at a stop is true; `arrived` counts the partials."""
    assert f"iteration {number} " in t.header and phase in t.header and where in t.header
    rows, partials = t.ledger(), truth.partials[WEIGHT]
    assert rows["titles"]["element"].endswith("[{},{}]".format(*element))
    graph = " ".join(t.pane("graph")[2].split())
    called = int(where[-1]) if phase == "FORWARD" else truth.uses
    for use in range(1, called + 1):
        if use <= truth.uses - arrived:
            assert rows[f"A{use}"]["norm"] == "pending" and f"A{use} pending" in graph
        else:
            same_row(rows[f"A{use}"], partials[use - 1], element)
            same(graph.partition(f"A{use} ")[2].split()[0], partials[use - 1].double().norm().item())
    assert f"A{called + 1}" not in rows
    if phase != "UPDATE":
        same_cells(t, "weight", truth.before)
    if phase == "FORWARD":
        assert rows["carried in"]["norm"] == rows["running sum"]["norm"] == "pending"
        if truth.old is None:
            assert rows[".grad"]["norm"] == "None"
        else:  # zero_grad comes after the forward
            same_row(rows[".grad"], truth.old, element)
        return
    same(t.said("loss"), truth.loss)
    assert rows["carried in"]["norm"] == "None"
    running = oracle.arrival_sum(partials[truth.uses - arrived :], None)
    assert running is not None
    same_row(rows["running sum"], running, element)
    if phase == "BACKWARD":
        same_cells(t, "running sum", running)
        same_cells(t, rf"A{truth.uses + 1 - arrived} +partial", partials[truth.uses - arrived])
    if "#" in where:
        assert rows[".grad"]["norm"] == "None" and f"Use #{where[14]}'s gradient arrived" in t.text
        return
    same_row(rows[".grad"], truth.grad, element)
    assert rows["titles"]["cos"] == "cos(sum)"
    for use, partial in enumerate(partials, 1):
        same(rows[f"A{use}"]["cos"], torch.cosine_similarity(partial.double().ravel(), truth.grad.double().ravel(), 0))
    if phase == "BACKWARD":
        return
    same_row(rows["before"], truth.before, element)
    same_cells(t, "weight before", truth.before)
    if where.startswith("before"):
        assert rows["after"]["norm"] == "pending" and t.pane("difference")[0] == "pending"
        return
    found = {"after": truth.after, "difference": truth.after - truth.before, **truth.terms}
    for term in ("gradient", "momentum", "difference", "after"):
        same_row(rows[term], found[term], element)
    assert float(rows["rounding"]["norm"]) < 1e-6
    same_cells(t, "difference", found["difference"])
    same_cells(t, "weight after", truth.after)


def test_two_iterations_and_three_sizes(start: Start) -> None:
    t = start("demo")
    t.see("FORWARD", "input_linear#1", "you are here")
    assert t.raw.index(b"starting the program") < t.raw.index(b"FORWARD")
    element = (0, 0)
    for number, truth in zip((1, 2), training(int(t.said("seed"))), strict=False):
        n, shown = truth.uses, f"{WEIGHT} accumulated"
        stops = [("FORWARD", f"middle_linear#{use}", 0) for use in range(1, n + 1)]
        stops += [("BACKWARD", f"middle_linear#{use} of {n}", n + 1 - use) for use in range(n, 0, -1)]
        stops += [("BACKWARD", shown, n), ("UPDATE", "before optimizer", n), ("UPDATE", "after optimizer", n)]
        for phase, where, arrived in stops:
            t.app.send("n")
            t.until(same_stop, t, truth, number, phase, where, arrived, element)
            if (number, phase, arrived) == (1, "BACKWARD", 1):
                t.app.send(TAB)
                bias = truth.partials["middle_linear.bias"][n - 1]
                t.until(lambda bias=bias, n=n: same_row(t.ledger("middle_linear.bias")[f"A{n}"], bias, (0,)))
                t.keys(TAB, f" {WEIGHT}  [")
                element = (1, 1)
                t.keys(DOWN, "[1,0]")
                t.keys(RIGHT, "[1,1]")
                t.until(same_stop, t, truth, number, phase, where, arrived, element)
    whole = t.text
    t.resize(24, 80)
    t.see("fwd ", "bwd ", "middle_linear", "step() moved", "q quit", "[1 matrices]")
    t.until(lambda: same_row(t.ledger()["difference"], truth.after - truth.before, element))
    t.keys("3", "output", gone="weight before")
    t.keys("1", "weight before")
    t.resize(36, 120)
    t.until(lambda: t.text == whole)
    for size in ((24, 80), (36, 120), (5, 20), (60, 200), (1, 1), (36, 120)):  # faster than the app lays out
        t.resize(*size)
    t.until(lambda: t.text == whole)
    t.ends("q", 0)


def test_there_and_back_again(start: Start) -> None:
    t = start("demo", "--uses", "2", "--seed", "1816")
    t.see("FORWARD", "you are here")
    truths = [truth for _, truth in zip(range(2), training(1816, uses=2), strict=False)]
    shown = f"{WEIGHT} accumulated"
    kinds = [("FORWARD", "middle_linear#1", 0), ("FORWARD", "middle_linear#2", 0)]
    kinds += [("BACKWARD", "middle_linear#2 of 2", 1), ("BACKWARD", "middle_linear#1 of 2", 2)]
    kinds += [("BACKWARD", shown, 2), ("UPDATE", "before optimizer", 2), ("UPDATE", "after optimizer", 2)]
    stops = [(truths[n - 1], n, *kind) for n in (1, 2) for kind in kinds]

    def stands(stop: Any, past: bool) -> None:
        assert t.header.startswith(" PAST event " if past else " backpropdbg ")
        same_stop(t, *stop, (0, 0))

    def tells(number: int) -> None:
        words = [line.strip("│╏║ ").split() for line in t.screen.display]
        if number == 1:  # the other has just begun
            same(next(w[-1] for w in words if w[:1] == ["loss"]), truths[0].loss)
            same(next(w[-1] for w in words if w[:1] == ["|grad|"]), truths[0].grad.double().norm().item())
        assert next(w for w in words if w[:1] == ["uses"]) == ["uses", "2", "0", "2" if number == 1 else "0"]

    t.app.send(":goto iteration 2\r")
    t.until(lambda: "iteration 2 " in t.header)
    for stop in stops[7:]:
        t.app.send("n")
        t.until(stands, stop, False)
    t.app.send(":print print('printed now')\r")
    t.until(lambda: "printed now" in " ".join(t.pane("output")))
    for stop in reversed(stops[:-1]):
        t.app.send("N")
        t.until(stands, stop, True)
    t.until(lambda: "printed now" not in " ".join(t.pane(r"output up to event \d+")))
    t.keys(":restart --to HERE\r", gone="PAST")
    t.until(stands, stops[0], False)
    for stop in stops[1:4]:
        t.app.send("n")
        t.until(stands, stop, False)
    t.keys("S", "PAST event")
    t.app.send("G")
    t.until(stands, stops[3], False)
    t.keys(":goto iteration 2\rt", "timeline ", "2 of 1-2")
    for key, number in (("\x1b[D", 1), ("\x1b[F", 2), ("\x1b[H", 1)):
        t.keys(key, f"{number} of 1-2")
        t.until(tells, number)
    t.ends("q", 0)


@pytest.mark.parametrize(
    ("arguments", "truth", "environment"),
    [
        ("--net parameter", {"net": "parameter", "lr": 1e-8}, {"NO_COLOR": "1"}),
        ("--tutorial", {"sizes": (64, 1000, 100, 10), "lr": 1e-4}, {}),
        ("--optimizer adam", {"optimizer": "adam"}, {"TERM": "dumb"}),
        ("--keep-zero-grads", {}, {"TERM": None}),
    ],
)
def test_other_nets_and_terminals(start: Start, arguments: str, truth: Any, environment: Any) -> None:
    t = start("demo", *arguments.split(), **environment)
    t.see("FORWARD", "you are here")
    right, focus = next(training(int(t.said("seed")), **truth)), "e" if "net" in truth else WEIGHT
    t.app.send("n")
    t.until(lambda: t.ledger(focus)["A1"]["norm"] == "pending")
    t.app.send(f":until accumulate {focus}\r")

    def accumulated() -> None:
        rows = t.ledger(focus)
        same(t.said("loss"), right.loss)
        same(rows[".grad"]["norm"], right.grad.double().norm().item())
        for use, partial in enumerate(right.partials[focus], 1):
            same(rows[f"A{use}"]["norm"], partial.double().norm().item())

    t.until(accumulated)
    t.app.send(":until update\r")
    t.until(lambda: same(t.ledger(focus)["difference"]["norm"], (right.after - right.before).double().norm().item()))
    if "NO_COLOR" in environment:
        used = {c for row in t.screen.buffer.values() for x in row.values() for c in (x.fg, x.bg)} - {"default"}
        assert all(c[:2] == c[2:4] == c[4:] for c in used), used
    t.ends(CTRL_Q, 0)


def test_commands(shared: Terminal) -> None:
    t = shared
    partials = next(training(1816, uses=3)).partials[WEIGHT]
    t.keys(f":until backward {WEIGHT}#2\r", "BACKWARD", "middle_linear#2 of 3")
    t.app.send(":print partial.norm()\r")
    t.until(lambda: same(t.pane("")[0].strip("tensor()"), partials[1].norm().item()))
    for line, answer in (
        ("frobnicate", "unknown command 'frobnicate'"),
        ("print 1 +", "print: '1 +' is no expression: invalid syntax"),
        ("print nope", "NameError: name 'nope' is not defined"),
        ("print 1 / 0", "ZeroDivisionError: division by zero"),
        ("break backward midle_linear", "no module or parameter 'midle_linear'"),
        ("until iteration 1", "iteration 1 is not ahead"),
        ("print [b]markup[/b]", "is no expression"),
    ):
        t.app.send(f":{line}\r")
        t.until(lambda answer=answer: answer in t.pane("")[0] and len(t.pane("")) <= 4)
    assert "Traceback" not in t.text and "middle_linear#2 of 3" in t.header
    t.keys(f":break accumulate {WEIGHT} if iteration == 3\r", f"breakpoint 1: accumulate {WEIGHT} if iteration == 3")
    t.keys(":continue\r", "iteration 3", f"{WEIGHT} accumulated")
    t.keys(f":break accumulate {WEIGHT} if 1 / 0\r", "breakpoint 2")
    t.keys(":continue\r", "iteration 4", "1 / 0: ZeroDivisionError: division by zero")
    t.keys(":clear\r", "2 breakpoints deleted")


def test_output_of_the_program_stays_in_its_pane(shared: Terminal) -> None:
    t, begun = shared, len(shared.raw)
    t.keys(CTRL_C, "not running")
    for line, answer in (
        ("print('hello')", "hello"),
        ("print('\\x1b[31mred\\x1b]0;title\\x07\\x1b[2J\\x1b[?1049l|')", "red|"),
        ("print('<' + 'x' * 10**6 + '\\n>end')", ">end"),
        ("__import__('os').write(1, bytes(range(256)) + b'\\njunk1\\n')", "junk1"),
        ("__import__('os').write(2, bytes(range(256)) * 99 + b'\\njunk2\\n')", "junk2"),
        ("__import__('os').system('echo out; echo error >&2')", "error"),
        ("print('\\u202e \\U0001f600 done')", "done"),
    ):
        t.app.send(f":print {line}\r")
        t.until(lambda answer=answer: answer in " ".join(t.pane("output")))
    t.keys(":print open('/dev/tty', 'w').write('on the screen')\r", "No such device or address")
    for escape in (b"\x1b[31m", b"\x1b]0;title", b"\x1b[?1049l", b"\x1b[2J"):
        assert escape not in t.raw[begun:]
    t.keys(":focus middle_linear.bias\r", "focus: middle_linear.bias", "middle_linear.bias  [5]")
    t.until(lambda: "±" in t.pane("weight")[-1])
    whole = t.text
    t.resize(24, 80)
    t.see("[1 matrices]")
    t.resize(36, 120)
    t.until(lambda: t.text == whole)  # nothing lies on the screen that the app doesn't know of


@pytest.mark.parametrize(
    ("steps", "how"),
    [
        ([], "q"),
        ([("f", "BACKWARD"), ("n", "gradient arrived")], CTRL_Q),
        ([("c", "│10 ")], "q"),
        ([(":print print('begun') or [0 for _ in iter(int, 1)]\r", "│begun")], CTRL_Q),
        ([(f":print {FLOOD}\r", "FLFLF")], CTRL_Q),
    ],
    ids=["forward", "backward", "running", "endless expression", "endless output"],
)
def test_quit(start: Start, steps: list[tuple[str, str]], how: str) -> None:
    t = start(*LONG)
    t.see("FORWARD")
    for keys, part in steps:
        t.keys(keys, part)
    t.ends(how, 0)


def test_ctrl_c_interrupts_and_quit_has_a_code(start: Start) -> None:
    t = start(*LONG)
    t.see("FORWARD")
    t.keys("c", "│10 ")
    t.keys(CTRL_C, gone="running  ")
    assert int(t.said("iteration")) >= 10
    t.keys("c", "running  ")
    t.ends(":quit 5\r", 5)


def test_quit_after_a_pause_of_the_app(start: Start) -> None:
    t = start("demo")
    t.see("you are here")
    t.signal(signal.SIGSTOP, signal.SIGCONT)
    t.keys("n", "Forward use #1")
    t.ends("q", 0)


@pytest.mark.parametrize(
    ("module", "painted", "how", "code"), [("textual", "", CTRL_C, 130), ("torch", "no parameter was used yet", "q", 0)]
)
def test_quit_while_an_import_takes_for_ever(
    start: Start, tmp_path: Path, module: str, painted: str, how: str, code: int
) -> None:
    (tmp_path / f"{module}.py").write_text("import time\nprint('importing', flush=True)\ntime.sleep(1000)\n")
    t = start("demo", PYTHONPATH=f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    t.see("importing", painted)
    t.ends(how, code)
    assert "Traceback" not in t.text


def test_quit_in_the_middle_of_the_real_import(start: Start) -> None:
    t = start("demo")
    t.until(lambda: "libtorch_cpu" in Path(f"/proc/{t.children()[0]}/maps").read_text())
    t.ends("q", 0)


def test_import_that_fails(start: Start, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('no such luck')\n")
    t = start("demo", PYTHONPATH=f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    t.see("ImportError: no such luck", "exit code 1")
    t.keys("n", "the program has ended: R restarts it, q quits")
    t.ends("q", 1, 3)


def test_program_that_dies_and_starts_again(start: Start) -> None:
    t = start("demo", size=(99, 240))
    t.see("FORWARD")
    killed = t.children()[0]
    os.kill(killed, signal.SIGKILL)
    t.see("ended", "█ the program was killed by SIGKILL")
    t.keys("n", "the program has ended: R restarts it, q quits")
    t.keys("R", "FORWARD", gone="the program has ended")
    assert t.children() != [killed] and not alive(killed)
    t.keys(":print __import__('os')._exit(9)\r", "█ the program ended with exit code 9")
    t.keys(":restart\r", "FORWARD", gone="█ the program ended")
    t.keys(":print setattr(model.output_linear, 'forward', lambda x: 1 / 0)\r", "│ None")
    t.keys(":continue\r", "█ The program raised ZeroDivisionError: division by zero")
    t.keys(":print x.shape\r", "torch.Size")  # in the frame that the exception left
    output = "\n".join(page := t.pane("output"))
    while "Traceback (most recent call last)" not in output:
        t.app.send(PAGE_UP)
        t.until(lambda page=page: t.pane("output") != page)
        output = "\n".join([*(page := t.pane("output")), output])
    unwrapped = "".join(line.rstrip() for line in output.split("\n"))
    for part in ("training.py", "dynamic_net.py", "y_pred = model(x)", "ZeroDivisionError: division by zero"):
        assert part in unwrapped, output
    for ours in ("program.py", "/probe/", "/wire/", "/debugger/"):
        assert ours not in output, output
    t.keys("S", "PAST", gone="FINISHED")
    t.ends(CTRL_Q, 3)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL, None])
def test_signal_or_no_terminal(start: Start, number: signal.Signals | None) -> None:
    t = start(*LONG)
    t.see("FORWARD")
    t.keys("c", "│10 ")
    if number is None:
        t.ends(t.app.ptyproc.fileobj.close, -signal.SIGHUP, 128 + signal.SIGHUP, restored=False)
    else:
        t.ends(lambda: t.signal(number, signal.SIGCONT), -number, 128 + number, restored=number != signal.SIGKILL)


def test_killed_while_the_program_starts(start: Start) -> None:
    t = start("demo")
    t.until(lambda: t.children() != [])
    t.ends(lambda: t.signal(signal.SIGKILL), -signal.SIGKILL, restored=False)


def test_player_plays_to_its_end(start: Start) -> None:
    t = start("replay", "--play", "20", "demos/shared_weight.bpdb")
    t.see("you are here")
    child = t.children()[0]
    t.until(lambda: not t.app.isalive())
    assert b"one sum of them, one update by that sum." in t.raw and not alive(child)
    t.ends(lambda: None, 0)


def test_step_key_takes_over_from_the_player(start: Start) -> None:
    t = start("replay", "--play", "0.7", "demos/shared_weight.bpdb")
    t.see("One forward pass uses middle_linear three times.")
    t.keys("n", "FORWARD", "middle_linear#1", gone="One forward pass")
    t.keys("n", "Forward use #2")
    t.keys("n", "Forward use #3")
    t.ends("q", 0)
