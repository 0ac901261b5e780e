"""The container of the panes: each is drawn where the tiling says, and frames can be dragged with the mouse."""

from collections.abc import Sequence

from textual import events
from textual.containers import Container
from textual.geometry import NULL_OFFSET, NULL_SPACING, Region, Size
from textual.layout import ArrangeResult, Layout, WidgetPlacement
from textual.message import Message
from textual.widget import Widget

from backpropdbg.tui.tiling import Box, Tiling, boxes, default, shown

AWAY = "away"


def pane_of(widget: Widget) -> str:
    """Return the pane that a widget stands for: the output has a second one for the past, the graph one for nodes."""
    return (widget.id or "").partition("-")[0]


class Tiled(Layout):
    """Puts the children of `Tiles` where they belong."""

    name = "tiled"

    def arrange(self, parent: Widget, children: list[Widget], size: Size, greedy: bool = True) -> ArrangeResult:
        """Return a place for each child that is displayed."""
        assert isinstance(parent, Tiles)
        parent.pre_layout(self)
        found = parent.boxes(children, size)
        return [
            WidgetPlacement(Region(*found[pane_of(child)]), NULL_OFFSET, NULL_SPACING, child)
            for child in children
            if pane_of(child) in found
        ]


TILED = Tiled()


class Tiles(Container):
    """The panes.

    Attributes:
        tiling: where they are now, and no others are shown.
        wanted: how many lines each of them would like, of a number of lines; one that is not here takes what there is.
    """

    class Resized(Message):
        """The lower or the right frame of a pane was dragged, by so many cells."""

        def __init__(self, pane: str, columns: int, lines: int) -> None:
            super().__init__()
            self.pane, self.columns, self.lines = pane, columns, lines

    class Swapped(Message):
        """The title of a pane was dragged onto another pane."""

        def __init__(self, pane: str, other: str) -> None:
            super().__init__()
            self.pane, self.other = pane, other

    class Zoomed(Message):
        """The title of a pane was clicked twice."""

        def __init__(self, pane: str) -> None:
            super().__init__()
            self.pane = pane

    class Chosen(Message):
        """A pane was clicked."""

        def __init__(self, pane: str) -> None:
            super().__init__()
            self.pane = pane

    def __init__(self, *children: Widget, id: str | None = None) -> None:
        super().__init__(*children, id=id)
        self.tiling: Tiling = default(0)
        self.wanted = {"matrices": 8}  # until there are some
        self.dragged: tuple[str, str, int, int] | None = None

    @property
    def layout(self) -> Layout:
        """Where children are placed, which no style sheet can say."""
        return TILED

    def lay_out(self, tiling: Tiling) -> None:
        """Show the panes of a tiling, and no others."""
        self.tiling = tiling
        for child in self.children:
            child.set_class(pane_of(child) not in tiling.panes, AWAY)
        self.place()

    def want(self, pane: str, lines: int) -> None:
        """Tell how many lines a pane would like."""
        if self.wanted.get(pane) != lines:
            self.wanted[pane] = lines
            self.place()

    def place(self) -> None:
        """Have the children placed anew; it is they who ask for that, else what was placed before is taken again."""
        for child in self.children:
            child.refresh(layout=True)

    def boxes(self, children: Sequence[Widget], size: Size) -> dict[str, Box]:
        """Return where the panes of these children are, in a container of this size."""
        tiling = shown(self.tiling, {pane_of(child) for child in children if child.display})
        return boxes(tiling, size.width, size.height, self.wanted)

    def at(self, x: int, y: int) -> Widget | None:
        """Return the child at a place of the screen."""
        return next((child for child in self.children if child.display and child.region.contains(x, y)), None)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Choose a pane; its title and its lower and right frame can be dragged."""
        child = self.at(event.screen_x, event.screen_y)
        if child is None:
            return
        self.post_message(self.Chosen(pane_of(child)))
        if part := part_at(child, event.screen_x, event.screen_y):
            self.dragged = (pane_of(child), part, event.screen_x, event.screen_y)
            self.capture_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Follow the mouse with the frame."""
        if self.dragged is None:
            return
        pane, part, x, y = self.dragged
        columns = event.screen_x - x if part == "right" else 0
        lines = event.screen_y - y if part == "bottom" else 0
        if columns or lines:
            self.dragged = (pane, part, event.screen_x, event.screen_y)
            self.post_message(self.Resized(pane, columns, lines))

    def on_mouse_up(self, event: events.MouseUp) -> None:
        """Let go; a title that is let go over another pane changes places with it."""
        if self.dragged is None:
            return
        (pane, part, _, _), self.dragged = self.dragged, None
        self.release_mouse()
        child = self.at(event.screen_x, event.screen_y)
        if part == "top" and child is not None and pane_of(child) != pane:
            self.post_message(self.Swapped(pane, pane_of(child)))

    def on_click(self, event: events.Click) -> None:
        """Zoom on a double click on a title."""
        child = self.at(event.screen_x, event.screen_y)
        if event.chain == 2 and child is not None and part_at(child, event.screen_x, event.screen_y) == "top":
            self.post_message(self.Zoomed(pane_of(child)))


def part_at(widget: Widget, x: int, y: int) -> str:
    """Return the side of a widget's frame that is at a place of the screen, "" where there is no frame."""
    border, region = widget.styles.border, widget.region
    sides = {
        "top": y == region.y and border.top[0],
        "bottom": y == region.bottom - 1 and border.bottom[0],
        "right": x == region.right - 1 and border.right[0],
    }
    return next((side for side, hit in sides.items() if hit), "")
