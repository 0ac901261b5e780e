"""python -m backpropdbg."""

import sys

from backpropdbg.cli import main

if __name__ == "__main__":
    sys.exit(main())
