"""Forks: by hand, in a pool, and in a DataLoader. The children train and print, too."""

import multiprocessing
import os
import sys

import torch
from training import loss_of, model, optimizer, step


class Squares(torch.utils.data.Dataset):
    """Computes with the model and a backward in the worker."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        x = torch.full((1,), float(index), requires_grad=True)
        (x**2).sum().backward()
        return x.grad


def square(n):
    torch.manual_seed(n)  # whichever worker gets it
    return n * n, round(loss_of().item(), 6)


def by_hand():
    sys.stdout.flush()
    for code, end in ((3, os._exit), (4, sys.exit)):
        pid = os.fork()
        if pid == 0:
            loss_of().backward()
            optimizer.step()
            print("child", round(sum(p.sum().item() for p in model.parameters()), 6), flush=True)
            end(code)
        print("child ended with", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def main():
    torch.set_num_threads(1)
    step()
    by_hand()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(pool.map(square, range(3)))
    loader = torch.utils.data.DataLoader(Squares(), batch_size=2, num_workers=2, multiprocessing_context="fork")
    for _ in range(2):
        print([batch.tolist() for batch in loader])
        step()


main()
