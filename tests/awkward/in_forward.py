"""A module raises in forward, and what catches it raises another exception from it."""

import atexit

import torch
from training import model, step


class Picky(torch.nn.Module):
    """Takes three inputs, no more."""

    seen = 0

    def forward(self, x):
        self.seen += 1
        if self.seen > 3:
            raise KeyError("no more than three")
        return x


def main():
    model.head = torch.nn.Sequential(model.head, Picky())
    try:
        for number in range(5):
            step(f"step {number}")
    except KeyError as error:
        error.add_note("seen in main()")
        raise ValueError("training failed\nfor a reason") from error


atexit.register(print, "the end")
main()
