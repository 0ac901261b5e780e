"""What a recording shows is what was seen live: the situation of every event, byte for byte."""

import sqlite3
from typing import Any

import msgspec
import pytest
from driving import OPTIMIZERS
from reopened import lived, looked_at, train_with

from backpropdbg.child.opened import open_file


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("net", ["module", "parameter"])
def test_a_recording_shows_what_was_seen(tmp_path, optimizer, net):
    path, focus = str(tmp_path / "run.bptrace"), "middle_linear.weight" if net == "module" else "e"
    live = lived(path, lambda: train_with(OPTIMIZERS[optimizer], net), focus)
    assert len(live) > 40
    forwards, backwards = (looked_at(path, positions, focus) for positions in (sorted(live), sorted(live)[::-1]))
    for position, shown in live.items():
        assert forwards[position] == shown, position
        assert backwards[position] == shown, position


def as_read(path: str, focus: str) -> dict[int, dict[str, Any]]:
    count = len(open_file(path))
    return {n: msgspec.json.decode(shown) for n, (shown, _) in looked_at(path, list(range(count)), focus).items()}


def test_what_is_damaged_does_not_hide_the_rest(tmp_path):
    path, focus = str(tmp_path / "run.bptrace"), "middle_linear.weight"
    lived(path, lambda: train_with(OPTIMIZERS["adam"], "module"), focus)
    whole = as_read(path, focus)
    with sqlite3.connect(path) as db:
        text = "SELECT position FROM events WHERE iteration = 2 AND kind = 'BackwardUse' ORDER BY position"
        lost = [position for (position,) in db.execute(text)][3]
        db.execute("UPDATE events SET body = zeroblob(length(body)) WHERE position = ?", (lost,))
        ((grad,),) = db.execute("SELECT max(id) FROM tensors WHERE id < (SELECT max(id) FROM tensors)").fetchall()
        db.execute("UPDATE data SET crc = crc + 1 WHERE id = ?", (grad,))
    found = as_read(path, focus)
    assert not [n for n, stop in found.items() if stop["where"] == "this stop can't be drawn"]
    told = [line for stop in found.values() for line in stop["explanation"] if line.startswith(path)]
    assert f"{path} is damaged: event {lost}: its checksum is another one" in told
    for stop in found.values():
        stop["explanation"] = [line for line in stop["explanation"] if line not in told]
    first = {n for n, stop in whole.items() if stop["iteration"] == 1}
    assert first and {n: found[n] for n in first} == {n: whole[n] for n in first}
    assert found[lost]["where"] == "an event that is damaged"
    after = [stop["explanation"] for n, stop in found.items() if stop["iteration"] == 2 and n > lost]
    assert after and all("An event of this iteration can't be read: what is told here may lack it." in e for e in after)
