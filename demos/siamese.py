"""A siamese net: one encoder looks at two points, and learns to place them apart by their true distance.

Run it with `python demos/siamese.py`, or step through it with `python -m backpropdbg run demos/siamese.py`.
"""

import torch


class Siamese(torch.nn.Module):
    """How far apart are two inputs, after the same encoder saw both?"""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = torch.nn.Linear(2, 6)
        self.place = torch.nn.Linear(6, 3)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """x: [batch, 2]; returns [batch, 3]."""
        return self.place(torch.tanh(self.hidden(x)))

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """Return the squared distance of the two codes, [batch]."""
        one = self.encode(left)
        other = self.encode(right)
        return (one - other).square().sum(1)


def main() -> None:
    """Train it."""
    torch.manual_seed(0)
    model = Siamese()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    left, right = torch.rand(12, 2), torch.rand(12, 2)
    wanted = (left - right).square().sum(1)
    for step in range(10):
        loss = torch.nn.functional.mse_loss(model(left, right), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"step {step}: loss {loss.item():.4f}")


if __name__ == "__main__":
    main()
