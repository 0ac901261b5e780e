"""What keys, commands and the mouse do with the panes: choose, zoom, hide, move and resize them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from textual.geometry import Size
from textual.widgets import Static

from backpropdbg.tui import remembered
from backpropdbg.tui.complete import WAYS
from backpropdbg.tui.config import Settings
from backpropdbg.tui.face import Commands, Face
from backpropdbg.tui.help import TABS, tab_line
from backpropdbg.tui.keys import shown
from backpropdbg.tui.nodes import NodesPane
from backpropdbg.tui.tiles import Tiles, pane_of
from backpropdbg.tui.tiling import (
    EXTRA,
    PANES,
    Tiling,
    default,
    heighten,
    is_large,
    move,
    one_below_the_other,
    swap,
    widen,
    with_extra,
    with_hidden,
)
from backpropdbg.tui.tiling import shown as only
from backpropdbg.wire import session as wire

TALL = 44
LOW, FLAT, FLATTER = 24, 18, 16
BARS = 10  # header, ledger, results, command line and keys, of a flat screen
CELLS, LINES = 4, 1
ALWAYS = ("graph", "ledger")
LAYOUT = "layout: reset, or zoom, hide or show and a pane, or move, a pane and one of up, down, left, right"


class Arranged(Face):
    """The panes.

    Attributes:
        arranged: how the user arranged them, on a large screen (True) and on others; None: as they are at first.
        current: the pane that keys are about. zoomed: the pane that has the whole screen, or "".
        tab: which pane shows beside graph and ledger on a small screen, from 1.
        room: the size of the screen.
        timeline: shown for now where there is no room for it; it takes the graph's place.
        nodes: the graph pane lists autograd nodes, not the calls of modules.
    """

    def __init__(self, session: wire.Session, settings: Settings, commands: Commands) -> None:
        super().__init__(session, settings, commands)
        self.arranged: dict[bool, Tiling | None] = {}
        self.current, self.zoomed = "ledger", ""
        self.tab, self.timeline, self.nodes = 1, False, False
        self.room = Size(80, 24)

    @property
    def compact(self) -> bool:
        """A small screen, which has tabs."""
        return self.room.width < 100 or self.room.height < 30

    @property
    def flat(self) -> bool:
        """So low a screen that the command line would have no room below all else: matrices go first."""
        return self.room.height < FLAT

    @property
    def large(self) -> bool:
        """A screen with room for more panes; how they are arranged there is no use on another one."""
        return is_large(*self.room)

    @property
    def state(self) -> Path | None:
        """The file that remembers the panes of a screen like this one."""
        path = self.settings.state
        return path.with_stem(f"{path.stem}-large") if path is not None and self.large else path

    @property
    def chosen(self) -> Tiling | None:
        """How the user arranged the panes of a screen like this one."""
        if self.large not in self.arranged:
            self.arranged[self.large] = None if self.state is None else remembered.load(self.state, PANES, EXTRA)
        return self.arranged[self.large]

    @property
    def graph_lines(self) -> int:
        """How many lines the graph pane would like."""
        told = self.base.query_one(NodesPane).told if self.nodes else None
        if told is None or not told.lines:
            return 3 if self.compact else 5
        frame, most = (1, 4) if self.compact else (2, max(7, self.room.height // 4))
        return frame + min(most, max(told.lines, 3))

    @property
    def tiling(self) -> Tiling:
        """All panes, in the places that they have on a screen of this size."""
        return self.chosen or default(*self.room)

    def seen(self) -> Tiling:
        """Return the panes that are shown now."""
        if self.zoomed:
            return one_below_the_other([self.zoomed])
        if self.compact:
            always = [p for p in ALWAYS if p not in self.tiling.hidden]
            tab = TABS[self.tab - 1]
            if self.flat and "ledger" in always:
                first = always if self.room.height >= FLATTER else ["ledger"]
                return one_below_the_other(["ledger", tab] if self.tab > 1 else first)
            return one_below_the_other([*always, tab])
        away = set(self.tiling.hidden)
        if self.chosen is None and self.room.height < TALL:
            away.add("graph" if self.timeline else "timeline")
        elif self.timeline:
            away.discard("timeline")
        return only(self.tiling, set(self.tiling.panes) - away)

    def arrange(self) -> None:
        """Lay out the panes, and mark the one that keys are about."""
        visible = self.seen()
        if self.current not in visible.panes and visible.panes:
            self.current = "ledger" if "ledger" in visible.panes else visible.panes[0]
        tiles = self.base.query_one(Tiles)
        tiles.lay_out(visible)
        for child in tiles.children:
            child.set_class(pane_of(child) == self.current, "current")
        self.base.query_one("#tabs", Static).update(tab_line(self.tab))

    def rearrange(self, tiling: Tiling | None) -> None:
        """Lay out the panes in another way, and remember it."""
        self.arranged[self.large], self.zoomed = tiling, ""
        self.arrange()
        if self.state is not None:
            remembered.save(self.state, tiling)

    def kept(self, visible: Tiling) -> Tiling:
        """Return all panes, of which these are shown."""
        return with_hidden(visible, self.tiling)

    def whole(self) -> Tiling:
        """Return all panes, with those hidden that a whole screen does not show now."""
        return self.tiling if self.zoomed or self.compact else self.kept(self.seen())

    def roomy(self) -> bool:
        """Return True where panes can be moved; else say why not."""
        if self.zoomed:
            self.hint(f"{self.zoomed} has the whole screen: {shown('pane-zoom')} gives it back")
        elif self.compact:
            self.hint(f"on a small screen panes are tabs: {shown('tab-1')} ... {shown(f'tab-{len(TABS)}')} choose one")
        return not (self.zoomed or self.compact)

    def action_pane(self, way: int) -> None:
        """Make the next pane the one that keys are about; a zoomed one gives its place to it."""
        panes = self.tiling.panes if self.zoomed else self.seen().panes
        panes = [pane for pane in panes if pane not in self.tiling.hidden]
        at = panes.index(self.current) if self.current in panes else -way
        self.current = panes[(at + way) % len(panes)] if panes else self.current
        if self.zoomed:
            self.zoomed = self.current
        self.arrange()

    def action_pane_zoom(self) -> None:
        """Give the current pane the whole screen, or its place back."""
        self.zoomed = "" if self.zoomed else self.current
        self.arrange()
        self.hint(f"{self.zoomed}: {shown('pane-zoom')} gives the screen back" if self.zoomed else "")

    def action_pane_hide(self) -> None:
        """Hide the current pane."""
        self.hint(self.hide(self.current))

    def hide(self, pane: str) -> str:
        """Hide a pane, unless it is the last one. Returns what to say."""
        visible = self.whole()
        hidden = visible.hidden | {pane}
        if hidden >= set(visible.panes):
            return f"{pane} is the only pane"
        self.rearrange(replace(visible, hidden=hidden))
        return f"{pane} is hidden: {shown('pane-show')} shows all panes"

    def action_pane_show(self) -> None:
        """Show all panes."""
        self.rearrange(replace(self.tiling, hidden=frozenset()))

    def action_pane_move(self, way: str) -> None:
        """Move the current pane by one step."""
        if self.roomy():
            self.rearrange(self.kept(move(self.seen(), self.current, way)))

    def action_pane_widen(self, by: int) -> None:
        """Make the current pane wider, or narrower."""
        if self.roomy():
            self.rearrange(self.widened(self.current, by * CELLS))

    def action_pane_heighten(self, by: int) -> None:
        """Make the current pane taller, or shorter."""
        if self.roomy():
            self.rearrange(self.heightened(self.current, by * LINES))

    def action_layout_reset(self) -> None:
        """Have the panes as they are at first."""
        self.rearrange(None)
        self.hint("the panes are as at first")

    def on_tiles_chosen(self, event: Tiles.Chosen) -> None:
        """A pane was clicked."""
        if event.pane != self.current:
            self.current = event.pane
            self.arrange()

    def on_tiles_zoomed(self, event: Tiles.Zoomed) -> None:
        """A title was clicked twice."""
        self.current = event.pane
        self.action_pane_zoom()

    def on_tiles_swapped(self, event: Tiles.Swapped) -> None:
        """A title was dragged onto another pane."""
        if self.roomy():
            self.rearrange(self.kept(swap(self.seen(), event.pane, event.other)))

    def on_tiles_resized(self, event: Tiles.Resized) -> None:
        """A frame was dragged."""
        if not self.roomy():
            return
        tiling = self.widened(event.pane, event.columns) if event.columns else self.heightened(event.pane, event.lines)
        self.rearrange(tiling)

    def widened(self, pane: str, cells: int) -> Tiling:
        """Return the panes with one wider."""
        return self.kept(widen(self.seen(), pane, cells, self.base.query_one(Tiles).size.width))

    def heightened(self, pane: str, lines: int) -> Tiling:
        """Return the panes with one taller."""
        tiles = self.base.query_one(Tiles)
        return self.kept(heighten(self.seen(), pane, lines, tiles.boxes(tiles.children, tiles.size)))

    def layout_result(self, words: Sequence[str]) -> tuple[str, bool]:
        """Carry out `layout ...`. Returns what to say, and whether it is done."""
        panes = self.tiling.panes
        match words:
            case []:
                hidden = ", ".join(sorted(self.tiling.hidden)) or "none"
                more = ", ".join(pane for pane in EXTRA if pane not in panes)
                return f"panes: {', '.join(panes)}; hidden: {hidden}{more and f'; show adds {more}'}", True
            case ["reset"]:
                self.rearrange(None)
                return "the panes are as at first", True
            case ["zoom" | "hide" | "show", pane] | ["move", pane, *_] if pane not in (*PANES, *EXTRA):
                return f"layout: there is no pane {pane!r}; it is one of {', '.join((*PANES, *EXTRA))}", False
            case ["zoom" | "hide" | "show" as verb, pane]:
                return self.carry_out(verb, pane), True
            case ["move", pane, way] if way in WAYS:
                return self.moved(pane, way)
        return f"{LAYOUT}; got {' '.join(words)!r}", False

    def carry_out(self, verb: str, pane: str) -> str:
        """Zoom, hide or show a pane. Returns what to say."""
        if verb == "zoom":
            self.current = self.zoomed = pane
            self.arrange()
            return f"{pane}: {shown('pane-zoom')} gives the screen back"
        if verb == "hide":
            return self.hide(pane)
        if self.compact:
            return f"{self.carry_out('zoom', pane)}; on a small screen it has no place beside the others"
        visible, tiles = self.whole(), self.base.query_one(Tiles)
        if pane not in visible.panes:
            visible = with_extra(visible, pane, tiles.boxes(tiles.children, tiles.size), tiles.wanted)
        self.current = pane
        self.rearrange(replace(visible, hidden=visible.hidden - {pane}))
        return f"{pane} is shown: {shown('pane-hide')} hides it"

    def moved(self, pane: str, way: str) -> tuple[str, bool]:
        """Move a pane. Returns what to say, and whether it is done."""
        if self.zoomed or self.compact or pane not in self.seen().panes:
            return f"layout: {pane} has no place that it could be moved from; layout show {pane} gives it one", False
        self.current = pane
        self.rearrange(self.kept(move(self.seen(), pane, way)))
        return f"{pane} is moved {way}", True

    def is_pane(self, pane: str) -> bool:
        """True where it has a place on the screen now."""
        return pane in self.seen().panes

    def action_pin(self) -> None:
        """Hide the current pane, where it is one that may be over the screen."""
        if self.current in EXTRA and self.is_pane(self.current):
            over = f"{shown(self.current)} shows it over the screen"
            self.hint(f"{self.hide(self.current)}; {over}")
        else:
            names = ", ".join(f"{shown(pane)} {pane}" for pane in EXTRA)
            self.hint(f"over the screen this key makes a pane of what is there: {names}")
