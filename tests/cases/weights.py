"""5. Weights that move in another way than by the one step of the one optimizer."""

import copy

import torch
from cases.case import case
from cases.loops import times
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def net_and_loss(look):
    """A net that is used twice, and its loss."""
    net, x = nn.Linear(3, 3), torch.randn(4, 3)
    look(net)
    return net, lambda: net(torch.tanh(net(x))).square().mean()


def by_hand(update):
    def program(look):
        net, x = nn.Linear(3, 3), torch.randn(4, 3)
        look(net)
        for _ in times(3):
            net(torch.tanh(net(x))).square().mean().backward()
            update(net)
            for p in net.parameters():
                p.grad = None

    return program


def in_place(net):
    with torch.no_grad():
        for p in net.parameters():
            p -= 0.1 * p.grad


def through_data(net):
    for p in net.parameters():
        p.data.add_(p.grad, alpha=-0.1)


def assigned_data(net):
    for p in net.parameters():
        p.data = p.data - 0.1 * p.grad


TWICE = {"weight": 2}
BY_HAND = {"iteration": 2, "says": ["without an optimizer"], "never": ["step() moved"]}
case(5, "an update by hand", TWICE, **BY_HAND)(by_hand(in_place))
case(5, "writes to .data", TWICE, **BY_HAND)(by_hand(through_data))
case(5, ".data assigned", TWICE, **BY_HAND)(by_hand(assigned_data))


@case(5, "a new leaf in the place of the old one", {"w": 2}, iteration=2, says=["A new tensor", "without an optimizer"])
def new_leaves(look):
    w, x = torch.randn(3, requires_grad=True), torch.randn(4, 3)
    for _ in times(3):
        look(w=w)
        ((x @ w).tanh() + x @ w).square().mean().backward()
        w = (w - 0.1 * w.grad).detach().requires_grad_()


@case(
    5, "a new Parameter in the place of the old one", TWICE, iteration=2, says=["A new tensor", "without an optimizer"]
)
def new_parameters(look):
    net, x = nn.Linear(3, 3, bias=False), torch.randn(4, 3)
    for _ in times(3):
        look(net)
        net(torch.tanh(net(x))).square().mean().backward()
        net.weight = nn.Parameter(net.weight.detach() - 0.1 * net.weight.grad)


@case(5, "an attack: a new input by its own gradient", {"x": 1}, iteration=2, labels=["not accumulated"])
def attack(look):
    net, x = nn.Linear(3, 3), torch.randn(4, 3, requires_grad=True)
    for _ in times(3):
        look(x=x)
        (grad,) = torch.autograd.grad(net(x).square().mean(), x)
        x = (x + 0.1 * grad.sign()).detach().requires_grad_()


def stepping(make, **settings):
    def program(look):
        net, x = nn.Linear(3, 3), torch.randn(4, 3)
        look(net)
        optimizer = make(net.parameters(), lr=0.1, **settings)
        for _ in times(3):
            optimizer.zero_grad()
            net(torch.tanh(net(x))).square().mean().backward()
            optimizer.step()

    return program


STEPPED = {"iteration": 2, "says": ["step() moved"], "never": ["unexplained", "without an optimizer"]}
case(5, "SGD, fused", TWICE, **STEPPED)(stepping(torch.optim.SGD, fused=True, momentum=0.9))
case(5, "SGD, foreach", TWICE, **STEPPED)(stepping(torch.optim.SGD, foreach=True, momentum=0.9))
case(5, "Adam, fused", TWICE, **STEPPED)(stepping(torch.optim.Adam, fused=True))
case(5, "AdamW, foreach", TWICE, **STEPPED)(stepping(torch.optim.AdamW, foreach=True))
case(5, "RMSprop: terms not known", TWICE, **STEPPED)(stepping(torch.optim.RMSprop))


BOTH = [
    "step() moved",
    "2 steps in one iteration: SGD lr=0.1 by",
    "then Adam lr=0.01 betas=0.9,0.999 by",
    "Before that, SGD",
]


@case(5, "two optimizers have it, one after the other", TWICE, iteration=2, findings=["moved-twice"], says=BOTH)
def two_optimizers(look):
    net, loss = net_and_loss(look)
    optimizers = [torch.optim.SGD(net.parameters(), lr=0.1), torch.optim.Adam(net.parameters(), lr=0.01)]
    for _ in times(3):
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss().backward()
        for optimizer in optimizers:
            optimizer.step()


@case(5, "an optimizer whose step is differentiated", {"w": 2}, runs=2, iteration=2, copies=False)
def differentiable(look):
    w, x = nn.Parameter(torch.randn(3)), torch.randn(5, 3)
    look(w=w)
    outer = torch.optim.SGD([w], lr=0.05)
    for _ in times(3):
        outer.zero_grad()
        fast = w.clone()
        inner = torch.optim.SGD([fast], lr=0.1, differentiable=True)
        (fast.grad,) = torch.autograd.grad((x @ fast).square().mean(), fast, create_graph=True)
        inner.step()
        (x @ fast).square().mean().backward()
        outer.step()


class Lion(torch.optim.Optimizer):
    """Somebody else's optimizer."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    momentum = self.state[p].setdefault("momentum", torch.zeros_like(p))
                    p.add_(torch.sign(0.9 * momentum + 0.1 * p.grad), alpha=-group["lr"])
                    momentum.mul_(0.99).add_(p.grad, alpha=0.01)


case(5, "an optimizer of somebody else's", TWICE, **STEPPED)(stepping(Lion))


class SAM(torch.optim.Optimizer):
    """Climbs, looks, comes back, and steps with another optimizer."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})
        self.inner = torch.optim.SGD(self.param_groups, lr=lr)
        self.climbs = {}

    @torch.no_grad()
    def step(self, closure):
        with torch.enable_grad():
            closure()
        mine = [p for group in self.param_groups for p in group["params"]]
        for p in mine:
            self.climbs[p] = p.grad * 0.05
            p.add_(self.climbs[p])
        self.zero_grad()
        with torch.enable_grad():
            closure()
        for p in mine:
            p.sub_(self.climbs[p])
        self.inner.step()
        self.zero_grad()


@case(5, "SAM: two backwards and a step within a step", TWICE, says=["step() moved"], never=["without an optimizer"])
def sam(look):
    net, loss = net_and_loss(look)
    optimizer = SAM(net.parameters(), lr=0.1)

    def closure():
        result = loss()
        result.backward()
        return result

    for _ in times(2):
        optimizer.step(closure)


SAID_OF_SAM = ["did not all look at the same weights (as SAM wants it)", "The gradient of backward 1 was cleared"]


@case(5, "SAM in two calls: a climb between two backwards", TWICE, iteration=2, says=SAID_OF_SAM)
def sam_in_two_calls(look):
    net, loss = net_and_loss(look)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in times(3):
        loss().backward()
        climbs = [(p, p.grad * 0.05) for p in net.parameters()]
        with torch.no_grad():
            for p, climb in climbs:
                p.add_(climb)
        optimizer.zero_grad()
        loss().backward()
        with torch.no_grad():
            for p, climb in climbs:
                p.sub_(climb)
        optimizer.step()
        optimizer.zero_grad()


@case(5, "an optimizer in the backward", TWICE, says=["step() moved"], never=["without an optimizer"])
def in_the_backward(look):
    net, loss = net_and_loss(look)
    for p in net.parameters():
        optimizer = torch.optim.SGD([p], lr=0.1)

        def update(p, optimizer=optimizer):
            optimizer.step()
            optimizer.zero_grad()

        p.register_post_accumulate_grad_hook(update)
    for _ in times(2):
        loss().backward()


@case(5, "an average of the weights (EMA)", {"net.weight": 2}, iteration=2)
def averaged(look):
    net, x = nn.Linear(3, 3), torch.randn(4, 3)
    look(**{"net.weight": net.weight})
    average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in times(3):
        optimizer.zero_grad()
        net(torch.tanh(net(x))).square().mean().backward()
        optimizer.step()
        average.update_parameters(net)
        with torch.no_grad():
            average(x)


@case(5, "a copy of one's own that follows", {"net.weight": 2}, iteration=2)
def shadow(look):
    net, x = nn.Linear(3, 3), torch.randn(4, 3)
    look(**{"net.weight": net.weight})
    slow = copy.deepcopy(net).requires_grad_(False)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in times(3):
        optimizer.zero_grad()
        (net(torch.tanh(net(x))) - slow(x)).square().mean().backward()
        optimizer.step()
        with torch.no_grad():
            for mine, theirs in zip(slow.parameters(), net.parameters(), strict=True):
                mine.lerp_(theirs, 0.1)


@case(5, "a parameter that is added later", {"net.0.weight": 2, "net.1.weight": 1}, iteration=2)
def added(look):
    net, later, x = nn.Sequential(nn.Linear(3, 3)), nn.Linear(3, 3), torch.randn(4, 3)
    look(**{"net.0.weight": net[0].weight, "net.1.weight": later.weight})
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for t in times(3):
        if t == 1:
            net.append(later)
            optimizer.add_param_group({"params": list(later.parameters())})
        optimizer.zero_grad()
        net(torch.tanh(net[0](x))).square().mean().backward()
        optimizer.step()


def frozen(look):
    net, x = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)), torch.randn(4, 3)
    look(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for t in times(3):
        if t == 1:
            net[0].requires_grad_(False)
        optimizer.zero_grad()
        net[1](net(x)).square().mean().backward()
        optimizer.step()


case(5, "a parameter that is frozen later", {"0.weight": 0}, runs=0, iteration=2)(frozen)
case(5, "what stays when another is frozen", {"1.weight": 2}, iteration=2)(frozen)


OUTSIDE = {"findings": ["no-optimizer"], "says": ["net.weight is in no group of this optimizer"]}


@case(5, "a parameter that takes another's place", {"net.weight": 2}, iteration=2, **OUTSIDE)
def replaced(look):
    net, x = nn.Linear(3, 3), torch.randn(4, 3)
    look(**{"weight": net.weight})
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for t in times(3):
        if t == 1:
            net.weight = nn.Parameter(torch.randn(3, 3))
            look(**{"net.weight": net.weight})
        optimizer.zero_grad()
        net(torch.tanh(net(x))).square().mean().backward()
        optimizer.step()


@case(5, "load_state_dict midway", {"weight": 2}, iteration=2, says=["also moved without an optimizer"])
def loaded(look):
    net, loss = net_and_loss(look)
    state = copy.deepcopy(net.state_dict())
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for t in times(3):
        if t == 1:
            net.load_state_dict(state)
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()


def zeroing(order, **settings):
    def program(look):
        net, loss = net_and_loss(look)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        steps = {
            "zero": lambda: optimizer.zero_grad(**settings),
            "backward": lambda: loss().backward(),
            "step": optimizer.step,
        }
        for _ in times(3):
            for name in order.split():
                steps[name]()

    return program


EARLIER = {"findings": ["carried-in:earlier-iteration"], "says": ["Carried in"]}
case(5, "zero_grad before", TWICE, iteration=2)(zeroing("zero backward step"))
case(5, "zero_grad after", TWICE, iteration=2)(zeroing("backward step zero"))
case(5, "zero_grad to zeros", TWICE, iteration=2)(zeroing("zero backward step", set_to_none=False))
case(5, "zero_grad between two backwards", TWICE, iteration=2)(zeroing("backward zero backward step zero"))
case(5, "no zero_grad", TWICE, iteration=2, **EARLIER)(zeroing("backward step"))


@case(5, "momentum moves what has a gradient of zero", {"w": 1}, iteration=2, findings=["moved-without-gradient"])
def coasting(look):
    w, x = nn.Parameter(torch.randn(3)), torch.randn(3)
    look(w=w)
    optimizer = torch.optim.SGD([w], lr=0.1, momentum=0.9)
    for t in times(3):
        optimizer.zero_grad()
        (float(t == 0) * w * x).sum().backward()
        optimizer.step()


@case(5, "a gradient of None is skipped", {"w": 0}, runs=0, iteration=2, says=["no gradient"], never=["step() moved w"])
def skipped(look):
    w, v = nn.Parameter(torch.randn(3)), nn.Parameter(torch.randn(3))
    look(w=w)
    optimizer = torch.optim.SGD([w, v], lr=0.1, momentum=0.9)
    for t in times(3):
        optimizer.zero_grad()
        (w * v if t == 0 else v).sum().backward()
        optimizer.step()
