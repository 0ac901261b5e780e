"""`--cast`: what the app draws for a script, on a tape that any terminal can play."""

import json

import pyte
import pytest
from fake_session import STOP, FakeSession

from backpropdbg.pages.cast import Moment, asciicast
from backpropdbg.tui.cast import play_to_tape
from backpropdbg.tui.config import Settings
from backpropdbg.tui.player import PACE, reading_time

SCRIPT = [('say "hello there, viewer"', 1), ("step", 2), ("expect grad is None", 3), ("sleep 2", 4), ("step", 5)]


def test_the_file_counts_times_from_event_to_event() -> None:
    text = asciicast(
        "a \x1b title", 120, 36, [Moment(0.5, "o", "é\x1b[1m"), Moment(2.25, "m", "here"), Moment(3, "x", "0")]
    )
    header, *events = [json.loads(line) for line in text.splitlines()]
    assert header["version"] == 3 and header["term"]["cols"] == 120 and header["term"]["rows"] == 36
    assert header["title"] == "a \x1b title" and "\x1b" not in text
    assert events == [[0.5, "o", "é\x1b[1m"], [1.75, "m", "here"], [0.75, "x", "0"]]


@pytest.fixture(scope="module")
def tape():
    return play_to_tape(FakeSession(), SCRIPT, speed=2.0)


def test_the_times_are_the_players(tape) -> None:
    made, code, failed = tape
    assert (code, failed) == (0, "")
    marks = [(m.at, m.text) for m in made.moments if m.kind == "m"]
    said = PACE + reading_time("hello there, viewer")
    assert [at for at, _ in marks] == [0.0, said / 2, (said + PACE + 2) / 2]
    assert made.moments[-1] == Moment((said + PACE + 2 + 2 * PACE) / 2, "x", "0")
    assert {text for _, text in marks} == {f"iteration {STOP.iteration}, {STOP.phase}: {STOP.where}"}


def test_a_terminal_shows_what_the_app_shows(tape) -> None:
    made, _, _ = tape
    screen = pyte.Screen(120, 36)
    stream = pyte.Stream(screen)
    seen: list[str] = []
    for moment in made.moments:
        if moment.kind == "o":
            stream.feed(moment.text.replace("\x1b]22;default\x07", ""))
            seen.append("\n".join(screen.display))
    captioned = [n for n, text in enumerate(seen) if "hello there, viewer" in text]
    assert captioned and all(STOP.explanation[0][:40] in text for text in seen[captioned[0] :])
    assert "hello there" not in seen[-1]  # it was said of the stop before
    assert "+.726" in seen[-1] and "you are here" in seen[-1] and STOP.focus in seen[-1]


def test_signs_are_as_they_were_asked_for(tape) -> None:
    plain = play_to_tape(FakeSession(), SCRIPT, speed=2.0, settings=Settings(ascii=True))[0]
    assert all(m.text.isascii() for m in plain.moments)
    assert not all(m.text.isascii() for m in tape[0].moments)


def test_what_fails_is_told_and_ends_the_tape() -> None:
    made, code, failed = play_to_tape(FakeSession(), [("bad thing", 7), ("step", 8)], speed=1.0)
    assert code == 1 and failed.startswith("line 7: bad thing: no such command")
    assert made.moments[-1].text == "1" and sum(m.kind == "m" for m in made.moments) == 1


def test_quit_in_the_script_ends_the_tape() -> None:
    made, code, _ = play_to_tape(FakeSession(), [("step", 1), ("quit 4", 2), ("step", 3)], speed=1.0)
    assert code == 4 and made.moments[-1] == Moment(2 * PACE, "x", "4")
