"""Each script of demos/ as a golden test, headless; `UPDATE_GOLDEN=1` rewrites tests/golden."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import zip_longest
from pathlib import Path

import msgspec
import pytest

import backpropdbg.demo
from backpropdbg.situation import Situation

ROOT = Path(__file__).parent.parent
GOLDEN = ROOT / "tests" / "golden"
OF_THE_DEMO = ("shared_weight", "cancellation", "zero_uses", "momentum", "adam", "parameter", "time_travel")
OF_PROGRAMS = ("rnn", "tied", "siamese", "accumulation", "gan", "maml", "neural_ode", "nan", "forgotten")
SCRIPTS = (*OF_THE_DEMO, *OF_PROGRAMS)
IN_JSON = (*OF_THE_DEMO, "rnn", "gan")
NUMBER = re.compile(r"(?<![\w.])[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?: %)?(?!\w)")
COSINE = re.compile(r"[+-][01]\.\d\d")

Done = subprocess.CompletedProcess[str]


def _run(*words: str) -> Done:
    return subprocess.run(
        [sys.executable, "-m", "backpropdbg", *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONWARNINGS": "ignore:Failed to initialize NumPy"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )


ANY = (
    ("--seed", "3", "--uses", "2"),
    ("--uses", "0"),
    ("--net", "parameter"),
    ("--optimizer", "adam", "--weight-decay", "0.1", "--keep-zero-grads"),
)
RUNS = [
    *(("replay", f"demos/{name}.bpdb") for name in SCRIPTS),
    ("demo",),
    *(("replay", f"demos/{name}.bpdb", "--format", "jsonl") for name in IN_JSON),
    ("replay", "demos/adam.bpdb", "--format", "jsonl", ""),
    ("demo", "--seed", "3"),
    *(("demo", *words) for words in ANY),
]


@pytest.fixture(scope="module")
def done() -> Iterator[Callable[..., Done]]:
    """What a command line printed; all of RUNS go side by side. An empty last word asks for another run of the same."""
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        futures: dict[tuple[str, ...], Future[Done]] = {
            words: pool.submit(_run, *filter(None, words)) for words in RUNS
        }
        yield lambda *words: futures[words].result()
        pool.shutdown(cancel_futures=True)


def differences(got: str, wanted: str) -> list[str]:
    """Lines that differ by more than another CPU's last digits; the rounding row of an update is nothing but those."""
    found = []
    for number, (a, b) in enumerate(zip_longest(got.splitlines(), wanted.splitlines()), 1):
        if a is None or b is None or not _same(a, b):
            found.append(f"line {number}:\n  got    {a!r}\n  golden {b!r}")
    return found


def _same(a: str, b: str) -> bool:
    if a == b:
        return True
    if a.startswith("  rounding") and b.startswith("  rounding"):
        return NUMBER.sub("0", a).split() == NUMBER.sub("0", b).split()
    words = [" ".join(NUMBER.sub("\0", line).split()) for line in (a, b)]
    pairs = zip(NUMBER.findall(a), NUMBER.findall(b), strict=False)
    return words[0] == words[1] and all(_near(x, y) for x, y in pairs)


def _near(a: str, b: str) -> bool:
    """Whole numbers are counts and must agree; percentages and cosines are rounded, so the last digit may flip."""
    if "%" in a + b:
        return a[-1] == b[-1] and abs(int(a.rstrip(" %")) - int(b.rstrip(" %"))) <= 1
    if not set(".e") & set(a + b):
        return int(a) == int(b)
    rounded = 0.0101 if COSINE.fullmatch(a) and COSINE.fullmatch(b) else 0.0
    return abs(float(a) - float(b)) <= max(1e-3 * abs(float(b)), 1e-6, rounded)


@pytest.mark.parametrize("name", SCRIPTS)
def test_golden(done: Callable[..., Done], name: str) -> None:
    result = done("replay", f"demos/{name}.bpdb")
    assert (result.returncode, result.stderr) == (0, "")
    golden = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(result.stdout, encoding="utf-8")
    found = differences(result.stdout, golden.read_text(encoding="utf-8"))
    assert not found, f"demos/{name}.bpdb (UPDATE_GOLDEN=1 rewrites the golden file)\n" + "\n".join(found)


@pytest.mark.parametrize("name", IN_JSON)
def test_jsonl(done: Callable[..., Done], name: str) -> None:
    """The same session, one strict JSON object a line."""
    result = done("replay", f"demos/{name}.bpdb", "--format", "jsonl")
    assert (result.returncode, result.stderr) == (0, "")

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    lines = [json.loads(line, parse_constant=refuse) for line in result.stdout.splitlines()]
    types = {line["type"] for line in lines}
    assert types - {"output"} == {"stop", "result", "say"}
    assert "output" not in types or name in OF_PROGRAMS
    keys = {field.encode_name for field in msgspec.structs.fields(Situation)}
    for line in lines:
        if line["type"] == "stop":
            assert set(line["situation"]) == keys
            assert msgspec.convert(line["situation"], Situation).explanation
        elif line["type"] == "result":
            assert line["ok"] is True and set(line) == {"type", "command", "text", "ok"}

    text = done("replay", f"demos/{name}.bpdb").stdout
    assert [line["command"] for line in lines if line["type"] == "result"] == re.findall(r"(?m)^\(bpdb\) (.*)", text)
    for line in lines:
        shown = line["situation"]["explanation"][0] if line["type"] == "stop" else line["text"]
        assert shown in text


@pytest.mark.parametrize("name", SCRIPTS)
def test_text_of_the_script(name: str) -> None:
    """A script says what it is about, proves what it says, and quits."""
    lines = (ROOT / "demos" / f"{name}.bpdb").read_text(encoding="utf-8").splitlines()
    words = [line.split()[0] for line in lines if line and line[0] != "#"]
    assert lines[0].startswith("# ") and words[-1] == "quit"
    assert words[0] == ("demo" if name in OF_THE_DEMO else "run")
    assert words.count("expect") >= words.count("say") >= 3
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("name", OF_PROGRAMS)
def test_a_program_is_named_as_its_script_and_knows_no_debugger(name: str) -> None:
    script, program = ((ROOT / "demos" / f"{name}.{end}").read_text(encoding="utf-8") for end in ("bpdb", "py"))
    assert f"\nrun demos/{name}.py\n" in script
    words = " ".join(program.split())
    assert f"`python demos/{name}.py`" in words and f"`python -m backpropdbg run demos/{name}.py`" in words
    imported = re.findall(r"(?m)^ *(?:import|from) (\w+)", program)
    assert "torch" in imported and "backpropdbg" not in imported


def test_every_script_is_tested() -> None:
    assert {path.stem for path in (ROOT / "demos").glob("*.bpdb")} == set(SCRIPTS)
    assert {path.stem for path in (ROOT / "demos").glob("*.py")} == set(OF_PROGRAMS)
    assert {path.stem for path in GOLDEN.iterdir()} == set(SCRIPTS)


def test_the_packaged_tour_is_the_first_script() -> None:
    packaged = Path(backpropdbg.demo.__file__).parent / "shared_weight.bpdb"
    assert packaged.read_bytes() == (ROOT / "demos" / "shared_weight.bpdb").read_bytes()


def test_two_runs_give_the_same_bytes(done: Callable[..., Done]) -> None:
    again = ("replay", "demos/adam.bpdb", "--format", "jsonl")
    assert done(*again).stdout == done(*again, "").stdout != ""


def test_demo_without_a_terminal_plays_the_tour(done: Callable[..., Done]) -> None:
    result = done("demo")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == done("replay", "demos/shared_weight.bpdb").stdout


def test_the_tour_holds_for_other_seeds(done: Callable[..., Done]) -> None:
    result = done("demo", "--seed", "3")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout != done("demo").stdout


@pytest.mark.parametrize("words", ANY, ids=" ".join)
def test_with_other_options_the_demo_plays_one_iteration_of_that(
    done: Callable[..., Done], words: tuple[str, ...]
) -> None:
    result = done("demo", *words)
    assert (result.returncode, result.stderr) == (0, "")
    assert ".grad" in result.stdout and "after optimizer.step()" in result.stdout


@pytest.mark.filterwarnings("ignore:Failed to initialize NumPy")
def test_the_numbers_are_those_of_plain_torch(done: Callable[..., Done]) -> None:
    """Train one step by hand, each use with a copy of the weight of its own, and look for its norms in the ledger."""
    import torch

    torch.manual_seed(20787)
    x, y = torch.randn(16, 4), torch.randn(16, 3)
    first, middle, last = torch.nn.Linear(4, 5), torch.nn.Linear(5, 5), torch.nn.Linear(5, 3)
    untied = [middle.weight.detach().clone().requires_grad_() for _ in range(3)]
    h = first(x).clamp(min=0)
    for weight in untied:
        h = torch.nn.functional.linear(h, weight, middle.bias).clamp(min=0)
    torch.nn.functional.mse_loss(last(h), y, reduction="sum").backward()
    a1, a2, a3 = (weight.grad for weight in untied)
    assert a1 is not None and a2 is not None and a3 is not None
    total = a3 + a2 + a1
    before = middle.weight.detach()
    expected = {
        "A3 use #3": a3,
        "A2 use #2": a2,
        "A1 use #1": a1,
        "running sum": total,
        ".grad": total,
        "before": before,
        "gradient": -1e-3 * total,
        "difference": -1e-3 * total,
        "after": before - 1e-3 * total,
    }
    ledger = done("replay", "demos/shared_weight.bpdb").stdout.rpartition("(bpdb) ledger")[2]
    number = r"[+-]?\d[\d.e+-]*"
    rows = re.findall(rf"(?m)^[> ] (\S+(?: +use #\d| sum)?) +({number}) +({number}) +({number})", ledger)
    shown = {" ".join(name.split()): (float(norm), float(element)) for name, norm, _, element in rows}
    for name, tensor in expected.items():
        assert shown[name] == pytest.approx((tensor.norm().item(), tensor[0, 0].item()), rel=1e-3), name


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("A2  0.9906  +0.42  -0.09906  pulls it up", "A2 0.9907 +0.43 -0.0991 pulls it up"),
        ("cancels 93 %", "cancels 92 %"),
        ("after  1.26  -0.09034", "after  1.2601  -0.09034"),
        ("  rounding  2.4e-08  +0.20  -1.3e-09  left over", "  rounding  3.1e-08  -0.70  +1.1e-09  left over"),
        ("tensor(-1.2770e-05)", "tensor(-1.2785e-05)"),
    ],
)
def test_the_comparison_forgives_last_digits(a: str, b: str) -> None:
    assert not differences(a, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("use #2 of 3", "use #3 of 3"),
        ("middle_linear#1", "middle_linear#2"),
        ("norm 0.9906", "norm 0.9956"),
        ("cancels 93 %", "cancels 90 %"),
        ("lr=0.001", "lr=0.002"),
        ("1.5e-05", "1.5e-02"),
        (".grad None", ".grad 0"),
        ("gradient 0.002 -1.00", "gradient 0.002 +1.00"),
        ("one line", "one line\nand another"),
    ],
)
def test_the_comparison_forgives_nothing_else(a: str, b: str) -> None:
    assert differences(a, b)
