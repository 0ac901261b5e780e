"""What a recording shows is what was seen live: the situation of every event, byte for byte."""

import pytest
from driving import OPTIMIZERS
from reopened import lived, looked_at, train_with


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
