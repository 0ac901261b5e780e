"""The training loops that the cases share."""

import torch


def train(parameters, loss_of, iterations=2, lr=0.1):
    """The plainest of loops."""
    optimizer = torch.optim.SGD(parameters, lr=lr)
    for _ in range(iterations):
        optimizer.zero_grad()
        loss_of().backward()
        optimizer.step()
