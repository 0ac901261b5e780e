"""A loudness meter that breaks: one filter listens to four sounds in turn, and the third one is silence.

Every number of the forward pass is fine, and so is the loss. Then the weights are NaN. Which use was it?

Run it with `python demos/nan.py`, or step through it with `python -m backpropdbg run demos/nan.py`.
"""

import torch


class Meter(torch.nn.Module):
    """How loud is each sound, after a filter that is to be learned?"""

    def __init__(self) -> None:
        super().__init__()
        self.filter = torch.nn.Linear(5, 3, bias=False)

    def loudness(self, sound: torch.Tensor) -> torch.Tensor:
        """sound: [5]; the length of what passes the filter."""
        passed = self.filter(sound)
        return torch.sqrt(passed.square().sum())

    def forward(self, sounds: torch.Tensor) -> torch.Tensor:
        """sounds: [n, 5]; returns [n]."""
        return torch.stack([self.loudness(sound) for sound in sounds])


def main() -> None:
    """Train it for two steps, which is one too many."""
    torch.manual_seed(0)
    sounds = torch.randn(4, 5)
    sounds[2] = 0.0
    wanted = torch.tensor([1.0, 2.0, 0.0, 3.0])
    model = Meter()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(2):
        loss = torch.nn.functional.mse_loss(model(sounds), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"step {step}: loss {loss.item():.4f}")


if __name__ == "__main__":
    main()
