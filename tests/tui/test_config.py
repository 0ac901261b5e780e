"""The config file: what it says is done and shown, and what is wrong in it is named in one line."""

import os
import tomllib
from pathlib import Path

import pytest
from test_app import opened, screen, until

from backpropdbg.cli import main
from backpropdbg.errors import UsageError
from backpropdbg.tui import keys
from backpropdbg.tui.config import Settings, canonical, config_path, read, sample, settings
from backpropdbg.tui.results import Results

REMAPPED = 'theme = "light"\n[keys]\nstep = ["f7", "_"]\nquit = "Q"\nhelp = "ctrl+t"\nzoom = []\nlargest = "z"\n'


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("theme = light\n", "c:1: Invalid value"),
        ("[keys]\nstep = 's'\nstep = 'x'\n", "c:3: Cannot overwrite a value"),
        ("theme = 'solar'", "c:1: theme: 'solar' is no theme; it is one of dark, light, contrast"),
        ("\ntheme = 7", "c:2: theme: 7 is no theme; it is one of"),
        ("thema = 'dark'", "c:1: thema: there is no such setting; did you mean theme?"),
        ("keys = 's'", "c:1: keys: 's' is no table; write [keys] on a line of its own"),
        ("[keys]\n\nstpe = 's'", "c:3: keys.stpe: there is no such setting; did you mean step?"),
        ("[keys]\nstep = 3", "c:2: keys.step: 3 is neither a key such as \"s\" nor a list of keys"),
        ("[keys]\nstep = ['s', 3]", "c:2: keys.step: ['s', 3] is neither"),
        ("[keys]\nstep = 'pagedwn'", "c:2: keys.step: 'pagedwn' is no key that a terminal knows; e.g. pagedown"),
        ("[keys]\nstep = ''", "c:2: keys.step: '' is no key that a terminal knows"),
        ("[keys]\nstep = 'ctlr+s'", "c:2: keys.step: 'ctlr+s' is no key"),
        ("[keys]\nstep = 'ss'", "c:2: keys.step: 'ss' is no key that a terminal knows"),
        ("[keys]\nstep = 'n'", "c:2: keys.step: 'n' is the key of next; give next another one, or [] for none"),
        ("[keys]\nhelp = 'f5'\nstep = 'f5'", "c:3: keys.step: 'f5' is the key of help; give help another one"),
        ("[keys]\nstep = 'shift+n'", "c:2: keys.step: 'N' is the key of next-back"),
        ("[keys]\nstep = 'ctrl+m'", "c:2: keys.step: 'enter' is the key of story"),
        ("[keys]\nstep = 'ctrl+q'", "c:2: keys.step: 'ctrl+q' is the key of quit, always; take another one"),
        ("[layout]\nremember = 'no'", "c:2: layout.remember: 'no' is neither true nor false"),
        ("[layout]\nwidth = 3", "c:2: layout.width: there is no such setting; did you mean remember?"),
        ("[layout]\n[keys]\nremember = 3", "c:3: keys.remember: there is no such setting"),
        ("[keys", "c:1: Expected"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(text: str, wrong: str) -> None:
    with pytest.raises(UsageError) as error:
        settings(text, "c")
    assert str(error.value).startswith(wrong) and "\n" not in str(error.value)


def test_what_is_right_is_taken() -> None:
    found = settings(REMAPPED, "c")
    assert found.theme == "light" and found.remember
    assert found.keys == {
        "step": ("f7", "underscore"),
        "quit": ("Q",),
        "help": ("ctrl+t",),
        "zoom": (),
        "largest": ("z",),
    }
    swapped = settings("[keys]\nstep = 'n'\nnext = 's'\n[layout]\nremember = false", "c")
    assert swapped.keys == {"step": ("n",), "next": ("s",)} and not swapped.remember


def test_the_sample_is_whole_and_changes_nothing() -> None:
    lines = [line.removeprefix("# ") for line in sample().splitlines() if " = " in line or line.startswith("[")]
    lines = [line for line in lines if not line.startswith("Action")]
    found = tomllib.loads("\n".join(lines))
    assert list(found["keys"]) == list(keys.KEYS)
    read_back = settings("\n".join(lines), "c")
    assert read_back.theme == Settings().theme and read_back.remember == Settings().remember
    keys.use(read_back.keys)
    changed = {binding.key for binding in keys.bindings()}
    keys.use({})
    assert len(changed) == len(keys.bindings())
    assert settings(sample(), "c") == Settings()


def test_every_character_has_one_name_and_is_shown_as_itself() -> None:
    signs = [chr(n) for n in range(33, 127)] + ["ä", "漢"]
    assert [keys.display(canonical(sign)) for sign in signs] == signs
    assert canonical("question_mark") == canonical("?") and canonical("alt+ctrl+S") == canonical("ctrl+alt+s")
    assert canonical("ctrl++") == "ctrl+plus" and canonical("esc") == "escape"


def test_where_the_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config_path({}) == tmp_path / ".config/backpropdbg/config.toml"
    assert config_path({"XDG_CONFIG_HOME": "relative"}) == tmp_path / ".config/backpropdbg/config.toml"
    assert config_path({"XDG_CONFIG_HOME": "/x"}) == Path("/x/backpropdbg/config.toml")
    assert config_path({"XDG_CONFIG_HOME": "/x", "BACKPROPDBG_CONFIG": "mine.toml"}) == Path("mine.toml")
    assert read({"XDG_CONFIG_HOME": str(tmp_path)}) == Settings()
    (tmp_path / "mine.toml").write_bytes(b"\xff")
    for name, wrong in (("none.toml", "there is no file"), (".", "can't read it"), ("mine.toml", "no UTF-8 text")):
        with pytest.raises(UsageError, match=wrong):
            read({"BACKPROPDBG_CONFIG": str(tmp_path / name)})


def test_a_bad_file_ends_it_before_the_program_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.toml"
    path.write_text("theme = 'solar'\n")
    monkeypatch.setenv("BACKPROPDBG_CONFIG", str(path))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("backpropdbg.wire.client.ChildSession.prepare", lambda self: None)
    assert main(["demo"]) == 2
    told = capsys.readouterr().err
    assert told == f"backpropdbg: {path}:1: theme: 'solar' is no theme; it is one of dark, light, contrast\n"
    assert main(["keys"]) == 0 and capsys.readouterr().out == sample()
    assert os.environ["BACKPROPDBG_CONFIG"] == str(path)


async def test_remapped_keys_work_and_are_shown() -> None:
    async with opened(settings=settings(REMAPPED, "c")) as (app, session, pilot):
        assert app.theme == "light" and " f7 step " in screen(app) and " ctrl+t help " in screen(app)
        await pilot.press("s", "q", "f7")
        await until(pilot, lambda: session.sent == ["step"] and not app.busy)
        await pilot.press("underscore")
        await until(pilot, lambda: session.sent == ["step", "step"] and not app.busy)
        await pilot.press("z")
        await until(pilot, lambda: "argmax" in session.sent[-1])
        await pilot.press("ctrl+t")
        await until(pilot, lambda: "f7 or _" in screen(app))
        await pilot.press("ctrl+t")
        app.ended = True
        await pilot.press("n")
        assert app.query_one(Results).text == "the program has ended: R restarts it, Q quits"
        await pilot.press("Q")
        await until(pilot, lambda: app.return_code is not None)


async def test_a_key_that_is_a_letter_can_be_typed_all_the_same() -> None:
    chosen = settings("[keys]\ninterrupt = 'u'\npicture = 'U'\nbreak = 'ctrl+b'\ncommand = 'j'\n", "c")
    async with opened(settings=chosen) as (_, session, pilot):
        await pilot.press("j", *"juUb", "enter")
        await until(pilot, lambda: session.sent == ["juUb"])
        await pilot.press("ctrl+b", "u", "enter")
        await until(pilot, lambda: session.sent[1:] == ["break u"])


async def test_ctrl_q_always_leaves() -> None:
    async with opened(settings=settings("[keys]\nquit = []\ncommand = []\ninterrupt = []\n", "c")) as (app, _, pilot):
        await pilot.press("q", "ctrl+q")
        await until(pilot, lambda: app.return_code is not None)
