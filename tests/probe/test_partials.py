"""Each partial is, bit for bit, the gradient of an untied copy of the parameter for that use."""

import oracle
import pytest
import torch
from driving import OPTIMIZERS, ledger, make_net, partials, probed, seed

from backpropdbg.events import Accumulated, BackwardStarted, BackwardUse

FORWARDS = {"module": (oracle.module_net, 0, 3, 0), "parameter": (oracle.polynomial_net, 4, 6, 4)}


def run_and_compare(net, uses, number, optimizer, sizes=(8, 4, 5, 3), iterations=3):
    """Train under the probe; compare every partial of every parameter with the oracle's."""
    seed(number)
    model, x, y = make_net(net, uses, sizes)
    forward, low, high, base = FORWARDS[net]
    stepper = OPTIMIZERS[optimizer](model.parameters())
    compared = 0
    with probed() as seen:
        for t in range(1, iterations + 1):
            count = uses if uses is not None else oracle.peek_randint(low, high) - base
            with seen.probe.inert():
                truth = oracle.untied_partials(forward, oracle.state_of(model), x, y, count)
            loss = oracle.squares(model(x), y)
            stepper.zero_grad()
            loss.backward()
            stepper.step()
            for name, _ in model.named_parameters():
                arrived = partials(seen.events, t, name)
                expected = truth.get(name, [])
                assert [n for n, _ in arrived] == list(range(len(expected), 0, -1)), "the last use comes first"
                for use, partial in arrived:
                    assert oracle.bits(partial, expected[use - 1]), f"{name} #{use}, iteration {t}"
                    compared += 1
    return compared


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("uses", [0, 1, 2, 3, 4, 5, 6, None])
@pytest.mark.parametrize("net", ["module", "parameter"])
def test_partials_equal_untied_gradients(net, uses, optimizer):
    least = 3 * 4
    assert run_and_compare(net, uses, 11, optimizer) >= least + 3 * (uses or 0)


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (3, 7, 2, 1), (16, 4, 5, 3), (64, 30, 33, 10)])
def test_partials_equal_untied_gradients_for_any_size(sizes, number):
    assert run_and_compare("module", None, number, "sgd momentum decay", sizes, 4) > 0


def test_tutorial_size():
    assert run_and_compare("module", 3, 0, "sgd momentum decay", (64, 1000, 100, 10), 2) == 2 * (4 + 6)


def train_and_remember(net, uses, keep, backwards, iterations=3):
    """Return (events, {(iteration, name): (carried, .grad after each backward)})."""
    seed(5)
    model, x, y = make_net(net, uses)
    stepper = OPTIMIZERS["sgd momentum decay"](model.parameters())
    truth = {}
    with probed() as seen:
        for t in range(1, iterations + 1):
            stepper.zero_grad(set_to_none=not keep)
            for r in range(1, backwards + 1):
                carried = {n: None if p.grad is None else p.grad.clone() for n, p in model.named_parameters()}
                oracle.squares(model(x), y).backward()
                for n, p in model.named_parameters():
                    truth[t, r, n] = carried[n], None if p.grad is None else p.grad.clone()
            stepper.step()
    return seen.events, truth


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("backwards", [1, 2, 3])
@pytest.mark.parametrize("uses", [0, 1, 3, 6, None])
@pytest.mark.parametrize("net", ["module", "parameter"])
def test_running_sum_is_grad_bit_for_bit(net, uses, backwards, keep):
    events, truth = train_and_remember(net, uses, keep, backwards)
    exact = 0
    for (t, r, name), (carried, grad) in truth.items():
        run = ledger(events, t, name).runs[r - 1]
        assert (run.carried is None) == (carried is None)
        assert carried is None or oracle.bits(run.carried.value, carried)
        if not run.uses:
            assert run.grad is None and (carried is None) == (grad is None)
            continue
        values = [p.value for p in run.partials]
        assert oracle.bits(oracle.arrival_sum(reversed(values), carried), grad)
        assert oracle.bits(run.grad.value, grad)
        assert oracle.bits(run.running().value, grad)
        assert run.exact() is True
        exact += 1
    assert exact > 0


@pytest.mark.parametrize("net", ["module", "parameter"])
def test_grad_is_none_until_accumulated(net):
    """`.grad` does not grow use by use, and the ledger says so at each event."""
    seed(1)
    model, x, y = make_net(net, 3)
    name = "middle_linear.weight" if net == "module" else "e"
    parameter = dict(model.named_parameters())[name]
    story = []

    def look(event):
        if isinstance(event, (BackwardStarted, BackwardUse, Accumulated)):
            story.append((type(event).__name__, getattr(event, "parameter", None), parameter.grad is None))
            run = ledger(seen.events, 1, name).latest
            assert (run.grad is None) == (parameter.grad is None)

    with probed(look) as seen:
        oracle.squares(model(x), y).backward()
    at = story.index(("Accumulated", name, False))
    assert at >= 4
    assert all(none for _, _, none in story[:at])
    assert not any(none for _, _, none in story[at:])


def test_weight_and_bias_are_accumulated_separately():
    """With two uses the order is bias#2, weight#2, bias#1, ACC bias, weight#1, ACC weight."""
    seed(0)
    model, x, y = make_net("module", 2)
    with probed() as seen:
        oracle.squares(model(x), y).backward()
    order = []
    for e in seen.events:
        if isinstance(e, BackwardUse) and e.use.parameter.startswith("middle"):
            order.append(f"{e.use.parameter.rpartition('.')[2]}#{e.use.number}")
        elif isinstance(e, Accumulated) and e.parameter.startswith("middle"):
            order.append(f"ACC {e.parameter.rpartition('.')[2]}")
    assert order == ["bias#2", "weight#2", "bias#1", "ACC bias", "weight#1", "ACC weight"]


def test_a_partial_stays_intact_after_clipping_and_stepping():
    """The reference is kept, not a clone: the engine must neither add into it nor steal it as `.grad`."""
    seed(3)
    model, x, y = make_net("module", 1)
    truth = oracle.untied_partials(oracle.module_net, oracle.state_of(model), x, y, 1)
    stepper = OPTIMIZERS["sgd"](model.parameters())
    with probed() as seen:
        oracle.squares(model(x), y).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
        stepper.step()
        stepper.zero_grad(set_to_none=False)
    for name, expected in truth.items():
        assert oracle.bits(partials(seen.events, 1, name)[0][1], expected[0])
