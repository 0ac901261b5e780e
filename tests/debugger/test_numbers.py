"""How uses read where several backwards of one iteration reach a parameter."""

import torch
from playing import play, said
from torch import nn


def accumulation() -> None:
    torch.manual_seed(0)
    cell = nn.Linear(2, 2, bias=False)
    stepper = torch.optim.SGD(cell.parameters(), lr=0.1)
    for x in torch.randn(2, 1, 2):
        cell(torch.tanh(cell(x))).square().sum().backward()
    stepper.step()


def partials() -> list[torch.Tensor]:
    """A1 to A4, each from a copy of its own."""
    torch.manual_seed(0)
    weight = nn.Linear(2, 2, bias=False).weight
    found: list[torch.Tensor] = []
    for x in torch.randn(2, 1, 2):
        one, two = (weight.detach().clone().requires_grad_() for _ in range(2))
        found += torch.autograd.grad((torch.tanh(x @ one.t()) @ two.t()).square().sum(), (one, two))
    return found


def test_forward_and_backward_call_a_use_the_same():
    seen = play(accumulation, "until forward weight#4", "until backward weight#4", "n", "until backward weight#1")
    # No other #1 comes in this iteration, so the last command runs to the end.
    assert seen.stops == ["ForwardUse Linear#4", "BackwardUse Linear#4, 2 of 2 in this backward",
                          "BackwardUse Linear#3, 1 of 2 in this backward"]  # fmt: skip
    first = seen.situations[1].explanation[0]
    assert first.startswith("Use #4's gradient arrived, the 1st of 2 in this backward: backward walks from the loss")
    assert seen.situations[2].explanation[0] == "Use #3's gradient arrived, the 2nd of 2 in this backward."
    assert [s.cosine_to for s in seen.situations] == ["final sum", "running sum", "final sum"]
    rows = [row.term for row in seen.situations[2].ledger if row.kind == "partial"]
    assert rows == ["A2", "A1", "A4", "A3"]


def test_the_first_backward_has_a_total():
    seen = play(accumulation, "until backward", "n")
    assert seen.stops == ["BackwardUse Linear#2 of 2", "BackwardUse Linear#1 of 2"]


def test_expressions_know_the_partials_of_every_backward():
    seen = play(accumulation, "until accumulate", "print uses", "until forward weight#3", "print uses",
                "until accumulate", "print uses", "print torch.stack([A1, A2, A3, A4]).flatten().tolist()",
                "print use", "until backward weight#9")  # fmt: skip
    told = said(seen)
    assert [told[n] for n in (1, 3, 5)] == ["2", "3", "4"]
    assert eval(told[6]) == torch.stack(partials()).flatten().tolist()
    assert told[7] == "None"


def test_a_node_that_fires_again_is_named_with_its_backward():
    def twice() -> None:
        w = nn.Parameter(torch.tensor([2.0]))
        stepper = torch.optim.SGD([w], lr=0.1)
        loss = (w * 3).sum()
        loss.backward(retain_graph=True)
        loss.backward()
        stepper.step()

    seen = play(twice, "until accumulate", "until update", "why", "print A1.item()")
    told = said(seen)
    assert "The gradient it read: backward 1: A1; backward 2: A1." in told[2]
    assert "backward 1 A1 +3 down, backward 2 A1 +3 down" in told[2]
    assert told[3] == "3.0"
