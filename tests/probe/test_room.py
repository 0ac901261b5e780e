"""Parameters whose copies do not fit into memory: norms and what moved are told all the same, and nothing more."""

from typing import Any

import pytest
import torch
from driving import debugged, partials, probed
from oracle import bits

from backpropdbg.events import (
    Accumulated,
    BackwardFinished,
    BackwardStarted,
    BackwardUse,
    GroupSummed,
    LossComputed,
    ManualUpdate,
    StepFinished,
    StepStarted,
    handles,
)
from backpropdbg.probe.hooks import Policy
from backpropdbg.probe.sketches import Sketch, without_room

SMALL, LARGE = 4 * 4 * 8, 4 * 128 * 128


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.small, self.large = torch.nn.Linear(8, 4, bias=False), torch.nn.Linear(128, 128, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.small(self.large(self.large(x).tanh())[:, :8]).square().sum()


def train(steps: int = 2, by_hand: bool = False) -> list[torch.Tensor]:
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(3, 128)).backward()
        optimizer.step()
        if by_hand:
            with torch.no_grad():
                model.large.weight[0, 0] += 1
                model.small.weight[0, 0] += 1
    return [p.detach().clone() for p in model.parameters()]


ROOM = Policy(room=SMALL * 4 + LARGE)


def test_training_is_the_same_bit_for_bit():
    plain = train()
    with probed(policy=ROOM):
        watched = train()
    assert all(torch.equal(a, b) for a, b in zip(plain, watched, strict=True))


def test_norms_are_those_of_the_partials_and_only_the_large_are_let_go():
    with probed() as every:
        train()
    with probed(policy=ROOM) as seen:
        train()
    for name in ("small.weight", "large.weight"):
        for n in (1, 2):
            kept, held = partials(every.events, n, name), partials(seen.events, n, name)
            assert [number for number, _ in kept] == [number for number, _ in held]
            assert [value is None for _, value in held] == [name == "large.weight"] * len(kept)
    norms = [[e.partial.norm() for e in s.events if isinstance(e, BackwardUse)] for s in (every, seen)]
    assert norms[0] == norms[1]
    of_grads = [[e.grad.norm() for e in s.events if isinstance(e, Accumulated)] for s in (every, seen)]
    assert of_grads[0] == of_grads[1]
    assert not any(e.grad.kept for e in seen.events if isinstance(e, Accumulated) and e.parameter == "large.weight")


def test_no_copy_of_the_large_lives_on():
    with probed(policy=ROOM) as seen:
        train()
    weights = [e.after["large.weight"] for e in seen.events if isinstance(e, StepFinished)]
    assert weights and not any(held.kept for held in weights) and all(held.norm() > 0 for held in weights)
    assert all(e.after["small.weight"].kept for e in seen.events if isinstance(e, StepFinished))
    assert all(set(e.recipes) == {"small.weight"} for e in seen.events if isinstance(e, StepStarted))


def test_the_sum_of_a_group_is_let_go_too():
    torch.manual_seed(0)
    model = Net()
    with probed(policy=ROOM) as seen, torch.autocast("cpu", torch.bfloat16):
        model(torch.randn(3, 128)).float().backward()
    sums = [e for e in seen.events if isinstance(e, GroupSummed)]
    assert [(e.parameter, e.total.kept, e.total.norm() > 0) for e in sums] == [("large.weight", False, True)]


def test_what_moved_is_told():
    with probed(policy=ROOM) as seen:
        train(by_hand=True)
    by_hand = [e for e in seen.events if isinstance(e, ManualUpdate)]
    assert [set(e.parameters) for e in by_hand] == [{"small.weight", "large.weight"}]
    assert all(e.moved == () and e.compared for e in seen.events if isinstance(e, BackwardFinished))


def test_a_weight_that_moves_in_backward_is_told():
    torch.manual_seed(0)
    model = Net()

    def meddle(grad: torch.Tensor) -> None:
        model.large.weight.data[:2] = model.large.weight.data[:2].flip(0)

    model.small.weight.register_hook(meddle)
    with probed(policy=ROOM) as seen:
        model(torch.randn(3, 128)).backward()
    assert [e.moved for e in seen.events if isinstance(e, BackwardFinished)] == [("large.weight",)]


def test_a_stop_shows_the_partial_while_it_is_there_and_says_so_later():
    told: dict[str, Any] = {}

    def at_stop(situation: Any, debugger: Any) -> None:
        if situation.event == "BackwardUse" and situation.where == "large#2 of 2":
            told["here"] = debugger.execute("p partial.shape").text
        if situation.event == "Accumulated" and situation.where.startswith("large"):
            told["rows"] = [(row.term, row.state) for row in situation.ledger]
            told["norms"] = [row.norm for row in situation.ledger if row.kind == "partial"]
            told["words"] = " ".join(situation.explanation)

    with debugged(at_stop, focus="large.weight", policy=ROOM):
        train(1)
    assert told["here"] == "torch.Size([128, 128])"
    states = [("carried in", "none"), ("A2", "not kept"), ("A1", "not kept"), ("running sum", "not kept")]
    assert told["rows"] == [*states, (".grad", "not kept")]
    assert all(isinstance(norm, float) for norm in told["norms"])
    assert "--keep has no room for them" in told["words"] and "bit for bit" not in told["words"]


def test_who_has_no_room():
    parameters = [(str(n), torch.zeros(n)) for n in (1, 2, 3, 4)]
    assert without_room(parameters, None) == without_room(parameters, 160) == frozenset()
    assert without_room(parameters, 159) == {"4"}
    assert without_room(parameters, 48) == {"3", "4"}
    assert without_room(parameters, 0) == {"1", "2", "3", "4"}


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.bfloat16, torch.float64, torch.complex64, torch.int8, torch.bool]
)
@pytest.mark.parametrize("shape", [(), (0,), (7,), (5000,), (70, 130), (3, 1, 5000)])
def test_a_sketch_sees_every_change(dtype, shape):
    torch.manual_seed(1)
    t = (torch.randn(shape) > 0).to(dtype) if dtype in (torch.int8, torch.bool) else torch.randn(shape).to(dtype)
    sketch = Sketch(t)
    assert not sketch.kept and sketch.shape == tuple(shape) and sketch.is_of(t.clone())
    assert sketch.norm() == pytest.approx(float(torch.linalg.vector_norm(t.to(torch.complex128))), rel=1e-5)
    if not t.numel():
        return
    other = t.clone()
    other.view(-1)[t.numel() // 2] = ~other.view(-1)[t.numel() // 2] if dtype == torch.bool else 3
    assert not sketch.is_of(other)
    assert not sketch.is_of(t.reshape(-1, 1) if shape != (0, 1) else t.view(-1))


def test_a_sketch_sees_an_exchange_and_a_sign_of_zero():
    t = torch.arange(3 * 4096.0).reshape(3, 4096)
    for other in (t[[1, 0, 2]], t.flip(1), t.flatten().roll(1).view_as(t)):
        assert not Sketch(t).is_of(other)
    assert not Sketch(torch.zeros(3)).is_of(torch.tensor([0.0, -0.0, 0.0]))
    assert Sketch(torch.full((3,), torch.nan)).is_of(torch.full((3,), torch.nan))


class Joined(torch.nn.Module):
    """A small parameter stands at the end of a large activation; the last loss is a mean over as many elements."""

    def __init__(self) -> None:
        super().__init__()
        self.prompt = torch.nn.Parameter(torch.randn(2, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.cat([x, self.prompt, self.prompt])
        return torch.nn.functional.mse_loss(y.tanh(), torch.zeros_like(y))


def test_what_is_kept_keeps_no_larger_memory_alive():
    torch.manual_seed(0)
    model, x = Joined(), torch.randn(500, 8)
    with probed() as seen:
        model(x).backward()
    ends = x.clone(), *(model.prompt.detach().clone().requires_grad_() for _ in range(2))
    y = torch.cat(ends)
    loss = torch.nn.functional.mse_loss(y.tanh(), torch.zeros_like(y))
    terms = torch.autograd.grad(loss, ends[1:])
    assert loss.untyped_storage().nbytes() > 100 * loss.nbytes, "else torch has mended it"
    kept = [held.value for event in seen.events for held in handles(event)]
    assert all(t.untyped_storage().nbytes() == t.nbytes for t in kept) and len(kept) > 4
    found = partials(seen.events, 1, "prompt")
    assert all(bits(mine, term) for (_, mine), term in zip(found, terms, strict=True))
    told = [event.loss.value for event in seen.events if isinstance(event, BackwardStarted | LossComputed)]
    assert len(told) == 2 and all(bits(mine, loss.detach()) for mine in told)
