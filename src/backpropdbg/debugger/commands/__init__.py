"""The commands of the debugger: importing this fills the table."""

# In the order in which `help` lists them.
# isort: off
from backpropdbg.debugger.commands import move, breaks, look, face
from backpropdbg.debugger.commands.table import TABLE, check, run, without_comment

__all__ = ["TABLE", "breaks", "check", "face", "look", "move", "run", "without_comment"]
