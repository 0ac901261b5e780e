"""A tied parameter answers to all of its names, and shows them."""

import pytest
import torch
from playing import play, said

TITLE = "wte.weight = head.weight"


class Tied(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wte = torch.nn.Embedding(5, 3)
        self.mix = torch.nn.Linear(3, 3)
        self.head = torch.nn.Linear(3, 5)
        self.head.weight = self.wte.weight

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        return self.head(self.mix(self.wte(words)))


def program() -> None:
    torch.manual_seed(0)
    model = Tied()
    stepper = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        stepper.zero_grad()
        torch.nn.functional.cross_entropy(model(torch.tensor([1, 2])), torch.tensor([3, 4])).backward()
        stepper.step()


@pytest.mark.parametrize("name", ["wte.weight", "head.weight", "model.head.weight"])
def test_focus_takes_any_name(name):
    seen = play(program, "until forward", f"focus {name}", "n", "c")
    assert seen.said[1].text == f"focus: {TITLE}"
    assert seen.situations[1].focus == "wte.weight" and seen.situations[1].names == ("wte.weight", "head.weight")


@pytest.mark.parametrize(
    ("location", "stop"),
    [
        ("forward head.weight#2", "ForwardUse head#1"),
        ("backward head.weight", "BackwardUse head#1, use 2 of 2"),
        ("backward wte.weight#1", "BackwardUse wte#1 of 2"),
        ("backward head.w*#1", "BackwardUse wte#1 of 2"),
        ("backward head#1", "BackwardUse head#1, use 2 of 2"),
        ("accumulate head.weight", "Accumulated wte.weight accumulated"),
        ("update head.weight", "StepFinished after optimizer.step()"),
    ],
)
def test_a_target_may_be_any_name(location, stop):
    """Of a module's parameters the focused one is meant, by whatever name."""
    seen = play(program, "until forward wte", "focus head.weight", f"until {location}", "c")
    assert seen.stops[-1] == stop


def test_the_first_use_is_found_by_the_other_name():
    assert play(program, "until iteration 2", "until forward head.weight", "c").stops[1] == "ForwardUse wte#1"


def test_every_heading_shows_all_names():
    told = said(play(program, "until backward head.weight", "info params", "ledger", "info uses", "info", "c"))
    begins = ["  parameter ", f"* {TITLE} ", "  mix.weight ", "  mix.bias ", "  head.bias ", "T tied: "]
    assert all(line.startswith(text) for line, text in zip(told[1].splitlines(), begins, strict=True))
    assert told[2].splitlines()[0] == TITLE and told[3].splitlines()[0] == TITLE
    assert f"focus {TITLE} [5, 3]" in told[4]


def test_a_name_that_is_none_says_what_there_is():
    seen = play(program, "until forward", "focus haed.weight", "focus nobody", "until backward haed.weight", "c")
    assert [r.text for r in seen.said if not r.ok] == [
        "no parameter 'haed.weight'; did you mean 'head.weight'?",
        "no parameter 'nobody'; there are: wte.weight, head.weight, mix.weight, mix.bias, head.bias",
        "no module or parameter 'haed.weight'; did you mean 'head.weight'?",
    ]


def test_a_frozen_parameter_says_that_it_is():
    def program() -> None:
        model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
        model[0].weight.requires_grad_(False)
        model(torch.ones(1, 2)).sum().backward()

    seen = play(program, "until forward", "focus 0.weight", "c")
    assert seen.said[1].text == "0.weight is frozen: it requires no gradient, so there is no ledger of it"
