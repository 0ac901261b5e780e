"""Arguments: what they become, and one line for each mistake."""

import json
import subprocess
import sys

import pyte
import pytest

from backpropdbg.cli import main
from backpropdbg.options import demo_options
from backpropdbg.tui import first


def test_only_what_was_given() -> None:
    assert demo_options([]) == {"program": "demo", "demo": {}, "keep": 1_000_000_000}
    words = (
        "--seed 1 --uses random --batch 2 --d-in 3 --hidden 4 --d-out 5 --optimizer sgd --lr 0.1 --momentum 0.9"
        " --weight-decay 0 --keep-zero-grads --iterations 7 --tutorial --net parameter --keep 1.5GiB"
    )
    assert demo_options(words.split()) == {
        "program": "demo",
        "demo": {
            "seed": 1,
            "uses": None,
            "batch": 2,
            "d_in": 3,
            "hidden": 4,
            "d_out": 5,
            "optimizer": "sgd",
            "lr": 0.1,
            "momentum": 0.9,
            "weight_decay": 0.0,
            "keep_zero_grads": True,
            "iterations": 7,
            "tutorial": True,
            "net": "parameter",
        },
        "keep": 3 * 2**29,
    }
    assert demo_options(["--uses", "0"])["demo"] == {"uses": 0}


@pytest.mark.parametrize(
    "words",
    [
        "demo --uses -1",
        "demo --uses many",
        "demo --uses 1.5",
        "demo --hidden 0",
        "demo --batch 99999999999",
        "demo --d-in x",
        "demo --seed -1",
        "demo --lr nan",
        "demo --lr -0.1",
        "demo --momentum inf",
        "demo --keep 12XB",
        "demo --keep 0",
        "demo --keep -5MB",
        "demo --optimizer rmsprop",
        "demo --net other",
        "demo --optimizer adam --momentum 0.9",
        "demo --iterations 0",
        "demo --hid 3",
        "demo extra",
        "replay",
        "replay /no/such/file",
        "replay a --format xml",
        "replay a --play 0",
        "replay a --play fast",
        "nonsense",
        "",
    ],
)
def test_mistakes_are_one_line(words, capsys) -> None:
    assert main(words.split()) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("backpropdbg: ")


@pytest.mark.parametrize(
    ("words", "value"), [("--uses -1", "-1"), ("--hidden 0", "0"), ("--keep 12XB", "12XB"), ("--lr nan", "nan")]
)
def test_mistakes_name_the_value(words, value, capsys) -> None:
    assert main(["demo", *words.split()]) == 2
    err = capsys.readouterr().err
    assert repr(value) in err and words.split()[0] in err


@pytest.mark.parametrize("words", [["--help"], ["demo", "--help"], ["replay", "--help"], ["demo", "--uses", "x"]])
def test_help_imports_neither_torch_nor_textual(words) -> None:
    code = (
        "import sys, json\nfrom backpropdbg.cli import main\n"
        "try:\n    main(json.loads(sys.argv[1]))\nexcept SystemExit as e:\n    assert not e.code\n"
        "assert not {'torch', 'textual', 'rich'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, json.dumps(words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_python_m() -> None:
    done = subprocess.run([sys.executable, "-m", "backpropdbg", "demo", "--uses", "x"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1


def test_the_first_paint_says_what_starts_and_nothing_that_a_terminal_obeys(monkeypatch, capsys):
    assert first.paint("starting ...") is False and capsys.readouterr().out == ""
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("LINES", "24")
    assert first.paint("opening a\x1b[31m\nvery long name ...") is True
    screen = pyte.Screen(20, 24)
    pyte.Stream(screen).feed(capsys.readouterr().out)
    lines = {n: line.rstrip() for n, line in enumerate(screen.display) if line.strip()}
    assert lines == {0: " backpropdbg   start", 21: "  opening a?[31m?v"}
