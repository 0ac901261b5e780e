"""A neural ODE: a layer says in which direction each point moves, and Euler's method asks it at every small time step.

Run it with `python demos/neural_ode.py`, or step through it with `python -m backpropdbg run demos/neural_ode.py`.
"""

import argparse

import torch


class Flow(torch.nn.Module):
    """Moves points from time 0 to time 1."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.field = torch.nn.Linear(2, 2)
        self.steps = steps

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        """points: [n, 2]; returns where they end."""
        dt = 1 / self.steps
        for _ in range(self.steps):
            points = points + dt * torch.tanh(self.field(points))
        return points


def main() -> None:
    """Learn to turn the plane by 30 degrees."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--euler", type=int, default=8, help="Euler steps, each a use of the same layer")
    given = parser.parse_args()
    torch.manual_seed(0)
    model = Flow(given.euler)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    turn = torch.tensor([[0.866, 0.5], [-0.5, 0.866]])
    for step in range(20):
        points = torch.rand(32, 2) - 0.5
        loss = torch.nn.functional.mse_loss(model(points), points @ turn)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"step {step}: loss {loss.item():.5f}")


if __name__ == "__main__":
    main()
