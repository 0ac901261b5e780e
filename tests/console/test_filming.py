"""`replay --html` on the fake child."""

import json
import re
from importlib.resources import files as real
from pathlib import Path

import pytest

from backpropdbg.cli import main


def stops(path: Path) -> tuple[list[dict], dict]:
    found = re.search(r'id="data">(.*?)</script>', path.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    data = json.loads(found[1])
    return data["stops"], data


def test_the_page_holds_stops_captions_results_and_output(write, tmp_path, capfd) -> None:
    page = tmp_path / "s.html"
    script = write('demo\nstep\nsay "Hello  there"\nlook\nledger\nsleep 1\nstep\nquit 4\nbad\n')
    assert main(["replay", script, "--html", str(page)]) == 4
    found, data = stops(page)
    assert [stop["name"] for stop in found] == ["stop 0", "stop 1", "stop 2"]
    assert found[1]["remarks"] == [["say", "", "Hello  there"], ["command", "look", "did look"]]
    assert found[0]["loss"] == "NaN!" and found[0]["odd"] is True
    printed = ["".join(t for s, t in data["output"][: stop["printed"]] if s == "stdout") for stop in found]
    assert printed == ["hello from the program\n", "hello from the program\nout 1\n",
                       "hello from the program\nout 1\nout 2\n"]  # fmt: skip
    out, err = capfd.readouterr()
    assert out == "" and err == f"wrote {page}: 3 stops\n"


def test_a_failure_ends_the_story_on_the_page_too(write, tmp_path, capfd) -> None:
    page = tmp_path / "s.html"
    script = write("demo\nbad thing\nlook\n")
    assert main(["replay", script, "--html", str(page)]) == 1
    found, _ = stops(page)
    assert found[0]["remarks"] == [["error", "", f"{script}:2: no such command: bad"]]
    assert f"{script}:2: no such command: bad\n" in capfd.readouterr().err


@pytest.mark.parametrize(("line", "code", "cause"), [("raise", 3, "raised ValueError: x"), ("die", 1, "SIGKILL")])
def test_what_a_crashed_program_showed_is_kept(write, tmp_path, line, code, cause) -> None:
    page = tmp_path / "s.html"
    assert main(["replay", write(f"demo\nstep\n{line}\n"), "--html", str(page)]) == code
    found, _ = stops(page)
    assert len(found) == 2 and cause in found[-1]["remarks"][0][2]


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (["--html", "train.py"], "'train.py' does not end in .html or .htm"),
        (["--html", "no/where.html"], "can't write 'no/where.html': there is no folder 'no'"),
        (["--html", "a.html", "--format", "jsonl"], "argument --format: leave it out with --html and --cast"),
        (["--html", "a.html", "--play", "2"], "argument --play: a page has no pace"),
        (["--html", "a.html", "--cast", "b.txt"], "argument --cast: 'b.txt' does not end in .cast"),
    ],
)
def test_what_cannot_be_written_is_told_before_anything_runs(write, tmp_path, capfd, monkeypatch, words, wrong) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["replay", write("demo\n"), *words]) == 2
    out, err = capfd.readouterr()
    assert out == "" and wrong in err and err.count("\n") == 1


def test_the_tour_of_the_demo_is_printed_or_written_where_there_is_no_terminal(
    write, tmp_path, capfd, monkeypatch
) -> None:
    folder = Path(write('demo --uses 3\nsay "the answer"\nlook\nquit\n', "shared_weight.bpdb")).parent
    monkeypatch.setattr("importlib.resources.files", lambda package: folder if "demo" in package else real(package))
    assert main(["demo", "--tour", "--seed", "5"]) == 0
    assert "the answer" in capfd.readouterr().out
    page = tmp_path / "tour.html"
    assert main(["demo", "--html", str(page)]) == 0
    assert stops(page)[0][0]["remarks"][0] == ["say", "", "the answer"]
    assert capfd.readouterr().err == f"wrote {page}: 1 stop\n"
