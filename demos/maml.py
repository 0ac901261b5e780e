"""MAML: learn where to start, so that one step of gradient descent fits a new task.

The inner step is itself part of the graph (`create_graph=True`), so the start is used twice: once to be adapted, and
once to compute the gradient that it is adapted with. Tasks are lines through the origin, and the model is y = w . x.

Run it with `python demos/maml.py`, or step through it with `python -m backpropdbg run demos/maml.py`.
"""

import torch

INNER_LR = 0.3


def main() -> None:
    """Train the start."""
    torch.manual_seed(0)
    w = torch.randn(2, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=0.5)
    for step in range(10):
        task = torch.tensor([1.0, -1.0]) + 0.3 * torch.randn(2)
        seen, unseen = torch.randn(32, 2), torch.randn(32, 2)

        inner = (seen @ w - seen @ task).square().mean()
        (inner_grad,) = torch.autograd.grad(inner, [w], create_graph=True)
        adapted = w - INNER_LR * inner_grad

        outer = (unseen @ adapted - unseen @ task).square().mean()
        optimizer.zero_grad()
        outer.backward()
        optimizer.step()
        print(f"step {step}: loss before adapting {inner.item():.4f}, after {outer.item():.4f}")
    print("start:", [f"{value:.3f}" for value in w.tolist()])


if __name__ == "__main__":
    main()
