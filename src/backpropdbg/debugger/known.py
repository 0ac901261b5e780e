"""The names of parameters as they were known at the stop that is looked at; while the program runs, as they are now."""

from backpropdbg.debugger.program import Program
from backpropdbg.events import (
    Accumulated,
    BackwardStarted,
    BackwardUse,
    Event,
    ForwardUse,
    GroupSummed,
    IterationStarted,
    PartialEdited,
)
from backpropdbg.trace.file import Names
from backpropdbg.trace.history import Trace

_BRING = {ForwardUse, BackwardStarted, IterationStarted}
_WITHIN = {BackwardUse, GroupSummed, PartialEdited, Accumulated}  # a backward, that began with all of its parameters


class Known:
    """What the program calls its parameters, remembered with the trace: a model may die, or get more of them.

    Attributes:
        names: all that each is called, by its first name; none of these mappings is ever changed.
    """

    def __init__(self, program: Program, trace: Trace) -> None:
        self._program, self._trace = program, trace
        self._listed: tuple[Names, tuple[str, ...]] = {}, ()
        self.at(None)

    def at(self, position: int | None) -> None:
        """From now on those at a stop are meant, or, with None, those of the program as it runs."""
        self._position = position
        self.names: Names = self._trace.names if position is None else self._trace.names_at(position)

    def hear(self, event: Event) -> None:
        """Take note of the names, if an event may have brought others."""
        if type(event) in _BRING and self._brings(event):
            self.learn()

    def _brings(self, event: Event) -> bool:
        known = self.names
        match event:
            case ForwardUse():
                return any([name not in known for name in event.parameters])
            case BackwardStarted():
                return any([use.parameter not in known for use in event.uses])
        return True

    def look(self, event: Event) -> None:
        """The same where the program stops: also if something else than an event may have brought or taken some."""
        if type(event) not in _WITHIN:
            self.learn()

    def learn(self) -> None:
        """Take note of the names."""
        names = self._program.named()
        if names and names != self.names:
            self._trace.learn(names)
            self.at(self._position)

    def parameters(self) -> tuple[str, ...]:
        """Names of all parameters that are tracked."""
        names, listed = self._listed
        if names is not self.names:
            names, listed = self.names, tuple(self.names)
            self._listed = names, listed
        return listed

    def has(self, name: str) -> bool:
        """True for the name of a parameter that is tracked."""
        return name in self.names

    def aliases(self, name: str) -> tuple[str, ...]:
        """All names of a parameter, its own first: several where it is tied."""
        return self.names.get(name) or self._program.aliases(name)

    def resolve(self, text: str) -> str | None:
        """The parameter that has this name, tied or not; None where there is none."""
        return next((name for name, names in self.names.items() if text in names), self._program.resolve(text))

    def frozen(self) -> tuple[str, ...]:
        """Names of the parameters that require no gradient."""
        return self._program.frozen()

    def meet(self, text: str) -> bool:
        """Learn the names of a module that was not called yet, where this is the name of it, or of a part."""
        met = self._program.meet(text)
        if met:
            self.learn()
        return met

    def follow(self, text: str) -> tuple[str, bool] | None:
        """Follow what this names, where that is a tensor computed from parameters; see `Program.follow`."""
        found = self._program.follow(text)
        if found is not None:
            self.learn()
        return found

    def modules(self) -> tuple[str, ...]:
        """Paths of all modules; of a model that is gone, of those that have parameters."""
        found = self._program.modules()
        return found or tuple(dict.fromkeys(name.rpartition(".")[0] for name in self.names))
