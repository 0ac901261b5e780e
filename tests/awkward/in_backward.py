"""A custom autograd.Function raises in backward."""

import torch
from training import loss_of, step


class Broken(torch.autograd.Function):
    """The identity, whose backward fails."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        raise ArithmeticError(f"no gradient of shape {list(grad.shape)}")


def main():
    step()
    loss = Broken.apply(loss_of())
    loss.backward()


main()
