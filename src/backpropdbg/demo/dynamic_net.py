"""The PyTorch tutorial's two DynamicNets: a module that is called, and a bare parameter that is used, many times."""

import random

import torch


class DynamicNet(torch.nn.Module):
    """`middle_linear` is used 0 to `most` times in one forward pass, or exactly `uses` times."""

    def __init__(self, d_in: int, hidden: int, d_out: int, uses: int | None = None) -> None:
        super().__init__()
        self.input_linear = torch.nn.Linear(d_in, hidden)
        self.middle_linear = torch.nn.Linear(hidden, hidden)
        self.output_linear = torch.nn.Linear(hidden, d_out)
        self.uses = uses

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: [batch, d_in]; returns [batch, d_out]."""
        h_relu = self.input_linear(x).clamp(min=0)
        for _ in range(random.randint(0, 3) if self.uses is None else self.uses):
            h_relu = self.middle_linear(h_relu).clamp(min=0)
        y_pred: torch.Tensor = self.output_linear(h_relu)
        return y_pred


class DynamicPolynomial(torch.nn.Module):
    """A polynomial of third order, to which `e * x ** 4` and `e * x ** 5` are added 0 to 2 times."""

    def __init__(self, uses: int | None = None) -> None:
        super().__init__()
        self.a = torch.nn.Parameter(torch.randn(()))
        self.b = torch.nn.Parameter(torch.randn(()))
        self.c = torch.nn.Parameter(torch.randn(()))
        self.d = torch.nn.Parameter(torch.randn(()))
        self.e = torch.nn.Parameter(torch.randn(()))
        self.uses = uses

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: [points]; returns [points]."""
        y = self.a + self.b * x + self.c * x**2 + self.d * x**3
        for exp in range(4, random.randint(4, 6) if self.uses is None else 4 + self.uses):
            y = y + self.e * x**exp
        return y
