"""wandb.watch, offline: histograms of gradients and weights at each step."""

import tempfile
from typing import Any

import wandb
from answers import Answers
from workloads import Loop


class Session:
    """A run in a folder that goes with it."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.folder = tempfile.TemporaryDirectory()
        settings = wandb.Settings(silent=True, console="off")
        self.run: Any = wandb.init(mode="offline", project="bench", dir=self.folder.name, settings=settings)
        self.run.watch(loop.model, log="all", log_freq=1)

    def step(self) -> None:
        """One iteration, then what was watched is logged."""
        self.loop.step()
        self.run.log({"n": 1})

    def answers(self) -> Answers:
        """No tensor comes out, only counts in bins."""
        return Answers(words="a histogram of .grad and one of the weight a step, no values")

    def close(self) -> None:
        """End the run."""
        self.run.unwatch(self.loop.model)
        self.run.finish()
        self.folder.cleanup()
