"""Signal handlers of its own: one of them trains, one makes an exception of SIGTERM in the middle of backward."""

import os
import signal

import torch
from training import loss_of, model, step


def handle(number, frame):
    print("handled", signal.Signals(number).name, "in", frame.f_code.co_name)


def train(number, frame):
    step("in a handler")


def fail(number, frame):
    raise TimeoutError(f"stopped by {signal.Signals(number).name}")


class Signals(torch.autograd.Function):
    """Sends a signal to this process, in backward."""

    @staticmethod
    def forward(ctx, x, number):
        ctx.number = number
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        os.kill(os.getpid(), ctx.number)
        return grad, None


def main():
    signal.signal(signal.SIGINT, handle)
    signal.signal(signal.SIGUSR1, train)
    signal.signal(signal.SIGUSR2, handle)
    signal.signal(signal.SIGTERM, fail)
    for number in (signal.SIGINT, signal.SIGUSR1):
        os.kill(os.getpid(), number)
    step()
    Signals.apply(loss_of(), signal.SIGUSR2).backward()
    try:
        Signals.apply(loss_of(), signal.SIGTERM).backward()
    except TimeoutError as error:
        print("caught", error)
    model.zero_grad()
    step()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    Signals.apply(loss_of(), signal.SIGINT).backward()


main()
