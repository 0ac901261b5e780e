"""`python -m package.work`, or imported by the package's main module."""

import pickle
import sys

from . import __doc__ as of_the_package


class Work:
    """Lives here, or in __main__."""


def train(work):
    from training import step

    step(f"{type(pickle.loads(pickle.dumps(work))).__module__}, {of_the_package}")


if __name__ == "__main__":
    train(Work())
    sys.exit(len(sys.argv))
