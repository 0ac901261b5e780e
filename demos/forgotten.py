"""The loss goes down, then up, then down: something is missing in this loop.

Run it with `python demos/forgotten.py`, or step through it with `python -m backpropdbg run demos/forgotten.py`.
"""

import torch


def main() -> None:
    """Fit y = 2 x, always on the same points."""
    torch.manual_seed(0)
    model = torch.nn.Linear(1, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    x = torch.linspace(-1, 1, 11).unsqueeze(1)
    for step in range(10):
        loss = torch.nn.functional.mse_loss(model(x), 2 * x)
        loss.backward()
        optimizer.step()
        print(f"step {step}: loss {loss.item():.4f}  weight {model.weight.item():+.3f}")


if __name__ == "__main__":
    main()
