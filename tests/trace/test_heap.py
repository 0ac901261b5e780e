"""The bytes of tensors: where they go, that room is used again, and that they end up in the one file."""

import gzip
import os
import random
import shutil
from pathlib import Path

import plain
import pytest

from backpropdbg.events import handles
from backpropdbg.keep import Keep
from backpropdbg.trace import heap
from backpropdbg.trace.heap import Found, Heap, Room
from backpropdbg.trace.history import Trace


@pytest.mark.parametrize("seed", range(20))
def test_no_byte_is_given_to_two(seed):
    """And what was given back is used before the file grows."""
    rng, room, owners = random.Random(seed), Room(24), {}
    most = 0
    for _ in range(2000):
        if owners and rng.random() < 0.5:
            for place in rng.sample(sorted(owners), min(len(owners), 3)):
                room.give(place, owners.pop(place))
        else:
            sizes = rng.choices([0, 1, 7, 64, 100], k=rng.randrange(1, 5))
            for place, size in zip(room.take(sizes), sizes, strict=True):
                assert place >= 24 and all(place + size <= p or place >= p + n for p, n in owners.items() if n and size)
                if size:
                    owners[place] = size
        most = max(most, sum(owners.values()))
    assert most <= room.end - 24 < 3 * most
    for place, size in owners.items():
        room.give(place, size)
    assert room.take([room.end - 24]) == [24]


def test_what_is_put_is_found(tmp_path):
    """Small and large pieces, in rows that follow each other and in gaps."""
    path, rng, key = str(tmp_path / "run.bptrace"), random.Random(0), bytes(16)
    Path(path).write_bytes(b"")
    writer, there = Heap(path, key), {}
    for _ in range(20):
        pieces = [rng.randbytes(rng.choice([0, 1, 100, 30_000, 70_000])) for _ in range(rng.randrange(8))]
        for place, piece in zip(writer.put([memoryview(p) for p in pieces]), pieces, strict=True):
            there[place, len(piece)] = piece
        for place, size in rng.sample(sorted(there), len(there) // 3):
            del there[place, size]
            writer.give_back(place, size)
        reader = Found(path, key)
        assert all(reader.get(place, size) == piece for (place, size), piece in there.items())
        reader.close()
    writer.close()


def fill(path: Path, iterations: int, keep: Keep | None = None, say=plain.fail) -> None:
    writer = plain.writer(path, keep or Keep(None), say)
    trace, made = Trace(file=writer), plain.iterations(256)
    for _ in range(iterations):
        for event in next(made):
            trace.append(event)
        writer.flush()
    writer.close("the program ended", 0)


def test_beyond_the_limit_the_file_does_not_grow(tmp_path):
    sizes = []
    for iterations in (60, 120):
        fill(tmp_path / "run.bptrace", iterations, Keep(100 * 1024))
        whole = (tmp_path / "run.bptrace").read_bytes()
        sizes.append(len(whole) - whole.index(b"bptensor"))
    assert sizes[0] == sizes[1] <= 120 * 1024


def test_it_stays_beside_where_there_is_no_room_for_one_file(tmp_path, monkeypatch):
    """One line says so; what is there is whole."""
    said = []

    def full(source, file, size):
        file.write(source.read(1000))
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(shutil, "copyfileobj", full)
    path = tmp_path / "run.bptrace"
    fill(path, 3, say=said.append)
    assert said == [f"{path}: keep {path}-data beside it, the tensors are in there: No space left on device"]
    assert path.stat().st_size == heap._pages(str(path))
    trace = plain.opened(path)
    assert trace.ended is not None
    assert all(held.value is not None for n in range(len(trace)) for held in handles(trace[n])) and trace.damage == ""


def test_who_reads_it_meanwhile_goes_on_reading(tmp_path):
    path = tmp_path / "run.bptrace"
    writer, made = plain.writer(path), plain.iterations(256)
    live = Trace(file=writer)
    for event in next(made):
        live.append(event)
    writer.flush()
    reader = plain.opened(path)
    assert reader[8].partial.value[0] == pytest.approx(1.2)
    for event in next(made):
        live.append(event)
    writer.close("the program ended", 0)
    reader.refresh()
    assert reader[8 + plain.EVENTS].partial.value[0] == pytest.approx(2.2)
    assert plain.opened(path)[8 + plain.EVENTS].partial.value[0] == pytest.approx(2.2)


def test_a_recording_of_the_version_before_opens(tmp_path):
    path = tmp_path / "old.bptrace"
    path.write_bytes(gzip.decompress((Path(__file__).parent / "version2.bptrace.gz").read_bytes()))
    trace = plain.opened(path)
    assert (len(trace), trace.iterations(), trace.ended.code) == (3 * plain.EVENTS, [1, 2, 3], 0)
    partials = [e.partial.value[0] for e in trace.iteration(2) if type(e).__name__ == "BackwardUse"]
    assert partials == pytest.approx([2.0, 2.1, 2.2])
    assert all(held.value is not None for n in range(len(trace)) for held in handles(trace[n])) and trace.damage == ""
