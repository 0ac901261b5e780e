"""What of torch meets hooks: checkpoints, func, vmap, functional_call, autocast, LBFGS, hooks, manual updates."""

import copy
import gc
import weakref

import torch
from torch.func import functional_call, grad, vmap
from torch.utils.checkpoint import checkpoint
from training import Net, loss_of, model, optimizer, save, step


def func():
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    x = torch.randn(4, 4)

    def loss(parameters, x):
        return functional_call(model, parameters, (x,)).square().sum()

    print({name: g.norm().item() for name, g in grad(loss)(parameters, x).items()})
    per_sample = vmap(grad(loss), in_dims=(None, 0))(parameters, x)
    print({name: (list(g.shape), g.norm().item()) for name, g in per_sample.items()})
    print(torch.autograd.functional.hessian(lambda x: model(x).sum(), x[:1]).norm().item())


def recompute():
    for reentrant in (False, True):
        x = torch.randn(4, 4, requires_grad=True)
        checkpoint(model, x, use_reentrant=reentrant).sum().backward()
    print([p.grad.norm().item() for p in model.parameters()])
    optimizer.step()
    optimizer.zero_grad()


def mixed():
    scaler = torch.amp.GradScaler("cpu")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = loss_of()
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    print(torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1).item())
    scaler.step(optimizer)
    scaler.update()
    print(scaler.get_scale())


def other_optimizers():
    net = Net()
    lbfgs = torch.optim.LBFGS(net.parameters(), max_iter=3)

    def closure():
        lbfgs.zero_grad()
        loss = net(torch.ones(2, 4)).square().sum()
        loss.backward()
        return loss

    print(lbfgs.step(closure).item())
    net = copy.deepcopy(net)
    for kind in (torch.optim.AdamW, torch.optim.RMSprop, torch.optim.NAdam):
        one = kind(net.parameters(), lr=0.01)
        loss_of(net).backward()
        one.step()
    print([p.sum().item() for p in net.parameters()])


def by_hand():
    loss_of().backward(retain_graph=True)
    with torch.no_grad():
        for p in model.parameters():
            p -= 0.1 * p.grad
            p.data.mul_(0.99)
            p.grad = None
    x = torch.randn(3, 4, requires_grad=True)
    (g,) = torch.autograd.grad(model(x).sum(), [x], create_graph=True)
    g.square().sum().backward()
    print([None if p.grad is None else p.grad.norm().item() for p in model.parameters()])
    handle = model.cell.weight.register_hook(lambda g: 2 * g)
    model.cell.weight.register_post_accumulate_grad_hook(lambda p: print("accumulated", list(p.shape)))
    loss_of().backward()
    handle.remove()
    print(model.cell.weight.grad.norm().item(), model.cell.weight._backward_hooks)
    for name in ("backward", "grad"):
        print(getattr(torch.autograd, name).__module__, getattr(torch.autograd, name).__name__)


def what_dies():
    net = Net()
    one = torch.optim.SGD(net.parameters(), lr=0.1)
    loss = loss_of(net)
    loss.backward()
    one.step()
    refs = [weakref.ref(thing) for thing in (loss, net, one, net.cell.weight)]
    del loss, net, one
    gc.collect()
    print([ref() is None for ref in refs])


step()
for part in (func, recompute, mixed, other_optimizers, by_hand, what_dies):
    print("--", part.__name__)
    part()
step()
save()
