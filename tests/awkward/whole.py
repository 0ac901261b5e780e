"""Runs a program of demos/ as it is, and keeps the weights of every optimizer that it makes."""

import os
import runpy
import sys

import torch

made = []
add = torch.optim.Optimizer.add_param_group


def add_param_group(self, group):
    add(self, group)
    made.extend(self.param_groups[-1]["params"])


torch.optim.Optimizer.add_param_group = add_param_group
sys.argv = sys.argv[1:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
assert made
torch.save([p.detach() for p in made], os.environ["WEIGHTS"])
