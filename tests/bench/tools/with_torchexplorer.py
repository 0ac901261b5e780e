"""torchexplorer.watch: histograms of what goes in and out of each call, of gradients and parameters."""

import tempfile

import torchexplorer
from answers import Answers
from workloads import Loop


class Session:
    """The standalone page; Graphviz lays it out, and without that the program ends."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.step = loop.step
        self.folder = tempfile.TemporaryDirectory()
        torchexplorer.watch(
            loop.model,
            log_freq=1,
            delay_log_multi_backward=True,
            backend="standalone",
            standalone_dir=f"{self.folder.name}/page",
            verbose=False,
        )

    def answers(self) -> Answers:
        """Histograms per call of what flows through a module, but of a weight only of its whole gradient."""
        return Answers(words="a histogram of each call's output gradient and one of .grad, no values")

    def close(self) -> None:
        """It can't be taken off."""
        self.folder.cleanup()
