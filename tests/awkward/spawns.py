"""Spawns: a process, and the workers of a DataLoader, which import this file again."""

import sys

import torch
import torch.multiprocessing
from training import loss_of, optimizer, step


class Numbers(torch.utils.data.Dataset):
    """Says where it runs."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return index, __name__


def child(queue, n):
    torch.manual_seed(n)
    loss_of().backward()
    optimizer.step()
    queue.put((n, loss_of().item(), __name__, sys.argv))
    sys.exit(n)


def main():
    step()
    context = torch.multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    process = context.Process(target=child, args=(queue, 5))
    process.start()
    print(queue.get())
    process.join()
    print("child ended with", process.exitcode)
    loader = torch.utils.data.DataLoader(Numbers(), batch_size=2, num_workers=1, multiprocessing_context=context)
    for numbers, names in loader:
        print(numbers.tolist(), names)
    step()


print("imported")
if __name__ == "__main__":
    main()
