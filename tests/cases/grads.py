"""4. `.grad` is not the sum of the partials: something changes it between the backward and the step."""

import torch
from cases.case import case
from cases.loops import times, train
from torch import nn


def with_edit(edit):
    """A loop that does something to the gradients before the step."""

    def program(look):
        net, x = nn.Linear(3, 3), torch.randn(4, 3)
        look(net)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in times(2):
            optimizer.zero_grad()
            net(torch.tanh(net(x))).square().sum().backward()
            edit(net)
            optimizer.step()

    return program


TWICE = {"weight": 2, "bias": 2}
SCALED = {"labels": ["scaled by *"], "says": ["clipped or scaled after the backward: every element times"]}
CHANGED = {"labels": ["changed"], "says": ["not by one factor"]}


case(4, "clip_grad_norm_", TWICE, **SCALED)(with_edit(lambda net: nn.utils.clip_grad_norm_(net.parameters(), 0.5)))
case(4, "clip_grad_norm_ of a small gradient", TWICE, never=["clipped", "changed after"])(
    with_edit(lambda net: nn.utils.clip_grad_norm_(net.parameters(), 1e6))
)
case(4, "clip_grad_value_", {"weight": 2}, **CHANGED)(
    with_edit(lambda net: nn.utils.clip_grad_value_(net.parameters(), 0.5))
)
case(4, "a gradient divided by hand", TWICE, **SCALED)(
    with_edit(lambda net: [p.grad.div_(4) for p in net.parameters()])
)
case(4, "noise added to a gradient", TWICE, **CHANGED)(
    with_edit(lambda net: [p.grad.add_(torch.randn_like(p)) for p in net.parameters()])
)
case(4, "another gradient assigned", TWICE, **CHANGED)(
    with_edit(lambda net: [setattr(p, "grad", torch.ones_like(p)) for p in net.parameters()])
)
CLEARED = {"findings": ["cleared-before-step"], "says": ["its gradient was cleared before the step"]}
case(4, "cleared before the step", {"weight": 0}, runs=0, **CLEARED)(with_edit(lambda net: net.zero_grad()))


def scaled_loss(iterations=2, size=1.0, **settings):
    def program(look):
        net, x = nn.Linear(3, 3), torch.randn(4, 3)
        look(net)
        optimizer, scaler = torch.optim.SGD(net.parameters(), lr=0.1), torch.amp.GradScaler("cpu", **settings)
        for _ in times(iterations):
            optimizer.zero_grad()
            scaler.scale(size * net(torch.tanh(net(x))).square().sum()).backward()
            scaler.step(optimizer)
            scaler.update()

    return program


case(4, "GradScaler", TWICE, **SCALED)(scaled_loss())
case(4, "GradScaler, disabled", TWICE, never=["scaled", "changed after"])(scaled_loss(enabled=False))
case(
    4,
    "GradScaler, a step that is skipped",
    TWICE,
    findings=["not-finite"],
    never=["step() moved"],
)(scaled_loss(iterations=1, size=1e6, init_scale=2.0**120))


def hooked(hook, uses):
    def program(look):
        net, x = nn.Linear(3, 3), torch.randn(4, 3)
        look(net)
        net.weight.register_hook(hook)

        def loss():
            h = x
            for _ in range(uses):
                h = torch.tanh(net(h))
            return h.square().sum()

        train(net.parameters(), loss)

    return program


HOOKED = {"labels": ["a hook of the program's"], "in_order": False}
case(4, "a hook that doubles", {"weight": 2}, **HOOKED)(hooked(lambda grad: grad * 2, 2))
case(4, "a hook that doubles in place", {"weight": 2}, **HOOKED)(hooked(lambda grad: grad.mul_(2), 2))
case(4, "a hook that doubles in place, one use", {"weight": 1}, **HOOKED)(hooked(lambda grad: grad.mul_(2), 1))
case(4, "a hook that only looks", {"weight": 2}, never=["a hook of the program's changed"])(
    hooked(lambda grad: None, 2)
)


@case(4, "a hook after the accumulation that halves", {"weight": 2}, **SCALED)
def post_accumulate(look):
    net, x = nn.Linear(3, 3), torch.randn(4, 3)
    look(net)

    def halve(p):
        p.grad.mul_(0.5)

    net.weight.register_post_accumulate_grad_hook(halve)
    train(net.parameters(), lambda: net(torch.tanh(net(x))).square().sum())


@case(4, "sparse gradients of an embedding", {"weight": 2})
def sparse(look):
    net, x = nn.Embedding(9, 3, sparse=True), torch.tensor([1, 4, 4])
    look(net)
    train(net.parameters(), lambda: (net(x) * net(x + 1)).square().sum())
