"""`python -m package`: relative imports, and a failure at the end."""

import os
import sys

from . import work
from .work import Work

print(__name__, __package__, __spec__.name, __file__, sys.argv, os.getcwd())
print(sys.path[0] == os.getcwd(), sys.modules["__main__"].__dict__ is globals(), type(__loader__).__name__)
work.train(Work())
raise NotImplementedError("the rest")
