"""A call whose parameters were replaced by other tensors is a call, and no use."""

import torch
from playing import play, said
from torch import nn
from torch.func import functional_call


def program() -> None:
    torch.manual_seed(0)
    hyper, target = nn.Linear(1, 2, bias=False), nn.Linear(2, 1, bias=False)
    stepper = torch.optim.SGD([*hyper.parameters(), *target.parameters()], lr=0.1)
    target(torch.ones(1, 2)).sum().backward()
    stepper.step()
    stepper.zero_grad()
    weight = hyper(torch.ones(1)).reshape(1, 2)
    functional_call(target, {"weight": weight}, (torch.ones(1, 2),)).sum().backward()
    stepper.step()


def test_it_is_shown_and_explained():
    seen = play(program, "until iteration 2", "until forward target", "print use", "until update", "why",
                focus="target.weight")  # fmt: skip
    told = said(seen)
    assert seen.stops[1] == "ForwardUse target#1" and told[2] == "None"
    ran = "Forward: target#1 ran, with another tensor in the place of target.weight."
    assert seen.situations[1].explanation == (ran,)
    assert "Its module was called with another tensor in its place (functional_call)." in told[4]


def test_a_condition_there_is_about_the_focus():
    stop = "break forward target if partial is None"
    seen = play(program, "until iteration 2", stop, "c", focus="hyper.weight")
    assert seen.stops[1] == "ForwardUse target#1" and seen.situations[1].reason.startswith("breakpoint")
