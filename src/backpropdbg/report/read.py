"""The parent's side: gathers the batches that the child sent, also those of a child that crashed after them."""

from collections.abc import Sequence
from functools import cached_property
from typing import IO

import msgspec

from backpropdbg.errors import UsageError, WireError
from backpropdbg.report import findings, show
from backpropdbg.report.rows import UNFINISHED, Batch, Facts, Line

_SEVERAL = (
    "Several threads train: their iterations are counted together, and nothing is said of what was carried in, "
    "or changed between backward and step."
)


class Report:
    """All that arrived."""

    def __init__(self) -> None:
        self._facts: list[Facts] = []
        self._draft: Batch | None = None
        self.notes: list[str] = []
        self.several = False

    def add(self, body: object) -> None:
        """Take the body of one event "backpropdbg/rows". Raises WireError where it is none."""
        try:
            batch = msgspec.convert(body, Batch)
        except msgspec.ValidationError as error:
            raise WireError(f"bad rows of a report: {error}") from None
        self._draft = batch if batch.draft else None
        if not batch.draft:
            self._facts += batch.facts
            self.notes += batch.notes
        self.several = self.several or batch.several
        self.__dict__.pop("lines", None)

    @cached_property
    def lines(self) -> list[Line]:
        """The lines, with their findings."""
        return findings.judge([*self._facts, *(self._draft.facts if self._draft is not None else ())])

    def write(self, form: str, stream: IO[str], width: int | None = None) -> None:
        """Write all lines; see `show.write`."""
        show.write(self.lines, form, stream, width, self._remarks())

    def _remarks(self) -> list[str]:
        """What to say below the table."""
        notes = self._draft.notes if self._draft is not None else ()
        failures = [f"backpropdbg did not record all: {note}" for note in (*self.notes, *notes)]
        cut = {line.row.iteration for line in self.lines if UNFINISHED in line.row.labels}
        ended = [f"The program ended in iteration {number}, which is unfinished." for number in sorted(cut)]
        return [*ended, *[_SEVERAL] * self.several, *failures]

    def fails(self, slugs: Sequence[str]) -> list[Line]:
        """The lines that show one of these findings."""
        return findings.fails(self.lines, slugs)


def check_slug(text: str) -> str:
    """Return a `--fail-on` finding. Raises UsageError with all that there are."""
    if text not in findings.SLUGS:
        raise UsageError(f"{text!r} is no finding; there are: {', '.join(findings.SLUGS)}")
    return text
