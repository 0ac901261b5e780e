"""The training loops that the cases share."""

from collections.abc import Callable, Iterator

import torch


class Long:
    """A test may want more iterations than usual, and be told after each."""

    count = 0
    after: Callable[[int], object] = staticmethod(lambda iteration: None)


def times(usual: int) -> Iterator[int]:
    """As many iterations as usual, or as a test of memory wants; from 0."""
    for iteration in range(Long.count or usual):
        yield iteration
        Long.after(iteration + 1)


def train(parameters, loss_of, iterations=2, lr=0.1):
    """The plainest of loops."""
    optimizer = torch.optim.SGD(parameters, lr=lr)
    for _ in times(iterations):
        optimizer.zero_grad()
        loss_of().backward()
        optimizer.step()
