"""A program whose one weight is used many times in a row."""

import torch

BACKWARDS, ITERATIONS = 2, 2


def inputs() -> torch.Tensor:
    torch.manual_seed(3)
    return torch.randn(ITERATIONS, BACKWARDS, 4, 3)


def weight() -> torch.Tensor:
    torch.manual_seed(4)
    return torch.randn(3, 3) / 2


def chain(x: torch.Tensor, weights: list[torch.Tensor]) -> torch.Tensor:
    for each in weights:
        x = torch.tanh(x @ each.t())
    return x.square().sum()
