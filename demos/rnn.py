"""A script that knows no debugger: a recurrent cell uses its weights once for each of five time steps.

It has to remember the first bit of five. Run it with `python demos/rnn.py`, or step through it with
`python -m backpropdbg run demos/rnn.py`.
"""

import argparse

import torch


class Memory(torch.nn.Module):
    """Reads a sequence of bits and says which one came first."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.cell = torch.nn.RNNCell(1, hidden)
        self.head = torch.nn.Linear(hidden, 1)

    def forward(self, bits: torch.Tensor) -> torch.Tensor:
        """bits: [time, batch, 1]; returns [batch, 1]."""
        h = torch.zeros(bits.shape[1], self.cell.hidden_size)
        for x in bits:
            h = self.cell(x, h)
        return self.head(h)


def main() -> None:
    """Train it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--hidden", type=int, default=6)
    given = parser.parse_args()
    torch.manual_seed(0)
    model = Memory(given.hidden)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for step in range(given.steps):
        bits = torch.randint(0, 2, (5, 16, 1)).float()
        loss = torch.nn.functional.mse_loss(model(bits), bits[0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"step {step}: loss {loss.item():.4f}")


if __name__ == "__main__":
    main()
