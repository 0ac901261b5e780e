"""Names of parameters: any of a tied one is as good as another."""

from msgspec.structs import replace

from backpropdbg.debugger.known import Known
from backpropdbg.debugger.locations import Location, is_named, parse_location, resembles, suggest, unknown
from backpropdbg.errors import CommandError


class Names:
    """The names that a program gives."""

    def __init__(self, program: Known) -> None:
        self._program = program

    def locate(self, text: str) -> Location:
        """Read a LOC. Raises CommandError where it names nothing that is known."""
        location = parse_location(text)
        found = self._find(location)
        if found is None:
            raise unknown(location.target, self._everything())
        return found

    def locate_ahead(self, text: str) -> tuple[Location, str]:
        """Read a LOC that the program may reach later, and what to say of it: "" where all is known.

        Raises CommandError where it looks like a known name that was mistyped.
        """
        location = parse_location(text)
        target = location.target
        found = self._find(location)
        if found is not None:
            return found, ""
        if self._is_frozen(target):
            return location, f"{target} is frozen: it is not used for gradients unless it comes to require one"
        if self._program.meet(target):
            found = self._find(location)
            if found is not None:
                return found, f"{target} was not called yet"
        if resembles(target, self._everything()):
            raise unknown(target, self._everything())
        return location, f"not known yet: no module or parameter has been called {target} so far"

    def _find(self, location: Location) -> Location | None:
        """The place by the names that are known, perhaps with the variable of the model before them; else None."""
        target = location.target
        parameter = self.known(target)
        if parameter is not None:
            return replace(location, target=parameter)
        every = self._everything()
        if not target or not every or is_named(target, every):
            return location
        variable, dot, rest = target.partition(".")
        if not any(self._program.resolve(f"{variable}.{name}") == name for name in self._program.parameters()):
            return None
        if not dot:
            raise CommandError(f"{target} is the whole model: name a part of it, or leave it out")
        return replace(location, target=rest) if is_named(rest, every) else None

    def _is_frozen(self, text: str) -> bool:
        return text in self._program.frozen() or self._program.resolve(text) in self._program.frozen()

    def _everything(self) -> list[str]:
        """The names of all modules and parameters."""
        return [name for name in (*self._program.modules(), *self._all()) if name]

    def parameter(self, text: str) -> str:
        """The parameter that has this name, tied or not. Raises CommandError where there is none."""
        found = self.known(text)
        if found is not None:
            return found
        if self._is_frozen(text):
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
