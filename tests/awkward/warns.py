"""Warnings of its own, of torch's about its own lines, as errors, and in a log."""

import logging
import warnings

import torch
from training import loss_of, model, optimizer, step


def mine(text):
    warnings.warn(text, stacklevel=2)


def main():
    for _ in range(2):
        mine("said once")
    warnings.warn("deprecated", DeprecationWarning, stacklevel=1)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(filename)s:%(lineno)d %(funcName)s %(message)s")
    logging.info("a line of a log")
    print(len(warnings.filters), warnings.filters[:2])

    # These depend on what optimizer.step and backward are, and on the line that calls.
    schedule = torch.optim.lr_scheduler.StepLR(torch.optim.SGD(model.parameters(), lr=0.1), 1)
    schedule.step()
    hidden = model.cell(torch.randn(2, 4))
    print(hidden.grad)
    loss_of().backward(create_graph=True)
    optimizer.zero_grad()
    step()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            mine("an error")
        except UserWarning as error:
            print("caught", error)


main()
