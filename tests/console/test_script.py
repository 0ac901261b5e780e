"""Scripts are parsed whole; every mistake has file:line."""

import pytest

from backpropdbg.console.script import parse
from backpropdbg.errors import UsageError


def test_a_good_script(write) -> None:
    path = write('# words\n\ndemo --uses 3 --keep-zero-grads --keep 1KB  # three\nstep\n  say "a # b"\n')
    script = parse(path)
    assert script.options == {"program": "demo", "demo": {"uses": 3, "keep_zero_grads": True}, "keep": 1000}
    assert [(line.number, line.text) for line in script.lines] == [(4, "step"), (5, 'say "a # b"')]
    assert script.lines[0].place == f"{path}:4"


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("", 1, "demo"),
        ("# only a comment\n", 1, "demo"),
        ("step\n", 1, "'step'"),
        ("demo\nstep\nfrobnicate 3\n", 3, "'frobnicate'"),
        ("demo\nstep\ndemo\n", 3, "first"),
        ("run train.py\n", 1, "run train.py: no such file"),
        ("demo --hidden 0\n", 1, "'0'"),
        ("demo --nonsense\n", 1, "--nonsense"),
        ("demo extra\n", 1, "extra"),
        ("demo --help\n", 1, "--help"),
        ('demo "\n', 1, "quotation"),
        (b"demo\nstep\n\xff\xfe\n", 3, "0xff"),
        (b"demo\n\0\0\n", 2, "control"),
        ("demo\nsource missing.bpdb\n", 2, "missing.bpdb"),
        ("demo\nsource s.bpdb\n", 2, "itself"),
        (b"#" * 2**21, 1, "longer"),
    ],
)
def test_mistakes(write, text, line, word) -> None:
    path = write(text)
    with pytest.raises(UsageError) as caught:
        parse(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert word in str(caught.value) and "\n" not in str(caught.value)


def test_unreadable(tmp_path, write) -> None:
    for path in (str(tmp_path), str(tmp_path / "none.bpdb"), "a\0b"):
        with pytest.raises(UsageError):
            parse(path)


def test_source_stands_in_its_place(write, tmp_path) -> None:
    write("step\nlook\n", "more.bpdb")
    script = parse(write("demo\nsource more.bpdb\nstep\n"))
    assert [(line.place.rpartition("/")[2], line.text) for line in script.lines] == [
        ("more.bpdb:1", "step"),
        ("more.bpdb:2", "look"),
        ("s.bpdb:3", "step"),
    ]
    write("step\nwrong\n", "bad.bpdb")
    with pytest.raises(UsageError, match=r"bad\.bpdb:2: unknown"):
        parse(write("demo\nsource bad.bpdb\n", "t.bpdb"))
