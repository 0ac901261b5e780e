"""What can go wrong, as a user sees it.

BackpropdbgError
├── UsageError      bad arguments or an unreadable or unparsable script (exit 2)
├── CommandError    a command that can't be done: bad LOC, unknown name, failed EXPR (exit 1)
├── RecordingError  a recording was asked for what it does not have
└── WireError       the peer sent something that is no valid message

Each message is one line that names the wrong value and what would be right.
"""

__all__ = ["BackpropdbgError", "CommandError", "RecordingError", "UsageError", "WireError"]


class BackpropdbgError(Exception):
    """Base of all errors that are shown to the user as one line."""


class UsageError(BackpropdbgError):
    """Arguments or a script file that can't be understood."""


class CommandError(BackpropdbgError):
    """A command that was understood but can't be carried out."""


class RecordingError(BackpropdbgError):
    """A recording does not know this iteration or parameter, or did not keep that tensor.

    The text may quote a file that means harm: what a terminal would obey is spelled out.
    """

    def __init__(self, text: str) -> None:
        super().__init__("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text))


class WireError(BackpropdbgError):
    """A malformed or unexpected message from the other process."""
