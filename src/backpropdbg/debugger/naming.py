"""Names of parameters: any of a tied one is as good as another."""

from msgspec.structs import replace

from backpropdbg.debugger.known import Known
from backpropdbg.debugger.locations import Location, check_target, parse_location, suggest
from backpropdbg.errors import CommandError


class Names:
    """The names that a program gives."""

    def __init__(self, program: Known) -> None:
        self._program = program

    def locate(self, text: str) -> Location:
        """Read a LOC. Raises CommandError where it names nothing that is known."""
        location = parse_location(text)
        parameter = self.known(location.target)
        if parameter is not None:
            return replace(location, target=parameter)
        check_target(location, (*self._program.modules(), *self._all()))
        return location

    def parameter(self, text: str) -> str:
        """The parameter that has this name, tied or not. Raises CommandError where there is none."""
        found = self.known(text)
        if found is not None:
            return found
        if text in self._program.frozen() or self._program.resolve(text) in self._program.frozen():
            raise CommandError(f"{text} is frozen: it requires no gradient, so there is no ledger of it")
        raise CommandError(f"no parameter {text!r}{suggest(text, self._all())}")

    def _all(self) -> list[str]:
        """All names of all parameters."""
        return [alias for name in self._program.parameters() for alias in self._program.aliases(name)]

    def known(self, text: str) -> str | None:
        """The tracked parameter of this name; of the end of a name, where only one ends so."""
        names = self._program.parameters()
        found = text if text in names else self._program.resolve(text) if text else None
        if found in names:
            return found
        ends = [name for name in names if text and name.endswith(f".{text}")]
        return ends[0] if len(ends) == 1 else None

    def title(self, parameter: str) -> str:
        """All names of a parameter, e.g. "wte.weight = lm_head.weight"."""
        return " = ".join(self._program.aliases(parameter))
