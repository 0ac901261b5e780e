"""Exceptions that the program catches, wherever a hook of ours may be near; then it goes on.

It prints what they say, what they come from, and its own frames: torch has other ones where hooks are installed.
"""

import traceback

import torch
from torch.utils.checkpoint import checkpoint
from training import loss_of, model, optimizer, step


def refuse(*_):
    raise RuntimeError("refused")


class InBackward(torch.autograd.Function):
    """The identity, whose backward fails."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        raise ZeroDivisionError("in backward")


def forward_of_a_wrong_shape():
    model(torch.randn(3, 5))


def backward_of_a_function():
    InBackward.apply(loss_of()).backward()


def backward_twice():
    loss = loss_of()
    loss.backward()
    loss.backward()


def gradient_of_nothing():
    torch.autograd.grad(torch.ones(()), [torch.ones((), requires_grad=True)])


def hook_of_a_tensor():
    x = torch.ones(1, requires_grad=True)
    y = x * 2
    y.register_hook(refuse)
    y.backward()


def hook_of_a_parameter():
    handle = model.cell.weight.register_hook(refuse)
    try:
        loss_of().backward()
    finally:
        handle.remove()


def hook_of_a_module():
    handle = model.cell.register_forward_hook(refuse)
    try:
        loss_of()
    finally:
        handle.remove()


def in_a_checkpoint():
    x = torch.ones(2, 4, requires_grad=True)
    checkpoint(lambda x: InBackward.apply(model(x)), x, use_reentrant=False).sum().backward()


def in_a_reentrant_checkpoint():
    x = torch.ones(2, 4, requires_grad=True)
    checkpoint(lambda x: InBackward.apply(model(x)), x, use_reentrant=True).sum().backward()


def closure():
    optimizer.step(refuse)


def hook_of_the_optimizer():
    handle = optimizer.register_step_pre_hook(refuse)
    try:
        optimizer.step()
    finally:
        handle.remove()


def while_another_is_handled():
    try:
        forward_of_a_wrong_shape()
    except RuntimeError:
        backward_of_a_function()


def group():
    found = []
    for call in (forward_of_a_wrong_shape, backward_of_a_function):
        try:
            call()
        except Exception as error:
            found.append(error)
    raise ExceptionGroup("both", found)


def tell(error, depth=0):
    names = [frame.name for frame in traceback.extract_tb(error.__traceback__) if frame.filename == __file__]
    print("  " * depth, type(error).__name__, str(error).splitlines()[0], "in", " ".join(names))
    for other in (error.__cause__, error.__context__, *getattr(error, "exceptions", ())):
        if other is not None:
            tell(other, depth + 1)


def main():
    step()
    for call in CALLS:
        print("--", call.__name__)
        try:
            call()
        except Exception as error:
            tell(error)
    optimizer.zero_grad()
    step()


CALLS = (
    forward_of_a_wrong_shape,
    backward_of_a_function,
    backward_twice,
    gradient_of_nothing,
    hook_of_a_tensor,
    hook_of_a_parameter,
    hook_of_a_module,
    in_a_checkpoint,
    in_a_reentrant_checkpoint,
    closure,
    hook_of_the_optimizer,
    while_another_is_handled,
    group,
)
main()
