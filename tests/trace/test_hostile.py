"""Damaged, truncated, foreign, newer and hostile files: one clear line, nothing runs, nothing hangs."""

import os
import random
import sqlite3
import stat
import zlib
from pathlib import Path

import msgspec
import plain
import pytest

from backpropdbg.errors import RecordingError
from backpropdbg.events import Damaged, handles
from backpropdbg.held import Facts, Form
from backpropdbg.trace import format as layout
from backpropdbg.trace.history import Trace


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a good recording."""
    path = tmp_path_factory.mktemp("whole") / "run.bptrace"
    writer = plain.writer(path)
    trace = Trace(file=writer)
    trace.learn({plain.NAME: (plain.NAME, "tied.weight")})
    made = plain.iterations(100)
    for n in range(40):
        for event in next(made):
            trace.append(event)
        trace.note_output("stdout", f"step {n}\n")
    writer.close("the program ended", 0)
    return path.read_bytes()


def look_at_all(path: Path) -> int:
    """Read everything that a face may ask for; how many events could be read. Raises RecordingError only."""
    trace = plain.opened(path)
    read = 0
    for position in range(trace.first, len(trace)):
        try:
            for held in handles(trace[position]):
                assert held.kept in (True, False)
                held.facts(), held.value
            trace.names_at(position)
            read += 1
        except RecordingError as error:
            assert "\n" not in str(error) and str(path) in str(error)
    for look in (
        trace.iterations,
        lambda: trace.printed.tail(len(trace), 1000),
        lambda: trace.lines("train.py"),
        trace.refresh,
    ):
        try:
            look()
        except RecordingError as error:
            assert "\n" not in str(error)
    return read


def test_a_whole_file_is_read_whole(whole, tmp_path):
    path = tmp_path / "run.bptrace"
    path.write_bytes(whole)
    assert look_at_all(path) == 40 * plain.EVENTS


@pytest.mark.parametrize("seed", range(200))
def test_flipped_bytes(whole, tmp_path, seed):
    """Some files are read with another number in them: what they hold is theirs. No other error than ours."""
    rng, path = random.Random(seed), tmp_path / "run.bptrace"
    data = bytearray(whole)
    for _ in range(rng.choice([1, 3, 30, 300])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    try:
        look_at_all(path)
    except RecordingError as error:
        assert "\n" not in str(error) and str(path) in str(error)


@pytest.mark.parametrize("seed", range(100))
def test_cut_files_give_what_is_before_the_cut(whole, tmp_path, seed):
    rng, path = random.Random(seed), tmp_path / "run.bptrace"
    path.write_bytes(whole[: rng.randrange(1, len(whole))])
    try:
        look_at_all(path)
    except RecordingError as error:
        assert "\n" not in str(error) and str(path) in str(error)


@pytest.mark.parametrize("seed", range(50))
def test_pages_that_are_overwritten(whole, tmp_path, seed):
    rng, path = random.Random(seed), tmp_path / "run.bptrace"
    data = bytearray(whole)
    for _ in range(rng.randrange(1, 4)):
        page = 4096 * rng.randrange(1, len(data) // 4096)
        other = 4096 * rng.randrange(len(data) // 4096)
        data[page : page + 4096] = rng.choice([bytes(4096), rng.randbytes(4096), data[other : other + 4096]])
    path.write_bytes(data)
    try:
        look_at_all(path)
    except RecordingError as error:
        assert "\n" not in str(error) and str(path) in str(error)


def test_damage_in_the_middle_hides_nothing_else(whole, tmp_path):
    path = tmp_path / "run.bptrace"
    path.write_bytes(whole)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE events SET body = zeroblob(length(body)) WHERE position = 300")
        db.execute("DELETE FROM events WHERE position = 310")
        db.execute("UPDATE iterations SET start = 'x'")
    good = tmp_path / "good.bptrace"
    good.write_bytes(whole)
    good, trace = plain.opened(good), plain.opened(path)
    trace.check()
    assert len(trace) == len(good) and trace.iterations() == good.iterations()
    odd = {n: trace[n] for n in range(len(good)) if type(trace[n]) is not type(good[n])}
    number = 300 // plain.EVENTS + 1
    assert odd == {300: Damaged(number, "its checksum is another one"), 310: Damaged(number, "it is missing")}
    assert [trace.start(n) for n in trace.iterations()] == [good.start(n) for n in good.iterations()]
    assert trace.damage == f"{path} is damaged: event 300: its checksum is another one; and so are 2 more of its parts"


@pytest.mark.parametrize(
    "change",
    ["crc = crc + 1", "size = 4", "size = 'text'", "size = 1 << 40", "place = 1 << 40", "place = -1", "place = 'x'"],
)
def test_damaged_bytes_of_a_tensor_are_not_kept_instead_of_other_numbers(whole, tmp_path, change):
    path = tmp_path / "run.bptrace"
    path.write_bytes(whole)
    with sqlite3.connect(path) as db:
        db.execute(f"UPDATE data SET {change} WHERE id = 7")
    trace = plain.opened(path)
    tensors = {held.stored._number: held for n in range(len(trace)) for held in handles(trace[n])}
    assert trace.damage == "" and tensors[8].value is not None and tensors[7].value is None
    assert not tensors[7].kept and tensors[7].facts().form.shape == (100,)
    assert trace.damage.startswith(f"{path} is damaged: the bytes of tensor 7: ")


def test_a_flipped_bit_of_a_tensor_is_told(whole, tmp_path):
    path = tmp_path / "run.bptrace"
    path.write_bytes(whole)
    held = plain.opened(path)[8].partial
    place = whole.index(held.pack().data)
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    trace = plain.opened(path)
    assert trace[8].partial.value is None and "their checksum is another one" in trace.damage
    assert all(h.value is not None for n in range(8) for h in handles(trace[n]))


def test_where_the_tensors_are_cut_off_it_is_told_once(whole, tmp_path):
    path = tmp_path / "run.bptrace"
    path.write_bytes(whole[: whole.index(b"bptensor")])
    assert look_at_all(path) == 40 * plain.EVENTS
    trace = plain.opened(path)
    assert not any(h.kept for n in range(len(trace)) for h in handles(trace[n]))
    assert f"they are not in the file, and {path}-data, which would have them, is not there" in trace.damage


def test_the_tensors_of_another_recording_are_not_taken_for_its_own(whole, tmp_path):
    path, other = tmp_path / "run.bptrace", tmp_path / "other.bptrace"
    path.write_bytes(whole)
    writer = plain.writer(other)
    for event in next(plain.iterations(100)):
        writer.add(0, event, handles(event))
        break
    writer.flush()
    (tmp_path / "run.bptrace-data").write_bytes((tmp_path / "other.bptrace-data").read_bytes())
    trace = plain.opened(path)
    assert all(h.value is not None for n in range(len(trace)) for h in handles(trace[n])) and trace.damage == ""
    writer.close("the test ended")


# -- files that are something else -----------------------------------------------------------------


def refused(path: Path) -> str:
    with pytest.raises(RecordingError) as caught:
        plain.opened(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    return str(caught.value)


def test_no_file(tmp_path):
    assert "No such file" in refused(tmp_path / "run.bptrace")
    assert "a folder" in refused(tmp_path)


def test_an_empty_file(tmp_path):
    (tmp_path / "run.bptrace").touch()
    assert "empty" in refused(tmp_path / "run.bptrace")


def test_pipes_and_devices_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "no plain file" in refused(tmp_path / "pipe")
    assert "no plain file" in refused(Path("/dev/zero"))


@pytest.mark.parametrize("data", [b"hello", b"SQLite format 3\0", b"\x80\x04" + b"x" * 200, bytes(5000)])
def test_a_foreign_file(tmp_path, data):
    (tmp_path / "run.bptrace").write_bytes(data)
    assert "no recording" in refused(tmp_path / "run.bptrace")


def test_another_database(tmp_path):
    path = tmp_path / "run.bptrace"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE events (position INTEGER PRIMARY KEY)")
    assert "no recording" in refused(path)


def test_a_newer_format(whole, tmp_path):
    path = tmp_path / "run.bptrace"
    path.write_bytes(whole)
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {layout.VERSION + 1}")
    assert f"newer backpropdbg (format {layout.VERSION + 1}; " in refused(path)


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TRIGGER t AFTER INSERT ON meta BEGIN DELETE FROM events; END",
        "CREATE VIEW v AS SELECT 1",
        "CREATE TABLE more (x)",
        "CREATE INDEX more ON events (kind)",
        "DROP INDEX data_by_shown",
        "DROP TABLE output",
        "ALTER TABLE events ADD COLUMN more",
        "DROP TABLE states; CREATE VIEW states AS SELECT 1 AS id, x'00' AS body",
    ],
)
def test_only_our_own_tables_are_accepted(whole, tmp_path, change):
    path = tmp_path / "run.bptrace"
    path.write_bytes(whole)
    db = sqlite3.connect(path)
    db.executescript(change)
    db.close()
    assert "its tables are not ours" in refused(path)


def changed(whole: bytes, tmp_path: Path, text: str, *values: object) -> Path:
    path = tmp_path / "run.bptrace"
    path.write_bytes(whole)
    with sqlite3.connect(path) as db:
        db.execute(text, values)
    return path


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x91" * 100_000,
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        msgspec.msgpack.encode({"iteration": "one"}),
        msgspec.msgpack.encode({"iteration": 1, "grads": {"w": -1}, "where": None}),
        msgspec.msgpack.encode({"iteration": 1, "grads": {"w": "x"}, "where": None}),
    ],
    ids=["nothing", "no msgpack", "deep", "a huge map", "huge bytes", "a word", "a negative tensor", "a text"],
)
def test_bodies_that_are_no_events(whole, tmp_path, body):
    text = "UPDATE events SET kind = 'GradCleared', body = ?, crc = ? WHERE position = 100"
    path = changed(whole, tmp_path, text, body, zlib.crc32(body))
    trace = plain.opened(path)
    assert trace[99].iteration == 8
    assert isinstance(trace[100], Damaged) and "checksum" not in trace[100].why
    assert trace[101].iteration == 8 and trace.damage.startswith(f"{path} is damaged: event 100: ")


@pytest.mark.parametrize("value", ["text", 7, None, 1.5])
def test_values_of_another_type(whole, tmp_path, value):
    for change in (
        "UPDATE events SET body = ? WHERE position = 100",
        "UPDATE OR IGNORE data SET place = ?",
        "UPDATE OR IGNORE tensors SET facts = ?",
        "UPDATE OR IGNORE output SET text = ?",
        "UPDATE OR IGNORE sources SET text = ?",
        "UPDATE OR IGNORE states SET body = ?",
        "UPDATE OR IGNORE iterations SET start = ?",
        "UPDATE OR IGNORE data SET size = ?",
    ):
        try:
            look_at_all(changed(whole, tmp_path, change, value))
        except sqlite3.IntegrityError:  # NOT NULL keeps it out
            assert value is None
        except RecordingError as error:
            assert "\n" not in str(error)


def test_a_huge_tensor_is_not_believed(whole, tmp_path):
    """No memory is allocated for what its few bytes can't make."""
    facts = msgspec.msgpack.encode(Facts(Form("float32", (2**40, 2**7))))
    trace = plain.opened(changed(whole, tmp_path, "UPDATE tensors SET facts = ?, crc = ?", facts, zlib.crc32(facts)))
    (held,) = handles(trace[7])
    assert not held.kept and held.value is None
    assert "another size than it says" in trace.damage


def test_more_events_than_a_file_has_room_for_are_not_believed(whole, tmp_path):
    path = changed(whole, tmp_path, "UPDATE events SET position = 1 << 39 WHERE position = 519")
    trace = plain.opened(path)
    assert len(trace) == 519 and "its events go from 0 to 549755813888" in trace.damage


def test_no_path_in_a_recording_is_opened(whole, tmp_path):
    """Its sources come from the file alone."""
    secret = tmp_path / "secret.py"
    secret.write_text("password = 1\n")
    os.mkfifo(tmp_path / "pipe")
    writer = plain.writer(tmp_path / "run.bptrace")
    trace = Trace(file=writer)
    for path in (secret, tmp_path / "pipe"):
        for event in next(plain.iterations(4, str(path))):
            trace.append(event)
    writer.close("the program ended")
    with sqlite3.connect(tmp_path / "run.bptrace") as db:
        assert db.execute("SELECT path FROM sources").fetchall() == [(str(secret),)]  # a pipe is no source
        db.execute("DELETE FROM sources")
    opened = plain.opened(tmp_path / "run.bptrace")
    assert opened.lines(str(secret)) == opened.lines(str(tmp_path / "pipe")) == opened.lines("/dev/zero") == []


def test_nothing_is_written_to_a_file_that_is_looked_at(whole, tmp_path):
    path = tmp_path / "run.bptrace"
    path.write_bytes(whole)
    os.chmod(path, stat.S_IRUSR)
    before = path.stat()
    assert look_at_all(path)
    assert path.read_bytes() == whole and path.stat().st_mtime_ns == before.st_mtime_ns
    assert [p.name for p in tmp_path.iterdir()] == ["run.bptrace"]
