"""The autograd nodes in the graph pane: a list in the order of backward. It holds the lines it shows and no more."""

from collections.abc import Callable
from textwrap import wrap

from rich.text import Text
from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from backpropdbg.questions import NodeLine, Nodes, NodesOf, NodeState, NodeUse
from backpropdbg.tui import paint

STATE = 12
USE = 13
NAMED = 110


def state_style(state: NodeState) -> str:
    """Return the style of a node that is done, here, pending, or of which that is not known."""
    colours = paint.now()
    if state in ("not known", "not computed"):
        return f"italic {colours.dim}"
    return {"here": f"bold {colours.strong}", "done": colours.accent}.get(state, colours.dim)


def use_text(line: NodeLine) -> Text:
    """Return the uses of the focused parameter that a node makes, with their partials; of many the ends."""
    text, strong = Text(), f"bold {paint.now().strong if line.state == 'here' else paint.now().accent}"
    if line.times > 1:
        return Text(" .. ".join(use.label for use in line.uses), strong)
    for use in line.uses:
        text.append("  " if text else "")
        known = use.state == "value"
        shown = paint.number_text(use.norm, digits=2) if known else paint.WORDS[use.state]
        text.append(f"{use.label} {shown}", strong if known else paint.now().dim)
    return text


def targets_text(line: NodeLine, named: bool) -> Text:
    """Return what a node hands its gradients on to, the way of a use set off."""
    text, colours = Text(), paint.now()
    for target in line.targets:
        text.append(", " if text else "-> ", colours.dim)
        words = f"{target.number} {paint.clean(target.label)}" if named else f"{target.number}"
        mark = f" ({target.use})" if target.use else ""
        text.append(words + mark, colours.accent if target.use else colours.dim)
    return text.append(f", {line.more} more", colours.dim) if line.more else text


def line_text(line: NodeLine, width: int, digits: int, uses: bool) -> Text:
    """Return one line. digits: of the largest number. uses: some line of the page makes a use."""
    colours = paint.now()
    text = Text(no_wrap=True).append("> " if line.state == "here" else "  ", f"bold {colours.strong}")
    text.append(f"{line.place:>{digits}} ", colours.dim)
    text.append(f"{line.state:<{STATE}} ", state_style(line.state))
    if uses:
        made = use_text(line)
        made.pad_right(max(0, USE - made.cell_len))
        text.append_text(made).append(" ")
    plain = f"bold {colours.strong}" if line.state == "here" else colours.plain
    text.append(paint.clean(line.name), plain).append(" ")
    text.append_text(targets_text(line, width >= NAMED))
    text.truncate(width, overflow="ellipsis")
    return text


class NodesPane(ScrollView, can_focus=False):
    """The list.

    Attributes:
        told: the newest answer; None before. waits: for one; again: lines came into view meanwhile.
    """

    class Picked(Message):
        """A node that makes a use was clicked."""

        def __init__(self, use: NodeUse) -> None:
            super().__init__()
            self.use = use

    def __init__(self, ask: Callable[[NodesOf], None], *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.ask = ask
        self.told: Nodes | None = None
        self.waits = self.again = False
        self.border_title = "graph"

    def look(self, node: int = 0) -> None:
        """Ask for what is around a new stop, or for the lines from a node on."""
        self.waits = False  # what was asked of a program that ran on has no answer
        self.want(around=not node, node=node)

    def want(self, around: bool = False, node: int = 0) -> None:
        """Ask for lines, those that show if no others are meant, once the answer to the question before is here."""
        self.again = self.waits
        if not self.waits and self.size.height:
            self.waits = True
            self.ask(NodesOf(max(0, self.scroll_offset.y), self.size.height, around, node))

    def on_resize(self) -> None:
        """Ask for what has room now; a pane that was hidden had none."""
        self.look()

    def tell(self, told: Nodes) -> None:
        """Draw an answer, and ask for what came into view meanwhile."""
        self.waits, self.told = False, told
        self.border_title = f"graph: {told.title}, {told.known} nodes" if told.title else "graph: nodes"
        self.virtual_size = Size(self.size.width, told.lines)
        if self.again:
            self.want()
        else:  # there is room to scroll only once the size is known
            self.call_after_refresh(self.scroll_to, y=told.first, animate=False)
        self.refresh()

    def watch_scroll_y(self, old: float, new: float) -> None:
        """Ask for the lines that came into view."""
        super().watch_scroll_y(old, new)
        if self.told is not None and round(new) != self.told.first:
            self.call_after_refresh(self.want)

    def at(self, index: int) -> NodeLine | None:
        """The line at an index of the list; None where it is not here."""
        told = self.told
        inside = told is not None and 0 <= index - told.first < len(told.page)
        return told.page[index - told.first] if told is not None and inside else None

    def on_click(self, event: events.Click) -> None:
        """Pick the use that the node under the pointer makes."""
        offset = event.get_content_offset(self)
        line = None if offset is None else self.at(self.scroll_offset.y + offset.y)
        if line is not None and line.uses:
            self.post_message(self.Picked(line.uses[0]))

    def render_line(self, y: int) -> Strip:
        """Return line `y` of the window."""
        width, ground = self.size.width, self.rich_style
        text = self.text_at(y, width - self.show_vertical_scrollbar)
        return Strip(text.render(self.app.console)).apply_style(ground).crop_extend(0, width, ground)

    def text_at(self, y: int, width: int) -> Text:
        """Return the text of line `y`."""
        told, line = self.told, self.at(self.scroll_offset.y + y)
        if told is not None and line is not None:
            digits = max(len(each.place) for each in told.page)
            return line_text(line, width, digits, any(each.uses for each in told.page))
        reason = [] if told is None else wrap(told.why, max(20, width))
        if y < len(reason):
            return Text(reason[y], paint.now().dim)
        inside = told is not None and self.scroll_offset.y + y < told.lines
        return Text("  ..." if inside else "", paint.now().dim)
