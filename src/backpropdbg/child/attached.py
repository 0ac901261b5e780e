"""The debugger that this process is under, if any: `backpropdbg.set_trace()` stops there."""

from typing import Any

debugger: Any = None
