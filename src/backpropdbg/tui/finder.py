"""The command palette: every key, command, parameter and use of this stop, found by a part of its name."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import NamedTuple

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.markup import escape

from backpropdbg.situation import Situation
from backpropdbg.tui import keys
from backpropdbg.tui.complete import parameters, targets
from backpropdbg.tui.face import Face
from backpropdbg.tui.paint import clean
from backpropdbg.tui.tiling import EXTRA, PANES

MOST = 200


class Entry(NamedTuple):
    """What can be found: its line, what it is about, and what choosing it does."""

    line: str
    help: str
    choose: Callable[[], object]


def actions(app: Face) -> Iterator[Entry]:
    """Yield what the keys do, with the keys."""
    for name, entry in keys.KEYS.items():
        pressed = " or ".join(map(keys.display, keys.now()[name]))
        yield Entry(name, f"{entry.help}{f' ({pressed})' if pressed else ''}", partial(app.run_action, entry.action))


def commands(app: Face) -> Iterator[Entry]:
    """Yield the commands; one that is chosen is typed, and waits for the rest."""
    for name, line in app.commands().items():
        yield Entry(f":{name}", line, partial(app.run_action, f"type({name + ' '!r})"))


def panes(app: Face) -> Iterator[Entry]:
    """Yield what can be done with panes."""
    for verb, told in (("show", "give this pane a place"), ("zoom", "on the whole screen"), ("hide", "hide this pane")):
        for pane in (*PANES, *EXTRA):
            yield Entry(f"layout {verb} {pane}", told, partial(app.send, f"layout {verb} {pane}"))


def places(app: Face, situation: Situation) -> Iterator[Entry]:
    """Yield what can be done about parameters and uses of this stop."""
    verbs = [("focus {}", "focus this parameter", parameters(situation))]
    verbs.append(("until {}", "run to the next event of it", targets(situation)))
    verbs.append(("break {}", "stop at each event of it", targets(situation)))
    for verb, told, names in verbs:
        for name in names:
            line = verb.format(name)
            yield Entry(clean(line), told, partial(app.carry_out_line, line))


class Finder(Provider):
    """Finds entries for the palette."""

    def entries(self) -> Iterator[Entry]:
        """Yield all that there is."""
        app = self.app
        assert isinstance(app, Face)
        yield from actions(app)
        yield from commands(app)
        yield from panes(app)
        if app.situation is not None:
            yield from places(app, app.situation)

    async def discover(self) -> Hits:
        """Yield what is there before anything is typed."""
        for entry in islice(self.entries(), MOST):
            yield DiscoveryHit(Content(entry.line), entry.choose, entry.line, escape(entry.help))

    async def search(self, query: str) -> Hits:
        """Yield what has each word of `query` somewhere, or its letters in its name."""
        words, matcher = query.lower().split(), self.matcher(query)
        found = 0
        for entry in self.entries():
            score = matcher.match(entry.line)
            if score or all(word in f"{entry.line} {entry.help}".lower() for word in words):
                yield Hit(max(score, 0.01), Content(entry.line), entry.choose, entry.line, escape(entry.help))
                found += 1
            if found == MOST:
                return
