"""Pictures of the whole screen, compared to the last stroke; `UPDATE_GOLDEN=1` rewrites tests/tui/snapshots.

They are drawn by the pinned versions of textual and rich (constraints.txt); with others, text and colours may move.
"""

import os
import re
from importlib.metadata import version
from pathlib import Path

import pytest
from fake_session import STOP
from msgspec.structs import replace
from test_app import opened, screen, until
from test_past import PAST
from textual.pilot import Pilot

from backpropdbg.situation import Matrix, Row
from backpropdbg.tui.app import DebuggerApp
from backpropdbg.wire.session import Ended, ProgramOutput

FOLDER = Path(__file__).parent / "snapshots"
PINNED = dict(
    line.split("==") for line in (Path(__file__).parents[2] / "constraints.txt").read_text().split() if "==" in line
)
pytestmark = pytest.mark.skipif(
    any(version(name) != PINNED[name] for name in ("textual", "rich")), reason="drawn by other versions"
)

UPDATE = replace(
    STOP,
    position=21, phase="update", event="StepFinished", where="after optimizer.step()", cosine_to="final sum", proof="",
    ledger=(*(replace(row, state="value", norm=1.5, element=0.1, here=False) for row in STOP.ledger[:4]),
            Row("running", "running sum", norm=3.4727, cosine=1.0, element=-0.00003),
            Row("grad", ".grad", norm=3.4727, cosine=1.0, element=-0.00003, note="= running sum, bit for bit")),
    update=(Row("term", "before", norm=1.2, cosine=0.65, element=-0.0901),
            Row("term", "gradient", norm=0.0021, cosine=-1.0, element=3e-7, note="-lr * grad, lr=0.01"),
            Row("term", "rounding", norm=2.4e-8, cosine=0.2, element=-1.3e-9, note="what float arithmetic left over"),
            Row("term", "difference", norm=0.0021, cosine=-1.0, element=3e-7, note="after - before", here=True),
            Row("term", "after", norm=1.2, cosine=0.65, element=-0.0901)),
    matrices=(Matrix("before", "weight before", (3, 3), scale="weight"),
              Matrix("delta", "difference", (3, 3), note="after - before", scale="delta"),
              Matrix("after", "weight after", (3, 3), scale="weight")),
    explanation=("step() moved middle_linear.weight by 0.0021.", "The gradient it read: A3 + A2 + A1."),
)  # fmt: skip


async def compare(name: str, app: DebuggerApp, pilot: Pilot[None]) -> None:
    """Wait until the screen is the kept picture, less the numbers that name its styles."""
    path = FOLDER / f"{name}.svg"
    if os.environ.get("UPDATE_GOLDEN"):
        await pilot.pause(1.0)
        path.parent.mkdir(exist_ok=True)
        path.write_text(drawn(app), encoding="utf-8")
    kept = path.read_text(encoding="utf-8")
    for _ in range(100):
        if drawn(app) == kept:
            return
        await pilot.pause(0.05)
    beside = path.with_suffix(".new.svg")
    beside.write_text(drawn(app), encoding="utf-8")
    raise AssertionError(f"the screen looks different: compare {beside} with {path.name}; UPDATE_GOLDEN=1 keeps it")


def drawn(app: DebuggerApp) -> str:
    return re.sub(r"terminal-\d+", "terminal", app.export_screenshot())


@pytest.mark.parametrize(
    ("name", "size", "stop"),
    [("backward", (120, 36), STOP), ("update", (120, 36), UPDATE),
     ("past", (120, 36), PAST), ("past-small", (80, 24), PAST),
     ("backward-small", (80, 24), STOP), ("update-small", (80, 24), UPDATE)],
)  # fmt: skip
async def test_stop(name, size, stop) -> None:
    async with opened(size=size, stop=stop) as (app, _, pilot):
        await compare(name, app, pilot)


@pytest.mark.parametrize(("name", "size"), [("timeline", (120, 36)), ("timeline-small", (80, 24)), ("tall", (160, 50))])
async def test_timeline(name, size) -> None:
    async with opened(size=size) as (app, _, pilot):
        await pilot.press(*([] if name == "tall" else ["t"]))
        await until(pilot, lambda: "3 of 1-6" in screen(app))
        await compare(name, app, pilot)


async def test_end_with_output() -> None:
    async with opened() as (app, session, pilot):
        session.say(ProgramOutput("stdout", "10 41.87\n"), ProgramOutput("stderr", "ValueError: no\n"))
        session.say(Ended("the program raised ValueError: no", 3, True))
        await until(pilot, lambda: "code 3)" in screen(app))
        await compare("ended", app, pilot)
