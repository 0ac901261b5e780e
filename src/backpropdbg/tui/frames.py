"""How soon the screen is painted after something changed: textual waits for a frame of its own 60 a second, or two."""

import os
import sys

import textual.screen

PERIOD = 1 / 240
SWITCH = 0.0005  # seconds that the thread which hears the program waits for one that paints; of Python itself 0.005


def hasten() -> None:
    """Let screens that are made from now on paint sooner, unless the user chose a number of frames."""
    sys.setswitchinterval(SWITCH)
    if "TEXTUAL_FPS" not in os.environ:
        textual.screen.UPDATE_PERIOD = PERIOD  # type: ignore[misc]
