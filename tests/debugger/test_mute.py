"""`mute USE`: what if this use did not count? Against plain torch with a copy of the weight for each use."""

from typing import Any

import pytest
import torch
from driving import debugged
from playing import play, said

WEIGHT = "layer.weight"


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(self.layer(self.layer(x).tanh()).tanh()).square().sum()


def train(steps: int = 2) -> Any:
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.ones(2, 3)).backward()
        optimizer.step()
    return model


def train_untied(steps: int, weights: set[int], biases: set[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """The same with a copy for each use; those named get no gradient. Adds in the order of the engine."""
    torch.manual_seed(0)
    model = Net()
    w, b = model.layer.weight.detach().clone(), model.layer.bias.detach().clone()
    for _ in range(steps):
        ws, bs = ([t.clone().requires_grad_() for _ in range(3)] for t in (w, b))
        x = torch.ones(2, 3)
        for n in range(3):
            x = torch.nn.functional.linear(x, ws[n], bs[n])
            x = x.tanh() if n < 2 else x
        x.square().sum().backward()
        for leaf, copies, muted in ((w, ws, weights), (b, bs, biases)):
            terms = [torch.zeros_like(c) if n + 1 in muted else c.grad for n, c in enumerate(copies)]
            leaf.sub_(0.1 * ((terms[2] + terms[1]) + terms[0]))
    return w, b


@pytest.mark.parametrize(
    ("lines", "weights", "biases"),
    [
        (["mute layer#2"], {2}, {2}),
        (["mute layer.weight#2"], {2}, set()),
        (["mute layer.weight#1", "mute layer.weight#3", "mute layer.bias"], {1, 3}, {1, 2, 3}),
        (["mute layer", "unmute layer"], set(), set()),
        (["mute layer#1", "mute layer#2", "unmute"], set(), set()),
        (["mute layer#1", "mute layer#2", "unmute layer#1"], {2}, {2}),
        (["until backward layer.weight#2", "mute"], {2}, set()),
    ],
)
def test_training_goes_on_as_if_the_use_did_not_count(lines, weights, biases):
    ends: list[Any] = []
    play(lambda: ends.append(train()), *lines, focus=WEIGHT)
    w, b = train_untied(2, weights, biases)
    assert torch.allclose(ends[0].layer.weight, w, atol=1e-6, rtol=1e-5)
    assert torch.allclose(ends[0].layer.bias, b, atol=1e-6, rtol=1e-5)
    if weights:
        assert not torch.allclose(w, train().layer.weight, atol=1e-3)


def test_the_stop_shows_zeros_and_the_original():
    lines = ["mute layer.weight#2", "until backward layer.weight#2", "ledger", "p partial.norm()"]
    text = said(play(train, *lines, focus=WEIGHT))
    assert "A2 was" in text[2] and text[3] == "tensor(0.)"


def test_the_ledger_after_it_adds_up_and_names_the_edit():
    seen = play(train, "mute layer.weight#2", "until accumulate layer.weight", "ledger", focus=WEIGHT)
    assert "A2 was" in said(seen)[2] and "= running sum, bit for bit" in said(seen)[2]


def test_what_flows_on_to_earlier_layers_stays():
    def first(muted: bool) -> Any:
        lines = ["mute layer.weight#3"] if muted else []
        return said(play(train, *lines, "until backward layer.weight#1", "p partial", focus=WEIGHT))[-1]

    assert first(True) == first(False)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("mute", "which use? no partial arrives here; e.g. mute middle_linear#2"),
        ("mute layr#2", "no module or parameter 'layr'; "),
        ("mute layer#0", "N counts uses from 1"),
        ("unmute layer#3", "layer#3 is not muted; nothing is muted"),
    ],
)
def test_what_cannot_be_muted(line, text):
    done = play(train, line, "s", focus=WEIGHT).said[0]
    assert not done.ok and text in done.text and "\n" not in done.text


class Later(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.later = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.later(self.later(self.first(x)).tanh()).square().sum()


@pytest.mark.parametrize("back", [[], ["until backward", "goto 0", "mute later", "goto now"]])
def test_a_layer_that_was_not_called_yet_can_be_muted_in_the_past_too(back):
    torch.manual_seed(0)
    model = Later()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    kept = model.later.weight.detach().clone()

    def program() -> None:
        for _ in range(2):
            optimizer.zero_grad()
            model(torch.ones(1, 2)).backward()
            optimizer.step()

    seen = play(program, *(back or ["mute later"]), "until iteration 2")
    assert "muted: later" in said(seen)[-2 if not back else 2]
    assert torch.equal(model.later.weight, kept) and not model.later.weight.grad.any()
    assert model.first.weight.grad.any()


def test_it_is_listed():
    seen = play(train, "mute layer#2", "mute layer.bias", "mute layer#2", "unmute", focus=WEIGHT)
    assert said(seen) == [
        "muted: layer#2",
        "muted: layer#2, layer.bias",
        "muted: layer#2, layer.bias",
        "nothing is muted",
    ]


def test_a_use_that_cannot_be_edited_is_said_once_a_time_and_the_program_goes_on():
    spoken: list[str] = []

    def program() -> None:
        model = Net().to(torch.float32)
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(torch.ones(2, 3)).float()
        loss.backward()

    def at_stop(situation: Any, debugger: Any) -> str:
        debugger.say = spoken.append
        if not debugger.muted:
            debugger.execute("mute layer.weight#2")
        return "continue"

    with debugged(at_stop, focus=WEIGHT):
        program()
    assert len(spoken) == 1 and spoken[0].startswith("mute: this use reaches the parameter through a cast or view")
