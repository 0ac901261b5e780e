"""Training loops of every kind: the rows agree with the same loop in plain torch."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

DATA = [torch.randn(5, 3, generator=torch.Generator().manual_seed(n)) for n in range(3)]


class Net(nn.Module):
    """One layer, used twice."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 3)

    def forward(self, x):
        return self.layer(self.layer(x).tanh()).square().mean()


def lbfgs(net, step):
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=3)
    for x in DATA[:2]:

        def closure(x=x):
            optimizer.zero_grad()
            loss = net(x)
            loss.backward()
            step.runs += 1
            return loss

        optimizer.step(closure)
        step()


def closure_of_sgd(net, step):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    for x in DATA:

        def closure(x=x):
            optimizer.zero_grad()
            loss = net(x)
            loss.backward()
            step.runs += 1
            return loss

        optimizer.step(closure)
        step()


def in_backward(net, step):
    own = {p: torch.optim.SGD([p], lr=0.1, momentum=0.9) for p in net.parameters()}

    def update(p):
        step.grads.append(p.grad.clone())
        own[p].step()
        own[p].zero_grad()

    for p in net.parameters():
        p.register_post_accumulate_grad_hook(update)
    for x in DATA:
        net(x).backward()
        step.runs += 1
        step()


def two_optimizers(net, step):
    weight, bias = torch.optim.SGD([net.layer.weight], lr=0.1), torch.optim.Adam([net.layer.bias], lr=0.1)
    for x in DATA:
        weight.zero_grad()
        bias.zero_grad()
        net(x).backward()
        step.runs += 1
        weight.step()
        bias.step()
        step()


def scaled(net, step):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    for x in DATA:
        optimizer.zero_grad()
        scaler.scale(net(x)).backward()
        step.runs += 1
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
        step()


def checkpointed(net, step):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for x in DATA:
        optimizer.zero_grad()
        h = checkpoint(net.layer, x.clone().requires_grad_(), use_reentrant=False)
        checkpoint(net.layer, h.tanh(), use_reentrant=False).square().mean().backward()
        step.runs += 1
        optimizer.step()
        step()


def by_hand(net, step):
    for x in DATA:
        net(x).backward()
        step.runs += 1
        with torch.no_grad():
            for p in net.parameters():
                p -= 0.1 * p.grad
        step()
        net.zero_grad()


def double(net, step):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for x in DATA:
        optimizer.zero_grad()
        x = x.clone().requires_grad_()
        loss = net(x)
        (slope,) = torch.autograd.grad(loss, x, create_graph=True)
        step.runs += 2
        (loss + slope.square().sum()).backward()
        optimizer.step()
        step()


LOOPS = [lbfgs, closure_of_sgd, in_backward, two_optimizers, scaled, checkpointed, by_hand, double]


class Told:
    """What the loop itself saw at the end of each iteration."""

    def __init__(self, net):
        self.net, self.rows, self.grads, self.runs = net, [], [], 0
        self.before = net.layer.weight.detach().clone()

    def __call__(self):
        weight = self.net.layer.weight
        grad = weight.grad if weight.grad is not None else next(g for g in self.grads if g.shape == weight.shape)
        moved = weight.detach().double() - self.before.double()
        self.rows.append((self.runs, size(grad), size(moved)))
        self.before, self.grads, self.runs = weight.detach().clone(), [], 0


def size(t):
    return torch.linalg.vector_norm(t.detach().double()).item()


def run(loop):
    """Plainly; return what it told, and the trained weight."""
    net = Net()
    told = Told(net)
    loop(net, told)
    return told.rows, net.layer.weight


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.__name__)
def test_each_loop_has_the_rows_of_plain_torch(collect, loop):
    told, weight = run(loop)
    again = []
    report = collect(lambda: again.append(run(loop)))
    rows = [line.row for line in report.lines if line.row.names == ("layer.weight",)]
    assert [(row.runs, row.grad_norm, row.update_norm) for row in rows] == told
    assert torch.equal(weight, again[0][1])
    for row in rows:
        assert row.uses == len(row.partial_norms) >= 2 * (row.runs if loop is not double else 1)
        # An iteration is exact, or says what changed its gradient.
        assert (row.exact, row.labels) == ((None, ("scaled by 0.125",)) if loop is scaled else (True, ()))
        assert row.weight_moved and row.findings == ()


def test_an_evaluation_after_the_last_step_is_no_iteration(collect):
    def program():
        net = Net()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        net(DATA[0]).backward()
        optimizer.step()
        net(DATA[1])
        with torch.no_grad():
            net(DATA[2])

    assert {line.row.iteration for line in collect(program).lines} == {1}


def test_a_backward_that_fails_tells_what_had_arrived(collect):
    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            raise RuntimeError("no")

    def program():
        net = nn.Linear(3, 3)
        with pytest.raises(RuntimeError):
            net(Broken.apply(net(DATA[0]))).sum().backward()

    row = collect(program).line("weight").row
    assert (row.uses, row.grad_norm, row.exact, row.labels) == (2, None, None, ("not accumulated",))
    assert row.partial_norms[0] > 0 and row.partial_norms[1] is None


# -- cleared between backward and step, checkpoints ----------------------------------------------


@pytest.mark.parametrize("how,left", [("zero_grad", "None"), ("zeros", "zeros"), ("by hand", "None")])
def test_a_gradient_that_is_cleared_before_the_step_is_found(collect, how, left):
    def program():
        layer = nn.Linear(2, 1)
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
        for _ in range(2):
            layer(torch.ones(1, 2)).sum().backward()
            if how == "by hand":
                layer.weight.grad = layer.bias.grad = None
            else:
                optimizer.zero_grad(set_to_none=how == "zero_grad")
            optimizer.step()

    report = collect(program)
    for n in (1, 2):
        assert report.slugs("weight", n) == {"cleared-before-step"}
        text = f"a backward left a gradient, and {left} was there when SGD came to read it"
        assert report.text("cleared-before-step", "weight", n) == text
        assert report.line("weight", n).row.weight_moved is False


def test_zeroing_at_any_other_time_is_no_finding(collect):
    """Before the backward, after the step, of the other net's leftovers, and where the gradient is zero by itself."""

    def program():
        g, d = nn.Linear(1, 1), nn.Linear(1, 1)
        steppers = [torch.optim.SGD(net.parameters(), lr=0.1) for net in (g, d)]
        for _ in range(2):
            d(g(torch.ones(1, 1))).sum().backward()  # fills d, too
            steppers[0].step()
            steppers[1].zero_grad()
            (0 * d(torch.ones(1, 1))).sum().backward()
            steppers[1].step()
            steppers[0].zero_grad()

    report = collect(program, 9)
    assert not any("cleared-before-step" in line.row.findings for line in report.lines) and report.lines


@pytest.mark.parametrize("before", [False, True], ids=["alone", "after a backward"])
def test_the_runs_within_a_checkpoint_carry_nothing_in_by_themselves(collect, before):
    def program():
        layer = nn.Linear(2, 2, bias=False)
        if before:
            layer(torch.ones(1, 2)).sum().backward()
        x = torch.ones(1, 2, requires_grad=True)
        for _ in range(3):
            x = checkpoint(layer, x, use_reentrant=True)
        layer(x).sum().backward()

    report = collect(program)
    assert ("carried-in:same-iteration" in report.slugs("weight")) is before
    assert report.line("weight").row.exact is True and report.line("weight").row.runs == 4 + before
