"""The parameters as a tree, over the screen: type to filter, enter focuses. It holds the lines it shows and no more."""

from collections.abc import Callable, Sequence

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.geometry import Size
from textual.screen import ModalScreen
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widgets import Input, Static

from backpropdbg.questions import BADGES, Line, Parameters, ParametersOf
from backpropdbg.situation import Number, State
from backpropdbg.tui import paint

NUMBER = 10
RATIO = 15
BADGE = 8
USES = 5
WAYS = {"up": -1, "down": 1}


def label_room(width: int) -> int:
    """Return how much room there is for names."""
    return max(10, width - USES - NUMBER - RATIO - BADGE - 6)


def heading(width: int) -> Text:
    """Return the titles of the columns."""
    numbers = f"{'uses':>{USES}}{'|.grad|':>{NUMBER}}{'update/weight':>{RATIO}}"
    return Text(f"  {'parameter':<{label_room(width)}}{numbers}  findings", paint.now().dim, no_wrap=True)


def line_text(line: Line, width: int, chosen: bool, focused: bool) -> Text:
    """Return one line. chosen: enter takes it. focused: it is the focus already."""
    room = label_room(width)
    label = "  " * line.depth + paint.clean(line.label)
    style = f"bold {paint.now().strong}" if chosen or focused else paint.now().plain if line.name else paint.now().dim
    text = Text(no_wrap=True).append("> " if chosen else "* " if focused else "  ", f"bold {paint.now().strong}")
    shown = Text(label, style)
    shown.truncate(room, overflow="ellipsis", pad=True)
    text.append_text(shown)
    if line.name:
        text.append(f"{line.uses:>{USES}}", paint.now().plain)
        text.append_text(cell(line.norm, line.state)).append_text(
            cell(line.ratio, line.ratio_state, "no update", RATIO)
        )
        text.append(f"  {line.badges}", f"bold {paint.now().alarm if '!' in line.badges else paint.now().accent}")
    return text


def cell(value: Number | None, state: State, none: str = "None", width: int = NUMBER) -> Text:
    """Return a number, or the word for its absence."""
    if value is not None:
        return Text(f"{paint.number_text(value):>{width}}", paint.now().plain)
    word = none if state == "none" else paint.WORDS[state]
    return Text(f"{word:>{width}}", f"italic {paint.now().dim}")


def legend(lines: Sequence[Line]) -> Text:
    """Return what the letters that show mean."""
    text, used = Text(), {badge for line in lines for badge in line.badges}
    for badge, meaning in BADGES.items():
        if badge in used:
            text.append(f"{badge} ", f"bold {paint.now().accent}").append(f"{meaning}  ", paint.now().dim)
    return text


class ParameterList(ScrollView, can_focus=False):
    """The lines.

    Attributes:
        told: the newest answer. find: what was typed. way: +1 down, -1 up.
        chosen: index of the line that enter takes, -1 where none is.
    """

    def __init__(self, ask: Callable[[ParametersOf], None], focus: str, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.ask, self.focus_name = ask, focus
        self.told: Parameters | None = None
        self.find = ""
        self.chosen, self.way = -1, 1
        self.waits = self.again = False

    def on_resize(self) -> None:
        """Ask for what has room now; first for what is around the focus."""
        self.want(around=self.told is None)

    def want(self, around: bool = False) -> None:
        """Ask for the lines that show, once the answer to the question before is here: who types fast waits for one."""
        self.again = self.waits
        if not self.waits:
            self.waits = True
            self.ask(ParametersOf(self.find, self.scroll_offset.y, max(1, self.size.height), around))

    def look_for(self, find: str) -> None:
        """Show what has these words in its name."""
        self.find, self.chosen = find, -1
        self.scroll_to(y=0, animate=False)
        self.want()

    def tell(self, told: Parameters) -> None:
        """Draw an answer, unless something else was typed since; ask for what is wanted meanwhile."""
        self.waits = False
        if self.again:
            self.want(around=self.told is None)
        if told.find != self.find:
            return
        first, self.told = self.told is None, told
        self.virtual_size = Size(self.size.width, told.lines)
        if self.chosen < 0:
            leaves = [told.first + n for n, line in enumerate(told.page) if line.name]
            self.chosen = told.here if told.here >= 0 and not self.find else leaves[0] if leaves else -1
        if first:  # there is room to scroll only once the size is known
            self.call_after_refresh(self.scroll_to, y=told.first, animate=False)
        line = self.at(self.chosen)
        if line is not None and not line.name and self.chosen > 0:  # it was not known to be a module
            self.move(self.way)
        self.refresh()

    def at(self, index: int) -> Line | None:
        """The line at an index of the tree; None where it is not here."""
        told = self.told
        inside = told is not None and 0 <= index - told.first < len(told.page)
        return told.page[index - told.first] if told is not None and inside else None

    def move(self, by: int) -> None:
        """Choose another line; where it is a module, the next parameter that way."""
        if self.told is None:
            return
        self.way = 1 if by > 0 else -1
        wanted = max(0, min(self.told.lines - 1, self.chosen + by))
        while (line := self.at(wanted)) is not None and not line.name and 0 < wanted < self.told.lines - 1:
            wanted += self.way
        self.chosen = wanted
        height = max(1, self.size.height)
        top = self.scroll_offset.y
        if not top <= wanted < top + height:
            self.scroll_to(y=wanted if wanted < top else wanted - height + 1, animate=False)
            self.call_after_refresh(self.want)
        self.refresh()

    def watch_scroll_y(self, old: float, new: float) -> None:
        """Ask for the lines that came into view, by the wheel too."""
        super().watch_scroll_y(old, new)
        if self.told is not None and round(new) != self.told.first:
            self.call_after_refresh(self.want)

    def render_line(self, y: int) -> Strip:
        """Return line `y` of the window."""
        width, ground, index = self.size.width, self.rich_style, self.scroll_offset.y + y
        line = self.at(index)
        if line is None:
            waits = self.told is not None and index < self.told.lines
            none = self.told is not None and not self.told.lines and y == 0
            text = Text("  ..." if waits else "  no parameter has this in its name" if none else "", paint.now().dim)
        else:
            text = line_text(line, width, index == self.chosen, bool(line.name) and line.name == self.focus_name)
        return Strip(text.render(self.app.console)).apply_style(ground).crop_extend(0, width, ground)


class ParametersScreen(ModalScreen[str]):
    """The tree with what is typed to find something in it; gives the name that was chosen, "" for none."""

    def __init__(self, ask: Callable[[ParametersOf], None], focus: str) -> None:
        super().__init__()
        self.ask, self.focus_name = ask, focus

    def compose(self) -> ComposeResult:
        """Lay out the box."""
        with Vertical(id="parameters") as box:
            yield Static(id="parameters-titles")
            yield ParameterList(self.ask, self.focus_name, id="parameters-list")
            yield Input(placeholder="type to filter", compact=True, id="parameters-find")
            yield Static(id="parameters-legend")
        box.border_title = "parameters"
        box.border_subtitle = "enter focuses, esc closes"

    def on_mount(self) -> None:
        """What is typed filters."""
        self.query_one(Input).focus()

    def on_resize(self) -> None:
        """Titles for the new width."""
        self.call_after_refresh(self.title_columns)

    def title_columns(self) -> None:
        """Write the titles of the columns."""
        self.query_one("#parameters-titles", Static).update(heading(self.query_one(ParameterList).size.width))

    def tell(self, told: Parameters) -> None:
        """Draw an answer."""
        self.query_one(ParameterList).tell(told)
        self.query_one("#parameters-legend", Static).update(legend(told.page))
        text = f"parameters: {told.found} of {told.known}" if told.find else f"parameters: {told.known}"
        self.query_one("#parameters", Vertical).border_title = text

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter."""
        if event.value != self.query_one(ParameterList).find:
            self.query_one(ParameterList).look_for(event.value)

    def on_key(self, event: events.Key) -> None:
        """Walk, choose, close."""
        found = self.query_one(ParameterList)
        page = max(1, found.size.height - 1)
        ways = {**WAYS, "pageup": -page, "pagedown": page}
        if event.key in ways:
            found.move(ways[event.key])
        elif event.key == "escape":
            self.dismiss("")
        elif event.key == "enter":
            line = found.at(found.chosen)
            if line is not None and line.name:
                self.dismiss(line.name)
        else:
            return
        event.stop()
        event.prevent_default()

    def on_click(self, event: events.Click) -> None:
        """Choose the line under the pointer; a second click takes it."""
        found = self.query_one(ParameterList)
        offset = event.get_content_offset(found)
        index = -1 if offset is None else found.scroll_offset.y + offset.y
        line = found.at(index)
        if line is None or not line.name:
            return
        if index == found.chosen:
            self.dismiss(line.name)
        found.chosen = index
        found.refresh()
