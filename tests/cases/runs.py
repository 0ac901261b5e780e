"""3. Odd runs of the engine: nested, repeated, partial, without accumulation, by other threads."""

import copy
import threading

import torch
from cases.case import case
from cases.hidden import thrice
from cases.loops import times, train
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.utils.checkpoint import checkpoint


def checkpointed(reentrant):
    def program(look):
        net, x = nn.Linear(3, 3), torch.randn(4, 3, requires_grad=True)
        look(net)
        train(net.parameters(), lambda: thrice(lambda h: checkpoint(net, h, use_reentrant=reentrant), x).sum())

    return program


CARRIED = ["carried-in:same-iteration"]
case(3, "checkpoint, reentrant", {"weight": 3, "bias": 3}, runs=3)(checkpointed(True))
case(3, "checkpoint, not reentrant", {"weight": 3, "bias": 3})(checkpointed(False))


@case(3, "a backward within a backward", {"weight": 2, "bias": 2}, runs=2, in_order=False)
def nested(look):
    net, x = nn.Linear(3, 3), torch.randn(4, 3)
    look(net)

    def inner(gradient):
        with torch.enable_grad():
            net(x).square().mean().backward()

    def loss():
        h = net(x)
        h.register_hook(inner)
        return h.sum()

    train(net.parameters(), loss)


@case(3, "accumulation over three backwards", {"weight": 6, "bias": 6}, iteration=2, runs=3, findings=CARRIED)
def accumulation(look):
    net, data = nn.Linear(3, 3), torch.randn(3, 4, 3)
    look(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in times(2):
        for x in data:
            net(torch.tanh(net(x))).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def gan(look):
    generator, critic, z, real = nn.Linear(2, 3), nn.Linear(3, 1), torch.randn(4, 2), torch.randn(4, 3)
    look(**{f"generator.{name}": p for name, p in generator.named_parameters()})
    look(**{f"critic.{name}": p for name, p in critic.named_parameters()})
    of_critic = torch.optim.SGD(critic.parameters(), lr=0.1)
    of_generator = torch.optim.SGD(generator.parameters(), lr=0.1)
    for _ in times(2):
        of_critic.zero_grad()
        critic(real).sigmoid().log().mean().neg().backward()
        (1 - critic(generator(z).detach()).sigmoid()).log().mean().neg().backward()
        of_critic.step()
        of_generator.zero_grad()
        critic(generator(z)).sigmoid().log().mean().neg().backward()
        of_generator.step()


case(3, "GAN, the critic's turn", {"critic.weight": 2}, runs=2, findings=CARRIED)(gan)
case(3, "GAN, the generator's turn", {"generator.weight": 1}, iteration=2)(gan)
case(
    3, "GAN, what leaks into the critic", {"critic.weight": 1}, iteration=2, findings=["carried-in:earlier-iteration"]
)(gan)


@case(3, "LBFGS: many backwards in one step", {"weight": 2})
def lbfgs(look):
    net, x = nn.Linear(3, 3), torch.randn(4, 3)
    look(net)
    optimizer = torch.optim.LBFGS(net.parameters(), lr=0.1, max_iter=4, history_size=2)

    def closure():
        optimizer.zero_grad()
        loss = net(torch.tanh(net(x))).square().mean()
        loss.backward()
        return loss

    for _ in times(1):
        optimizer.step(closure)


@case(3, "retain_graph: two backwards of one graph", {"weight": 4}, runs=2, findings=CARRIED)
def retained(look):
    net, x = nn.Linear(3, 3), torch.randn(4, 3)
    look(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in times(1):
        loss = net(torch.tanh(net(x))).square().mean()
        loss.backward(retain_graph=True)
        loss.backward()
        optimizer.step()


def penalty_by_hand(look):
    net, x = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), torch.randn(4, 3, requires_grad=True)
    look(net)
    torch.autograd.grad(net(x).sum(), x)
    h = torch.tanh(net[0](x))
    slope = ((1 - h.square()) * net[2].weight) @ net[0].weight
    (net[2](h).sum() + (slope.square().sum(1) - 1).square().mean()).backward()


@case(
    3,
    "gradient penalty: a graph through a gradient",
    {"0.weight": 3},
    edges={"0.weight": 2},
    runs=2,
    untied=penalty_by_hand,
    rounding="the derivative of tanh, written by hand",
    in_order=False,
)
def gradient_penalty(look):
    net, x = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), torch.randn(4, 3, requires_grad=True)
    look(net)

    def loss():
        out = net(x).sum()
        (slope,) = torch.autograd.grad(out, x, create_graph=True)
        return out + (slope.square().sum(1) - 1).square().mean()

    train(net.parameters(), loss)


@case(3, "autograd.grad, and an update by hand", {"weight": 2}, labels=["not accumulated"])
def by_grad(look):
    net, x = nn.Linear(3, 3), torch.randn(4, 3)
    look(net)
    for _ in times(2):
        grads = torch.autograd.grad(net(torch.tanh(net(x))).square().mean(), list(net.parameters()))
        with torch.no_grad():
            for p, g in zip(net.parameters(), grads, strict=True):
                p -= 0.1 * g


@case(
    3,
    "backward(inputs=…): not computed",
    {"0.weight": 1},
    labels=["not accumulated"],
    findings=["no-gradient:not-computed"],
    says=["not computed by this run"],
)
def for_inputs(look):
    net, x = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1)), torch.randn(4, 3)
    look(net)
    for _ in times(1):
        net(x).sum().backward(inputs=[net[1].weight])


@case(3, "torch.func.grad", {"weight": 0}, runs=0)
def functional_grad(look):
    net, x = nn.Linear(3, 1), torch.randn(4, 3)
    look(net)
    weights = {name: p.detach() for name, p in net.named_parameters()}
    for _ in times(2):
        grads = grad(lambda w: functional_call(net, w, (x,)).square().mean())(weights)
        weights = {name: w - 0.1 * grads[name] for name, w in weights.items()}


@case(
    3,
    "vmap over the samples",
    {"weight": 1},
    inside=4,
    findings=["not-split"],
    says=["4 calls are inside one operation"],
    copies=False,
)
def batched(look):
    net, x = nn.Linear(3, 3), torch.randn(4, 3)
    look(net)
    train(net.parameters(), lambda: vmap(net)(x).square().mean())


@case(3, "MAML: an inner step that is differentiated", {"weight": 3}, runs=2, in_order=False)
def maml(look):
    net, x = nn.Linear(3, 1), torch.randn(4, 3)
    look(net)

    def loss():
        inner = net(x).square().mean()
        grads = torch.autograd.grad(inner, list(net.parameters()), create_graph=True)
        fast = {n: p - 0.1 * g for (n, p), g in zip(net.named_parameters(), grads, strict=True)}
        return functional_call(net, fast, (x + 1,)).square().mean()

    train(net.parameters(), loss)


@case(3, "a graph that is never run backward", {"weight": 1})
def never_backward(look):
    net, x = nn.Linear(3, 3), torch.randn(4, 3)
    look(net)

    def loss():
        net(x).sum()
        return net(x).square().mean()

    train(net.parameters(), loss)


@case(3, "backward from a thread, for which the others wait", {"weight": 2}, never=["everal threads"])
def from_a_thread(look):
    net, x = nn.Linear(3, 3), torch.randn(4, 3)
    look(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in times(2):
        optimizer.zero_grad()
        thread = threading.Thread(target=net(torch.tanh(net(x))).square().mean().backward)
        thread.start()
        thread.join(60)
        optimizer.step()


@case(3, "two threads that run backward", {"weight": 2}, iteration=2, labels=["several threads train"])
def from_two_threads(look):
    net, x, v = nn.Linear(3, 3), torch.randn(4, 3), torch.ones(1, requires_grad=True)
    look(net)
    optimizer, done = torch.optim.SGD(net.parameters(), lr=0.1), threading.Event()

    def helps():
        v.square().sum().backward()
        ready.set()
        done.wait(60)

    ready = threading.Event()
    thread = threading.Thread(target=helps)
    thread.start()
    ready.wait(60)
    for _ in times(2):
        optimizer.zero_grad()
        net(torch.tanh(net(x))).square().mean().backward()
        optimizer.step()
    done.set()
    thread.join(60)


@case(3, "a copy that learns, too", {"net.weight": 1}, findings=["untied"])
def copied(look):
    net, x = nn.Linear(3, 3), torch.randn(4, 3)
    twin = copy.deepcopy(net)
    look(**{"net.weight": net.weight, "twin.weight": twin.weight})
    train([*net.parameters(), *twin.parameters()], lambda: (net(x) * twin(x)).square().mean())
