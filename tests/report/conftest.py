"""A program under a collector, within the test's own process; each batch goes through JSON, as it does live."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from backpropdbg.events import Anomaly
from backpropdbg.probe.hooks import Policy, Probe
from backpropdbg.probe.known import last_look, optimized, shapes
from backpropdbg.report.collect import Collector
from backpropdbg.report.read import Report
from backpropdbg.report.rows import Line


class Collected(Report):
    """A report that tests can ask for one line."""

    events: list[Any]

    def line(self, name: str, iteration: int = 1) -> Line:
        """The line of one parameter (by any of its names) in one iteration."""
        found = [x for x in self.lines if name in x.row.names and x.row.iteration == iteration]
        assert len(found) == 1, [(x.row.names, x.row.iteration) for x in self.lines]
        return found[0]

    def slugs(self, name: str, iteration: int = 1) -> set[str]:
        """The findings of that line."""
        return set(self.line(name, iteration).row.findings)

    def text(self, slug: str, name: str, iteration: int = 1) -> str:
        """The sentence of one finding."""
        (found,) = [one.text for one in self.line(name, iteration).found if one.slug == slug]
        return found


@contextmanager
def _collecting(iterations: int = 3) -> Iterator[Collected]:
    report = Collected()
    report.events = events = []

    def send(batch: Any) -> None:
        report.add(json.loads(msgspec.json.encode(batch)))

    def sink(event: Any) -> None:
        events.append(type(event).__name__)
        assert not isinstance(event, Anomaly), event.error
        collector(event)

    probe = Probe(sink, Policy())
    collector = Collector(probe.names, iterations, send, lambda: None, lambda: optimized(probe), lambda: shapes(probe))
    probe.install()
    try:
        yield report
    finally:
        compared = last_look(probe)
        probe.remove()
        collector.finish(compared)


@pytest.fixture
def collect() -> Callable[..., Collected]:
    """Run a program to its end and return its report."""

    def run(program: Callable[[], object], iterations: int = 3) -> Collected:
        with _collecting(iterations) as report:
            program()
        return report

    return run


@pytest.fixture
def collecting() -> Callable[..., Any]:
    """The same as a context, for a program that fails."""
    return _collecting
