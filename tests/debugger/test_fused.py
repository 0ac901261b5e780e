"""An operation that may hide several uses is never called one use; `track` narrows what is seen."""

import warnings

import torch
from playing import play, said


def program() -> None:
    torch.manual_seed(0)
    model = torch.nn.LSTM(2, 3)
    model(torch.randn(4, 1, 2))[0].sum().backward()


NOTE = "4 calls are inside one operation ("


def test_the_note_stands_in_the_ledger_and_in_info_uses():
    seen = play(program, "until backward weight_hh_l0", "info uses", "ledger", "info", "c", focus="weight_hh_l0")
    told = said(seen)
    row = next(row for row in seen.situations[0].ledger if row.kind == "partial")
    assert row.note.startswith(NOTE) and "): can't be split without --unfuse" in row.note
    assert NOTE in told[1] and NOTE in told[2]
    assert NOTE in seen.situations[0].explanation[0]
    assert seen.situations[0].where == "LSTM#1"


def test_a_use_that_is_pending_says_so_too():
    seen = play(program, "until backward", "c", focus="weight_hh_l0")
    rows = [row for row in seen.situations[0].ledger if row.kind == "partial"]
    assert all(row.note.startswith(NOTE) for row in rows) and rows


def two_layers() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    for _ in range(2):
        model(torch.ones(1, 2)).sum().backward()


def test_track_narrows_what_has_events():
    seen = play(two_layers, "until forward", "track 1", "b backward", "c", "c", "c", focus="0.weight")
    assert seen.said[1].text == "tracked: 1.weight, 1.bias"
    assert [s.where for s in seen.situations[1:]] == ["1#1 of 1"] * 2 + ["1#2"] * 2
    assert {s.focus for s in seen.situations[1:]} == {"1.weight"}


def test_track_nothing_runs_unwatched_and_says_so():
    seen = play(two_layers, "until forward", "track nowhere", "track", "b backward", "c")
    told = said(seen)
    assert told[1] == "nothing that is known fits nowhere: the program runs unwatched"
    assert told[2] == "nothing is tracked"


def test_track_all_again():
    told = said(play(two_layers, "until forward", "track 0.bias", "track *", "track", "c"))
    assert told[1] == "tracked: 0.bias"
    assert told[2] == told[3] == "tracked: 0.weight, 0.bias, 1.weight, 1.bias"


class Branching(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lin = torch.nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(3):
            x = torch.tanh(self.lin(x))
        return x


def test_how_many_there_are_inside_is_said_only_where_it_is_known():
    """A loop in TorchScript may run any number of times."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = torch.jit.script(Branching())
    for _ in range(3):
        model(torch.ones(1, 2)).sum().backward()
    seen = play(lambda: model(torch.ones(1, 2)).sum().backward(), "until backward lin.weight", "c")
    assert "several uses may be inside one operation" in " ".join(seen.situations[0].explanation)
