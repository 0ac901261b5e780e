"""What a stop says where several threads train."""

import threading

import torch
from playing import play, said
from torch import nn

SAID = "Several threads train"


def two_threads() -> None:
    """Both train one layer: the other's backward and step come between this one's backward and step."""
    torch.manual_seed(0)
    layer = nn.Linear(2, 2, bias=False)
    steppers = [torch.optim.SGD(layer.parameters(), lr=0.1) for _ in range(2)]
    turn, back = threading.Event(), threading.Event()

    def other() -> None:
        layer(torch.ones(1, 2)).sum().backward()
        back.set()
        turn.wait(60)
        layer(torch.ones(1, 2)).sum().backward()
        steppers[1].step()
        back.set()
        turn.wait(60)

    thread = threading.Thread(target=other)
    thread.start()
    back.wait(60)
    layer(2 * torch.ones(1, 2)).square().sum().backward()
    back.clear()
    turn.set()
    back.wait(60)
    steppers[0].step()
    thread.join(60)


def test_it_is_said_where_a_backward_begins_and_nothing_false_after():
    situations = []
    seen = play(two_threads, *["step"] * 18, look=lambda debugger: situations.append(debugger.situation()))
    begun = [s for s in situations if s.event == "BackwardStarted"]
    assert [any(SAID in line for line in s.explanation) for s in begun] == [False, True, True]
    told = " ".join(line for s in situations for line in s.explanation)
    assert "That is a finding" not in told and "changed during it" not in told
    assert not any(s.proof.startswith("moved in backward") for s in situations)
    said(seen)
