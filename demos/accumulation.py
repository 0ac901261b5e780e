"""Gradient accumulation: four small batches, four backwards, one step. A stand-in for one batch that is too large.

Run it with `python demos/accumulation.py`, or step through it with `python -m backpropdbg run demos/accumulation.py`.
"""

import torch

PARTS = 4


def main() -> None:
    """Fit y = x . [1, 2, 3]."""
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(6):
        x = torch.randn(32, 3)
        y = x @ torch.tensor([[1.0], [2.0], [3.0]])
        optimizer.zero_grad()
        total = 0.0
        for some_x, some_y in zip(x.chunk(PARTS), y.chunk(PARTS), strict=True):
            loss = torch.nn.functional.mse_loss(model(some_x), some_y) / PARTS
            loss.backward()
            total += loss.item()
        optimizer.step()
        print(f"step {step}: loss {total:.4f}")
    print("weight:", [f"{w:.2f}" for w in model.weight[0].tolist()])


if __name__ == "__main__":
    main()
