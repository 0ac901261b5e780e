"""Anomaly mode names the forward lines of a gradient that is NaN."""

import torch
from training import step


def main():
    step()
    with torch.autograd.detect_anomaly():
        x = torch.zeros(2, requires_grad=True)
        y = torch.sqrt(x * x)
        y.sum().backward()


main()
