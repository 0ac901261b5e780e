"""The parameters as a tree: type to filter, enter focuses. It holds the lines it shows and no more."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widgets import Input

from backpropdbg.questions import BADGES, Answer, Line, Parameters, ParametersOf
from backpropdbg.situation import Number, Situation, State
from backpropdbg.tui import paint
from backpropdbg.tui.asked import AskedPane
from backpropdbg.tui.quiet import Quiet

NUMBER = 10
RATIO = 15
BADGE, FEW = 8, 4
USES = 5
WIDE = 60
LOW = 7
WAYS = {"up": -1, "down": 1}


def label_room(width: int) -> int:
    """Return how much room there is for names; a narrow pane has no ratios, and room for few findings."""
    return max(10, width - USES - NUMBER - (RATIO + BADGE if width >= WIDE else FEW) - 6)


def heading(width: int) -> Text:
    """Return the titles of the columns."""
    numbers = f"{'uses':>{USES}}{'|.grad|':>{NUMBER}}"
    if width >= WIDE:
        numbers += f"{'update/weight':>{RATIO}}"
    return Text(f"  {'parameter':<{label_room(width)}}{numbers}  findings", paint.now().dim, no_wrap=True)


def line_text(line: Line, width: int, chosen: bool, focused: bool) -> Text:
    """Return one line. chosen: enter takes it. focused: it is the focus already."""
    room = label_room(width)
    label = "  " * line.depth + paint.clean(line.label)
    style = f"bold {paint.now().strong}" if chosen or focused else paint.now().plain if line.name else paint.now().dim
    text = Text(no_wrap=True).append("> " if chosen else "* " if focused else "  ", f"bold {paint.now().strong}")
    shown = Text(label, style)
    shown.truncate(room if line.name else max(room, width - 4), overflow="ellipsis", pad=True)
    text.append_text(shown)
    if line.name:
        text.append(f"{line.uses:>{USES}}", paint.now().plain)
        text.append_text(cell(line.norm, line.state))
        if width >= WIDE:
            text.append_text(cell(line.ratio, line.ratio_state, "no update", RATIO))
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
        focus_name: the parameter in focus; seek: what is around it is to be shown. settled: the line it began with.
        chosen: index of the line that enter takes, -1 where none is; active: it is marked, as the keyboard is here.
    """

    def __init__(self, ask: Callable[[ParametersOf], None], focus: str, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.ask, self.focus_name = ask, focus
        self.told: Parameters | None = None
        self.find = ""
        self.chosen, self.way = -1, 1
        self.waits = self.again = self.active = False
        self.seek, self.settled = True, -1

    def on_resize(self) -> None:
        """Ask for what has room now; for what is around the focus, unless the user has scrolled away from there."""
        told = self.told
        self.seek = self.seek or (told is not None and not self.find and self.scroll_offset.y == self.settled)
        self.want()

    def follow(self, focus: str) -> None:
        """Ask anew, about another stop; another focus is brought into view, unless something is looked for."""
        if focus != self.focus_name:
            self.focus_name, self.chosen, self.seek = focus, -1, not self.find
        self.waits = False  # what was asked before is of another stop
        self.want()

    def want(self) -> None:
        """Ask for the lines that show, once the answer to the question before is here: who types fast waits for one."""
        self.again = self.waits
        if not self.waits and self.is_on_screen:
            self.waits = True
            self.ask(ParametersOf(self.find, self.scroll_offset.y, max(1, self.size.height), self.seek))

    def look_for(self, find: str) -> None:
        """Show what has these words in its name; without any, what is around the focus."""
        self.find, self.chosen, self.seek = find, -1, not find
        self.scroll_to(y=0, animate=False)
        self.want()

    def tell(self, told: Parameters) -> None:
        """Draw an answer, unless something else was typed since; ask for what is wanted meanwhile."""
        self.waits = False
        sought, again = self.seek, self.again
        if again:
            self.want()
        if told.find != self.find:
            return
        known, self.told, self.seek = self.told, told, sought and again
        same = not sought and known is not None and (known.first, known.page) == (told.first, told.page)
        chosen = self.chosen
        self.virtual_size = Size(self.size.width, told.lines)
        if self.chosen < 0:
            leaves = [told.first + n for n, line in enumerate(told.page) if line.name]
            self.chosen = told.here if told.here >= 0 and not self.find else leaves[0] if leaves else -1
        if sought:  # there is room to scroll only once the size is known
            self.settled = told.first
            self.call_after_refresh(self.scroll_to, y=told.first, animate=False)
        line = self.at(self.chosen)
        if line is not None and not line.name and self.chosen > 0:  # it was not known to be a module
            self.move(self.way)
        if not same or chosen != self.chosen:
            self.refresh()
        self.call_after_refresh(self.complete)

    def complete(self) -> None:
        """Ask for the lines that show and are not here: who scrolled while an answer was on its way has another one."""
        top, told = self.scroll_offset.y, self.told
        if told is None or self.waits:
            return
        last = min(top + self.size.height, told.lines)
        if not told.first <= top <= last <= told.first + len(told.page):
            self.want()

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
            focused = bool(line.name) and line.name == self.focus_name
            text = line_text(line, width, self.active and index == self.chosen, focused)
        return Strip(text.render(self.app.console)).apply_style(ground).crop_extend(0, width, ground)


class ParametersPane(AskedPane):
    """The tree with what is typed to find something in it."""

    key, answer = "parameters", Parameters
    told_keys: ClassVar[str] = "enter focuses"

    class Taken(Message):
        """A parameter was chosen, to be in focus; "": none, and the keyboard is free."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    def compose(self) -> ComposeResult:
        """Lay out the lines, and where to type."""
        yield Quiet(id="parameters-titles")
        yield ParameterList(self.ask, self.focus_name, id="parameters-list")
        yield Input(placeholder="type to filter", compact=True, id="parameters-find")
        yield Quiet(id="parameters-legend")

    @property
    def list(self) -> ParameterList:
        """The lines."""
        return self.query_one(ParameterList)

    def want(self) -> None:
        """Ask for what shows."""
        self.list.want()

    def follow(self, situation: Situation) -> None:
        """Ask anew, about another stop, where it is seen."""
        self.focus_name = situation.focus
        self.list.follow(situation.focus)

    def enter(self) -> None:
        """What is typed filters."""
        self.add_class("finding")
        self.query_one(Input).focus()

    def on_descendant_focus(self) -> None:
        """The keyboard is here."""
        self.list.active = True
        self.list.refresh()

    def on_descendant_blur(self) -> None:
        """It is elsewhere; what is looked for stays."""
        self.list.active = False
        self.set_class(bool(self.list.find), "finding")
        self.list.refresh()

    def on_resize(self) -> None:
        """Titles for the new width; a low pane has no room for what letters mean."""
        for told in self.query("#parameters-legend"):
            told.display = self.size.height >= LOW
        self.call_after_refresh(self.redraw)

    def redraw(self) -> None:
        """Write the titles of the columns, what the letters mean, and the lines."""
        self.label()
        self.list.refresh()

    def label(self) -> None:
        """Write the titles of the columns, and what the letters mean."""
        if len(self.query("#parameters-titles, #parameters-list, #parameters-legend")) < 3:
            return  # the screen is going down
        self.query_one("#parameters-titles", Quiet).update(heading(self.list.size.width))
        told = self.list.told
        self.query_one("#parameters-legend", Quiet).update(legend(told.page if told is not None else ()))

    def tell(self, told: Answer) -> None:
        """Draw an answer."""
        assert isinstance(told, Parameters)
        self.list.tell(told)
        self.title(f"parameters: {told.found} of {told.known}" if told.find else f"parameters: {told.known}")
        self.label()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter."""
        if event.value != self.list.find:
            self.list.look_for(event.value)

    def on_key(self, event: events.Key) -> None:
        """Walk, choose, leave."""
        found = self.list
        page = max(1, found.size.height - 1)
        ways = {**WAYS, "pageup": -page, "pagedown": page}
        if event.key in ways:
            found.move(ways[event.key])
        elif event.key == "escape":
            self.query_one(Input).value = ""
            self.post_message(self.Taken(""))
        elif event.key == "enter":
            self.take(found.chosen)
        else:
            return
        event.stop()
        event.prevent_default()

    def take(self, index: int) -> None:
        """Choose the parameter of a line, if there is one."""
        line = self.list.at(index)
        if line is not None and line.name:
            self.post_message(self.Taken(line.name))

    def on_click(self, event: events.Click) -> None:
        """Take the line under the pointer; in a box over the screen that is the second click, and the first chooses."""
        found = self.list
        offset = event.get_content_offset(found)
        index = -1 if offset is None else found.scroll_offset.y + offset.y
        if index == found.chosen or not self.has_class("overlay"):
            self.take(index)
        line = found.at(index)
        if line is not None and line.name:
            found.chosen = index
            found.refresh()
