"""Each pane at three sizes, as text with the names of its colours: the same file for every theme.

`UPDATE_GOLDEN=1` rewrites tests/tui/snapshots. A line of a pane is followed by what it is painted with, e.g.
`dim:6 accent:3` for six cells in the dim colour and then three in the accent; lines that are alike are counted.
"""

import os
from itertools import groupby

import pytest
from fake_session import STOP
from msgspec.structs import replace
from test_app import opened, until
from test_snapshots import FOLDER, pytestmark  # noqa: F401

from backpropdbg.palette import PALETTES, Palette
from backpropdbg.tui.app import DebuggerApp
from backpropdbg.tui.config import Settings
from backpropdbg.tui.tiles import Tiles, pane_of
from backpropdbg.tui.tiling import EXTRA, PANES
from backpropdbg.wire.session import ProgramOutput

GROUNDS = ("ground", "raised", "bar", "selected", "past_raised", "past_bar", "strong", "accent", "past", "odd", "line")
TEXTS = ("plain", "strong", "dim", "positive", "negative", "accent", "past", "alarm", "line")


def paint_of(style, palette: Palette) -> str:
    """Name the colours of a style by what they are for, which no theme changes."""
    text, ground = style.color.get_truecolor().hex, style.bgcolor.get_truecolor().hex
    below = next((name for name in GROUNDS if palette.colours[name] == ground), "shade")
    above = next((name for name in TEXTS if palette.colours[name] == text), "?")
    if below in ("shade", "odd", "strong", "accent", "past"):
        return f"on-{below}"
    return above if below == "ground" else f"{above}-on-{below}"


def drawn(app: DebuggerApp, pane: str) -> str:
    """Return what a pane shows: its text, line by line, and the paint of each."""
    palette = PALETTES[app.theme]
    region = next(c.region for c in app.query_one(Tiles).children if pane_of(c) == pane and c.region.area)
    lines = []
    for strip in app.screen._compositor.render_strips()[region.y : region.bottom]:
        part = strip.crop(region.x, region.right)
        cells = [(sign, paint_of(s.style, palette)) for s in part for sign in s.text if sign.strip()]
        runs = " ".join(f"{name}:{len(list(run))}" for name, run in groupby(name for _, name in cells))
        lines += [(part.text.rstrip(), runs)] if cells else []
    counted = [(line, len(list(alike))) for line, alike in groupby(lines)]
    told = "".join(f"{text}\n    {runs}{f'  x {n}' if n > 1 else ''}\n" for (text, runs), n in counted)
    return f"== {pane} {region.width}x{region.height}\n{told}"


async def all_panes(size: tuple[int, int], theme: str, kept: str) -> str:
    """Return what each pane shows on a whole screen of its own, once it is what was kept."""
    found = []
    async with opened(size, replace(STOP, parameters=STOP.parameters[:1]), settings=Settings(theme)) as (app, s, pilot):
        s.say(ProgramOutput("stdout", "10 41.87\n"), ProgramOutput("stderr", "a warning\n"))
        for pane in (*PANES, *EXTRA, "graph"):
            if pane == "graph" and found:  # the second time it is the list of nodes
                app.send("graph nodes")
                await until(pilot, lambda: app.nodes)
            app.carry_out("zoom", pane)
            app.hint("")
            await pilot.pause(0.5 if os.environ.get("UPDATE_GOLDEN") else 0.05)
            for _ in range(60 if kept else 1):
                shows = any(pane_of(c) == pane and c.region.area for c in app.query_one(Tiles).children)
                if shows and drawn(app, pane) in kept:
                    break
                await pilot.pause(0.05)
            await until(pilot, lambda pane=pane: pane in app.query_one(Tiles).tiling.panes)
            found.append(drawn(app, pane))
    return "\n".join(found)


@pytest.mark.parametrize("theme", ["dark", "light", "contrast"])
@pytest.mark.parametrize("size", [(80, 24), (120, 36), (250, 70)])
async def test_every_pane_in_every_theme(size: tuple[int, int], theme: str) -> None:
    path = FOLDER / f"panes-{size[0]}x{size[1]}.txt"
    if os.environ.get("UPDATE_GOLDEN") and theme == "dark":
        path.write_text(await all_panes(size, theme, ""), encoding="utf-8")
    kept = path.read_text(encoding="utf-8")
    assert await all_panes(size, theme, kept) == kept
