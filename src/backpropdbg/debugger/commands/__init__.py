"""The commands of the debugger: importing this fills the table."""

# In the order in which `help` lists them.
# isort: off
from backpropdbg.debugger.commands import move, breaks, look, change, face
from backpropdbg.debugger.commands.table import TABLE, LineError, check, check_all, goes_on, run, without_comment

__all__ = [
    "TABLE",
    "LineError",
    "breaks",
    "change",
    "check",
    "check_all",
    "face",
    "goes_on",
    "look",
    "move",
    "run",
    "without_comment",
]
