"""The names of parameters as they were known at the stop that is looked at; while the program runs, as they are now."""

from backpropdbg.debugger.program import Program
from backpropdbg.events import BackwardStarted, Event, ForwardUse, IterationStarted
from backpropdbg.trace.history import Trace


class Known:
    """What the program calls its parameters, remembered with the trace: a model may die, or get more of them.

    Attributes:
        position: of the stop that is looked at; None while the program runs.
    """

    def __init__(self, program: Program, trace: Trace) -> None:
        self._program, self._trace = program, trace
        self.position: int | None = None

    def learn(self, event: Event | None = None) -> None:
        """Take note of the names, if an event may have brought others, or none is given."""
        match event:
            case None | IterationStarted():
                pass
            case ForwardUse() as e if any(name not in self._now() for name in e.parameters):
                pass
            case BackwardStarted() as e if any(use.parameter not in self._now() for use in e.uses):
                pass
            case _:
                return
        names = self._program.named()
        if names and names != self._now():
            self._trace.learn(names)

    def _now(self) -> dict[str, tuple[str, ...]]:
        return self._trace.names if self.position is None else self._trace.names_at(self.position)

    def parameters(self) -> tuple[str, ...]:
        """Names of all parameters that are tracked."""
        return tuple(self._now())

    def aliases(self, name: str) -> tuple[str, ...]:
        """All names of a parameter, its own first: several where it is tied."""
        return self._now().get(name) or self._program.aliases(name)

    def resolve(self, text: str) -> str | None:
        """The parameter that has this name, tied or not; None where there is none."""
        return next((name for name, names in self._now().items() if text in names), self._program.resolve(text))

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
        return found or tuple(dict.fromkeys(name.rpartition(".")[0] for name in self._now()))
