"""ASCII signs: nothing that the interface draws is anything else, and what is the program's stays as it is."""

import pytest
from fake_session import SOURCE, STOP
from msgspec.structs import replace
from rich.cells import cell_len
from test_app import opened, screen, until
from test_wide import WIDE

from backpropdbg.errors import UsageError
from backpropdbg.tui.config import Settings, settings
from backpropdbg.tui.output import OutputPane
from backpropdbg.tui.results import Results
from backpropdbg.tui.signs import TABLE
from backpropdbg.tui.tiling import EXTRA, PANES
from backpropdbg.wire.session import ProgramOutput, Stopped

LONG = replace(STOP, where="a place with a long name " * 9)
ZEROS = "· … ─ Σ 漢字"


def strange(app) -> set[str]:
    """What is on the screen and no ASCII."""
    return {sign for sign in screen(app) if not sign.isascii()}


def test_each_sign_has_one_of_its_width() -> None:
    for sign, plain in TABLE.items():
        assert plain.isascii() and cell_len(chr(sign)) == len(plain)


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (200, 50)])
async def test_whatever_is_shown_is_ascii(size: tuple[int, int]) -> None:
    async with opened(size, LONG, settings=Settings(ascii=True)) as (app, session, pilot):
        session.say(ProgramOutput("stdout", "10 41.87\n" * 200))
        for past in (False, True):
            for pane in (*PANES, *EXTRA):
                app.carry_out("zoom", pane)
                await until(pilot, lambda pane=pane: pane in app.seen().panes)
                await pilot.pause(0.05)
                assert strange(app) == set(), (pane, past)
            app.action_pane_zoom()
            for keys in (("p",), ("B",), ("o",), ("?",), ("ctrl+p",), ("t",), ("enter",), (":", "i")):
                await pilot.press(*keys)
                await pilot.pause(0.1)
                assert strange(app) == set(), (keys, past)
                await pilot.press("escape")
            await pilot.press("escape", "enter")
            session.say(Stopped(replace(LONG, newest=90)))
            await until(pilot, lambda: app.situation.past)
            app.base.query_one(Results).show("a\n" * 99)
        assert {cell_len(line) for line in screen(app).splitlines()} == {size[0]}


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
async def test_what_the_program_names_and_prints_stays_and_lines_up(size: tuple[int, int]) -> None:
    stop = replace(WIDE, source=replace(SOURCE, lines=(f"x = 1  # {ZEROS}",) * 7))
    async with opened(size, stop, settings=Settings(ascii=True)) as (app, session, pilot):
        session.say(ProgramOutput("stdout", ZEROS + "漢字" * 80 + "\n"))
        await until(pilot, lambda: "漢字漢字" in app.query_one(OutputPane).plain())
        for pane in ("source", "output"):
            app.carry_out("zoom", pane)
            await until(pilot, lambda: ZEROS in screen(app))
            assert {cell_len(line) for line in screen(app).splitlines()} == {size[0]}
        app.carry_out("zoom", "ledger")
        await until(pilot, lambda: "使用#2" in screen(app) and "中間層.weight" in screen(app))
        assert {cell_len(line) for line in screen(app).splitlines()} == {size[0]}


async def test_the_command_and_the_palette_change_it() -> None:
    async with opened() as (app, session, pilot):
        assert "╭" in screen(app)
        for line, told, framed in (("ascii", "ASCII signs only", False), ("ascii off", "all signs", True),
                                   ("ascii on", "ASCII signs only", False)):  # fmt: skip
            await pilot.press("colon", *line, "enter")
            await until(pilot, lambda told=told: app.query_one(Results).text == told)
            await until(pilot, lambda framed=framed: ("╭" in screen(app)) == framed)
        app.action_ascii()
        await until(pilot, lambda: "╭" in screen(app))
        assert session.sent == []
        await pilot.press("colon", *"ascii maybe", "enter")
        await until(pilot, lambda: session.sent == ["ascii maybe"])


def test_the_config_file() -> None:
    assert settings("ascii = true", "c").ascii and not settings("", "c").ascii
    with pytest.raises(UsageError, match="c:1: ascii: 3 is neither true nor false"):
        settings("ascii = 3", "c")
