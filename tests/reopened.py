"""What every event of a training looked like when it happened, and what it looks like in its recording."""

from collections.abc import Callable
from typing import Any

import msgspec
import torch
from driving import debugged, make_net, seed
from msgspec.structs import replace

from backpropdbg.child.opened import OpenedProgram, open_file
from backpropdbg.debugger.core import Debugger
from backpropdbg.events import IterationStarted
from backpropdbg.situation import Situation

Windows = dict[str, Any]


def in_bytes(situation: Situation) -> bytes:
    """All of it but what differs on purpose: why it stopped here, and what came later."""
    return msgspec.json.encode(replace(situation, reason="", newest=0, recorded=False))


def windows(debugger: Debugger, situation: Situation) -> Windows:
    return {m.name: debugger.window(m.name, 4, 4, 0, 0, True) for m in situation.matrices}


def looked_at(path: str, positions: list[int], focus: str) -> dict[int, tuple[bytes, Windows]]:
    """The situations of a recording at these positions, in this order."""
    trace = open_file(path)
    found: dict[int, tuple[bytes, Windows]] = {}
    left = list(positions)

    def wait(situation: Situation) -> None:
        if situation.position not in found:
            found[situation.position] = in_bytes(situation), windows(debugger, situation)
        if left:
            done = debugger.execute(f"goto {left.pop(0)}")
            assert done.ok and done.moves, done.text

    about = trace.about
    debugger = Debugger(OpenedProgram(trace), trace, wait, about.title, about.seed, focus, recorded=True)
    debugger.open()
    return found


def lived(path: str, train: Callable[[], object], focus: str, **how: Any) -> dict[int, tuple[bytes, Windows]]:
    """The same as they were when they happened."""
    found: dict[int, tuple[bytes, Windows]] = {}

    def at_stop(situation: Situation, debugger: Debugger) -> None:
        found[situation.position] = in_bytes(situation), windows(debugger, situation)

    with debugged(at_stop, focus=focus, path=path, seed=3, **how) as seen:
        train()
        events = [seen.trace[n] for n in range(seen.trace.first, len(seen.trace))]
        stops = sum(not isinstance(event, IterationStarted) for event in events)
        assert stops - len(found) in (0, 1)  # a zero_grad at the very beginning is no stop
    return found


def train_with(make: Callable[[Any], torch.optim.Optimizer], net: str, iterations: int = 3) -> None:
    seed(0)
    model, x, y = make_net(net, 3)
    optimizer = make(model.parameters())
    for _ in range(iterations):
        loss = torch.nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
