"""Ends in the way that its argument names, after an unfinished line. It needs no torch, so it is quick."""

import atexit
import os
import resource
import sys


def replaced():
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-c", "import sys; print('another program'); sys.exit(13)"])


def while_exiting():
    try:
        sys.exit(1)
    finally:
        raise LookupError("not so fast")


ENDS = {
    "zero": lambda: sys.exit(0),
    "number": lambda: sys.exit(7),
    "large": lambda: sys.exit(300),
    "negative": lambda: sys.exit(-1),
    "text": lambda: sys.exit("a text:\nno number"),
    "none": lambda: sys.exit(None),
    "object": lambda: sys.exit((1, 2)),
    "abort": os.abort,
    "replaced": replaced,
    "while-exiting": while_exiting,
}

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    atexit.register(print, "the end")
    print("begins", flush=True)
    print("an unfinished line", end="")
    sys.stderr.write("and one on stderr")
    ENDS[sys.argv[1]]()
