"""A GAN in one dimension: G learns to imitate the numbers around 3, D to tell its imitations from real ones.

Run it with `python demos/gan.py`, or step through it with `python -m backpropdbg run demos/gan.py`.
"""

import torch
from torch import nn


def main() -> None:
    """Train both in turns, each with an optimizer of its own."""
    torch.manual_seed(0)
    G = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
    D = nn.Sequential(nn.Linear(1, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer_g = torch.optim.Adam(G.parameters(), lr=0.01)
    optimizer_d = torch.optim.Adam(D.parameters(), lr=0.01)
    criterion = nn.BCEWithLogitsLoss()
    yes, no = torch.ones(16, 1), torch.zeros(16, 1)
    for step in range(60):
        real = 3 + torch.randn(16, 1)
        fake = G(torch.randn(16, 2))

        # D shall say yes to the real ones and no to the fakes. detach(): this is no business of G's.
        loss_d = criterion(D(real), yes) + criterion(D(fake.detach()), no)
        optimizer_d.zero_grad()
        loss_d.backward()
        optimizer_d.step()

        # G shall make D say yes. This backward goes through D, too.
        loss_g = criterion(D(fake), yes)
        optimizer_g.zero_grad()
        loss_g.backward()
        optimizer_g.step()
        if step % 20 == 19:
            print(f"step {step}: D {loss_d.item():.4f}  G {loss_g.item():.4f}  fakes around {fake.mean().item():+.3f}")


if __name__ == "__main__":
    main()
