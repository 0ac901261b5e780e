"""An excepthook of its own, a handler for exceptions in threads and in destructors, and atexit handlers; one fails."""

import atexit
import sys
import threading
import traceback

from training import step


def of_the_program(kind, error, trace):
    names = [frame.name for frame in traceback.extract_tb(trace) if frame.filename == __file__]
    print("excepthook:", kind.__name__, error, names)
    sys.stdout.flush()
    sys.__excepthook__(kind, error, trace)


class Untidy:
    """Fails when it goes."""

    def __del__(self):
        raise OSError("can't go")


def fail():
    step("in a thread")
    raise ValueError("in a thread")


def main():
    print(sys.excepthook is sys.__excepthook__, sys.unraisablehook is sys.__unraisablehook__)
    print(threading.excepthook is threading.__excepthook__, sys.displayhook is sys.__displayhook__)
    thread = threading.Thread(target=fail, name="worker")
    thread.start()
    thread.join()
    Untidy()
    sys.excepthook = of_the_program
    atexit.register(print, "the very end")
    atexit.register(lambda: 1 // 0)
    atexit.register(step, "at exit")
    step()
    {}["missing"]


main()
