"""A case: a small program that uses a parameter in some way, and what is to be found in it."""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

ROOMS = {
    1: "reuse in disguise",
    2: "one edge that hides several uses",
    3: "odd engine runs",
    4: ".grad that is not the sum",
    5: "weights that move otherwise",
    6: "what can't be split",
    7: "frameworks",
}


@dataclass(frozen=True, eq=False)
class Case:
    """What is expected was counted by hand.

    Attributes:
        uses: of each parameter that is looked at, in `iteration`. edges: into the leaf itself, where that differs.
        runs: how many runs of the engine that iteration has that reach it.
        labels: what changed `.grad`, as globs; none where the sum is exact.
        inside: how many uses are inside of each edge, where one operation hides them.
        findings: slugs of the report for all the parameters looked at.
        says: words that the report, `why` or an explanation has to say. never: words that none may say.
        copies: compare with untied copies. untied: the same program with every use written out, where a copy at each
            operation that takes the leaf would not part them. rounding: of them only within rounding, and why.
        needs: a package that the program imports.
        in_order: the sum of the copies, last one first, is `.grad` bit for bit.
    """

    room: int
    name: str
    program: Callable[[Any], object]
    uses: Mapping[str, int]
    edges: Mapping[str, int] = field(default_factory=dict)
    iteration: int = 1
    runs: int = 1
    labels: Sequence[str] = ()
    inside: int = 0
    findings: Sequence[str] = ()
    says: Sequence[str] = ()
    never: Sequence[str] = ()
    copies: bool = True
    untied: Callable[[Any], object] | None = None
    rounding: str = ""
    in_order: bool = True
    needs: str = ""

    @property
    def runs_here(self) -> bool:
        """False where its package is not installed."""
        return not self.needs or importlib.util.find_spec(self.needs) is not None

    def edges_of(self, name: str) -> int:
        """How many edges there are into the leaf."""
        return self.edges.get(name, self.uses[name])


CASES: list[Case] = []


def case(room: int, name: str, uses: Mapping[str, int], **expected: Any) -> Callable[[Any], Any]:
    """Enter a program into the table."""

    def enter(program: Callable[[Any], object]) -> Callable[[Any], object]:
        CASES.append(Case(room, name, program, uses, **expected))
        return program

    return enter
