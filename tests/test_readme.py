"""What README.md says to type exists."""

import html
import itertools
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import picture
import pytest
from driving import seed
from oracle import module_net, state_of, untied_partials

from backpropdbg.cli import main
from backpropdbg.debugger.commands import check
from backpropdbg.demo import training
from backpropdbg.figures import cell_text, number_text
from backpropdbg.options import demo_options

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"(?:<!-- (\w+) -->\n)?```sh\n(.*?)```", README, re.DOTALL)
SETUP = "python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt "
PYTHON = ".venv/bin/python -m backpropdbg "


def _help(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main([*words, "--help"])
    assert not caught.value.code
    return capsys.readouterr().out


def test_the_two_commands() -> None:
    """One pasted line starts the demo from nothing, one passes the tests. .ci/run takes the second from here."""
    marked = {mark: text for mark, text in BLOCKS if mark}
    assert marked == {
        "demo": SETUP + ". && .venv/bin/python -m backpropdbg demo\n",
        "test": SETUP + "-e '.[test]' && .venv/bin/python -m pytest\n",
    }
    assert (ROOT / "constraints.txt").is_file()


COMMANDS = [line for mark, text in BLOCKS if not mark for line in text.splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all: some commands read what those before them wrote."""
    made = tmp_path_factory.mktemp("readme")
    (made / "demos").symlink_to(ROOT / "demos")
    return made


@pytest.mark.parametrize("line", COMMANDS)
def test_the_commands_work(line: str, folder: Path) -> None:
    """Each one is run, without a terminal; what plays on the screen needs one and says so."""
    assert line.startswith(PYTHON)
    words = shlex.split(line.removeprefix(PYTHON))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "backpropdbg", *words],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    if "--play" in words:
        assert (done.returncode, done.stderr.count("\n")) == (2, 1) and "needs a terminal" in done.stderr
    else:
        assert done.returncode == (words[0] == "diff"), done.stderr
        assert "Traceback" not in done.stderr
        for n, word in enumerate(words):
            assert word != "-o" or (folder / words[n + 1]).stat().st_size > 0


@pytest.mark.filterwarnings("ignore:Failed to initialize NumPy")
def test_the_python_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is, but for the stop."""
    monkeypatch.chdir(tmp_path)  # it writes a file
    import torch

    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    torch.manual_seed(0)
    model = torch.nn.ModuleDict({"middle_linear": torch.nn.Linear(3, 3)})
    layer = model["middle_linear"]
    scope = {
        "model": lambda x: layer(layer(x)),
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "criterion": torch.nn.MSELoss(),
        "x": torch.randn(2, 3),
        "y": torch.randn(2, 3),
    }
    lines = block.replace("record(model,", "record(None,").replace("backpropdbg.set_trace()", "pass")
    exec(lines, scope)
    ledger: Any = scope["ledger"]
    assert ledger.exact is True and len(ledger.partials) == 2
    assert torch.equal(ledger.running, layer.weight.grad)
    assert scope["trace"].iteration(1).update("middle_linear.weight").terms  # type: ignore[attr-defined]


def test_inline_commands_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    """`backpropdbg ...` and `--option value` between backquotes."""
    subcommands = re.findall(r"`(?:python -m )?backpropdbg (\w+)", README) + re.findall(r"-m backpropdbg (\w+)", README)
    overview = _help(capsys)
    assert subcommands and all(re.search(rf"(?m)^ +{word} ", overview) for word in subcommands)
    options = re.findall(r"`(--[^`]+)`", README)
    assert options
    every = " ".join(_help(capsys, word) for word in ("run", "report", "replay", "record"))
    for text in options:
        if text.split()[0] not in every or text.split()[0] in ("--keep",):
            demo_options(text.split())


def test_debugger_commands() -> None:
    """The examples for the command line."""
    examples = [
        README[README.index(words) :].split("\n\n")[0] for words in ("The command line takes", "Beside the step")
    ]
    commands = [re.findall(r"`([^`]+)`", example) for example in examples]
    assert all(len(found) >= 7 for found in commands)
    for command in itertools.chain(*commands):
        check(command)


def test_the_picture_shows_the_numbers_of_plain_torch() -> None:
    """`python tests/picture.py` makes it anew."""
    svg = html.unescape(picture.PICTURE.read_text(encoding="utf-8")).replace("\xa0", " ")
    assert f"]({picture.PICTURE.relative_to(ROOT)})" in README and "@font-face" not in svg and len(svg) < 300_000
    found = re.findall(r'<text[^>]*y="([\d.]+)"[^>]*>([^<]*)</text>', svg)
    lines = {y: "".join(text for at, text in found if at == y) for y, _ in found}
    seed(training.Settings().chosen_seed)
    x, y, net = training._task(training.Settings(uses=3))
    one, two, three = untied_partials(module_net, state_of(net), x, y, 3)["middle_linear.weight"]
    for label, tensor in (("A3  use #3", three), ("A2  use #2", two), ("running sum", three + two)):
        (line,) = [text for text in lines.values() if label in text and re.search(r"\d\.\d{4}", text)]
        assert number_text(float(tensor.double().norm())) in line
        assert number_text(float(tensor[0, 0]), signed=True) in line
    cells = [cell_text(float(v)) for v in two.flatten()]
    assert all(any(cell in text for text in lines.values()) for cell in cells)
    assert one is not None and any("A1  use #1" in text and "pending" in text for text in lines.values())


def test_the_table_of_scripts() -> None:
    listed = re.findall(r"(?m)^\| `demos/(\S+)` \| \S", README)
    assert sorted(listed) == sorted(path.name for path in (ROOT / "demos").glob("*.bpdb"))
