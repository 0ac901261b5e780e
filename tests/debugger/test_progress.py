"""What is told of a running program, and of a long look through what is recorded."""

import threading

import torch
from driving import debugged

from backpropdbg.events import BackwardStarted
from backpropdbg.situation import Progress


def test_the_iteration_and_the_newest_loss_while_it_runs() -> None:
    """Asked in another thread, as the ticker does, in the middle of a step."""
    told: list[Progress | None] = []
    losses: list[float] = []

    def ask() -> None:
        other = threading.Thread(target=lambda: told.append(seen.debugger.progress()))
        other.start()
        other.join()

    def at_stop(situation, debugger) -> str:
        ask()
        return "continue"

    with debugged(at_stop) as seen:
        net = torch.nn.Linear(3, 1)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(3):
            loss = net(torch.ones(2, 3)).square().mean()
            loss.backward()
            losses.append(loss.item())
            ask()
            optimizer.step()
            optimizer.zero_grad()
    assert told[0] is None
    assert [(p.iteration, p.loss, p.looking) for p in told[1:]] == [(n, losses[n - 1], False) for n in (1, 2, 3)]
    assert [p.position for p in told[1:]] == [p.newest for p in told[1:]] == sorted({p.position for p in told[1:]})


def test_what_is_not_kept_has_no_loss_and_a_look_tells_where_it_is() -> None:
    told: list[Progress | None] = []

    def at_stop(situation, debugger) -> str:
        if situation.event != "BackwardFinished":
            return "until iteration 3" if situation.position < 3 else "finish"
        look = debugger.is_at
        debugger.is_at = lambda *given: told.append(debugger.progress()) or look(*given)
        assert debugger.execute("break backward if use > 9").ok and debugger.execute("rc").ok
        told.append(debugger.progress())
        debugger._walk, debugger.is_at = None, look
        return "step"

    with debugged(at_stop) as seen:
        net = torch.nn.Linear(3, 1)
        for _ in range(3):
            net(torch.ones(2, 3)).square().mean().backward()
            for p in net.parameters():
                p.data.sub_(p.grad)
        events = [seen.trace[n] for n in range(len(seen.trace))]
    *looks, after = told[: told.index(None) + 1]
    assert after is None and len(looks) > 10 and all(p.looking and p.loss is None for p in looks)
    assert [p.position for p in looks] == sorted((p.position for p in looks), reverse=True)
    assert any(isinstance(e, BackwardStarted) for e in events) and {p.newest for p in looks} == {looks[0].newest}
