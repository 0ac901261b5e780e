"""The themes: every text can be read on its ground, and another theme is there at once, all over the screen."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_session import STOP
from test_app import opened, screen, until
from test_past import PAST

import backpropdbg.tui
from backpropdbg.palette import PALETTES, Palette, contrast
from backpropdbg.tui import paint
from backpropdbg.tui.app import DebuggerApp
from backpropdbg.tui.config import Settings
from backpropdbg.tui.results import Results
from backpropdbg.wire.session import Ended, ProgramOutput

FRAME = re.compile(r"[\s─-▟]*")
TEXTS = ("plain", "strong", "dim", "positive", "negative", "accent", "past", "alarm")
GROUNDS = ("ground", "raised", "bar", "selected", "past_raised", "past_bar")


@pytest.fixture(params=PALETTES.values(), ids=lambda palette: palette.name)
def palette(request: pytest.FixtureRequest) -> Iterator[Palette]:
    paint.use(request.param)
    yield request.param
    paint.use(PALETTES["dark"])


def test_contrast_is_that_of_wcag() -> None:
    assert contrast("#000000", "#ffffff") == 21 and contrast("#777777", "#777777") == 1
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.005)  # the known grey that just passes AA


def test_every_text_can_be_read_on_every_ground(palette: Palette) -> None:
    pairs = [(text, ground) for text in TEXTS for ground in GROUNDS]
    pairs += [("on_accent", ground) for ground in ("strong", "accent", "past")] + [("on_odd", "odd")]
    found = {pair: contrast(*(palette.colours[name] for name in pair)) for pair in pairs}
    assert min(found.values()) >= palette.contrast, min(found, key=lambda pair: found[pair])


def test_every_cell_can_be_read_and_its_ground_grows_with_the_number(palette: Palette) -> None:
    for sign in (1, -1):
        styles = [paint.shade(sign * n / 500, 1.0) for n in range(501)]
        names = [(style.color.name, style.bgcolor.name) for style in styles]
        assert min(contrast(*pair) for pair in names) >= palette.contrast
        distance = [contrast(ground, palette.ground) for _, ground in names]
        assert distance == sorted(distance) and distance[-1] > 3
    assert paint.shade(0.0, 1.0).bgcolor.name == palette.ground


@pytest.mark.parametrize("name", PALETTES)
def test_the_two_signs_are_the_colours_that_survive_colour_blindness(name: str) -> None:
    chosen = PALETTES[name]
    assert (chosen.up, chosen.down) == (("#e69f00", "#56b4e9") if chosen.dark else ("#d55e00", "#0072b2"))


def pairs_on(app: DebuggerApp) -> set[tuple[str, str, str]]:
    """All texts on the screen with the colours that they are drawn in; frames and blanks are no text."""
    found = set()
    for line in app.screen._compositor.render_strips():
        for segment in line:
            style = segment.style
            if FRAME.fullmatch(segment.text) or style is None:
                continue
            names = [style.color.get_truecolor().hex, style.bgcolor.get_truecolor().hex]
            found.add((*(reversed(names) if style.reverse else names), segment.text))
    return found


@pytest.mark.parametrize("size", [(120, 50), (80, 24)])
async def test_what_is_drawn_can_be_read(palette: Palette, size: tuple[int, int]) -> None:
    async with opened(size, settings=Settings(palette.name)) as (app, session, pilot):
        session.say(ProgramOutput("stdout", "out\n"), ProgramOutput("stderr", "err\n"))

        def check() -> None:
            found = {pair: contrast(*pair[:2]) for pair in pairs_on(app)}
            assert min(found.values()) >= palette.contrast, min(found, key=lambda pair: found[pair])

        await until(pilot, lambda: "bpdb" in screen(app))
        check()
        for key in ("t", "t", "enter", "2", "3", "1", "colon", "p"):
            await pilot.press(key)
            check()
        await pilot.press("escape", "colon", *"bad", "enter")
        await until(pilot, lambda: "no such command" in screen(app))
        check()
        app.show(PAST)
        await pilot.pause()
        check()
        session.say(Ended("killed", -9))
        await until(pilot, lambda: "ended" in screen(app))
        check()


async def test_another_theme_is_all_over_the_screen_at_once() -> None:
    async with opened() as (app, _, pilot):
        dark = {colour for pair in pairs_on(app) for colour in pair[:2]}
        assert dark <= {*PALETTES["dark"].colours.values(), *(pair[0] for pair in shaded())}
        await pilot.press("T")
        await until(pilot, lambda: "theme light" in screen(app))
        light = {colour for pair in pairs_on(app) for colour in pair[:2]}
        assert light <= {*PALETTES["light"].colours.values(), *(pair[0] for pair in shaded())}
        await pilot.press("T", "T")
        assert app.theme == "dark"
        await until(pilot, lambda: {colour for pair in pairs_on(app) for colour in pair[:2]} == dark)


def shaded() -> set[tuple[str]]:
    """The colours of cells in the theme of now."""
    values = [0.726, 0.081, -0.316, 0.00003, 0.0, -1.253, -0.086]
    styles = [paint.shade(value, 1.59) for value in values]
    return {(colour.name,) for style in styles for colour in (style.color, style.bgcolor)}


async def test_the_command_names_a_theme_and_says_which_there_are() -> None:
    async with opened() as (app, session, pilot):
        await pilot.press("colon", *"theme contrast", "enter")
        await until(pilot, lambda: app.theme == "contrast")
        await pilot.press("colon", *"theme solar", "enter")
        await until(pilot, lambda: app.query_one(Results).has_class("error"))
        assert app.query_one(Results).text == "theme: 'solar' is none; it is one of dark, light, contrast"
        assert app.theme == "contrast" and session.sent == []


async def test_the_theme_changes_while_the_program_runs_and_under_the_help() -> None:
    async with opened(stop=None, settings=Settings("light")) as (app, _, pilot):
        await pilot.press("T")
        await until(pilot, lambda: app.theme == "contrast" and "starting" in screen(app))
        await pilot.press("question_mark", "question_mark", "colon", *"theme dark", "enter")
        await until(pilot, lambda: app.theme == "dark")


def test_the_style_sheet_has_no_colours_of_its_own() -> None:
    sheet = (Path(backpropdbg.tui.__file__).parent / "app.tcss").read_text(encoding="utf-8")
    assert not re.findall(r"#[0-9a-fA-F]{3,8}\b(?=[^{]*;)", sheet)


@pytest.mark.parametrize("name", PALETTES)
async def test_no_color_draws_every_theme(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with opened(settings=Settings(name), stop=STOP) as (app, _, pilot):
        await pilot.press("T")
        await until(pilot, lambda: "theme" in app.query_one(Results).text and "-1.253" in screen(app))
