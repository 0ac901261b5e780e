"""Places to stop at, and values to stop at when they change."""

from types import CodeType

from msgspec import Struct

from backpropdbg.debugger.locations import Location
from backpropdbg.debugger.words import counted


class Watch(Struct):
    """An expression to compare at each event.

    Attributes:
        focus: the parameter that it is about, whatever the focus is later.
        code: of the user's frame whose variables it names; None where it names none.
        known: it could be evaluated once. last, shown: its value then, and as text.
    """

    expression: str
    focus: str
    code: CodeType | None = None
    known: bool = False
    last: object = None
    shown: str = ""


class Breakpoint(Struct):
    """A place to stop, or a watchpoint. hits: how often its place was reached and its condition held."""

    number: int
    location: Location
    condition: str = ""
    temporary: bool = False
    enabled: bool = True
    ignore: int = 0
    hits: int = 0
    watch: Watch | None = None
    commands: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """E.g. "breakpoint 2"."""
        return f"{'breakpoint' if self.watch is None else 'watchpoint'} {self.number}"

    def line(self) -> str:
        """All that there is to say of it, its commands below."""
        parts = [f"{'temporary ' if self.temporary else ''}{self.name}: {self.location.text}"]
        parts += [f"if {self.condition}"] if self.condition else []
        parts += ["(disabled)"] if not self.enabled else []
        parts += [f"hit {counted(self.hits, 'time')}"] if self.hits else []
        return "\n".join([" ".join(parts), *(f"    {line}" for line in self.commands)])
