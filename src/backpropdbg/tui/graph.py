"""The unrolled graph in three lines: forward, backward, and the partials of the focused parameter."""

from collections.abc import Sequence

from msgspec.structs import replace
from rich.cells import cell_len, get_character_cell_size
from rich.style import Style
from rich.text import Text
from textual import events
from textual.message import Message

from backpropdbg.situation import GraphNode, Situation
from backpropdbg.tui import paint
from backpropdbg.tui.lined import Lined, line_of

PREFIX = 5
SHORT = 3
WIDEST = 8
WAYS = {"fwd": "forward", "bwd": "backward"}
ARROWS = {"fwd": " -> ", "bwd": " <- ", "grad": ""}


def levels(nodes: Sequence[GraphNode]) -> list[list[GraphNode]]:
    """Return the nodes grouped by level, in the order of the levels."""
    groups: dict[int, list[GraphNode]] = {}
    for node in nodes:
        groups.setdefault(node.level, []).append(node)
    return [groups[level] for level in sorted(groups)]


def base_name(group: Sequence[GraphNode]) -> str:
    """Return the module of a level that is one call, e.g. "lin" of "lin#3"; "" for other levels."""
    label, number = group[0].label.rpartition("#")[::2]
    return label if len(group) == 1 and number.isdecimal() and " " not in label else ""


def collapsed(groups: Sequence[list[GraphNode]]) -> list[list[GraphNode]]:
    """Return the levels with the middle of long unrollings as one, e.g. "#2 .. #56", but for the calls around here.

    What became one is alike: all done, or all pending.
    """

    def kind(n: int) -> tuple[str, ...]:
        node = groups[n][0]
        return base_name(groups[n]), node.forward, node.backward, node.partial_state

    here = [n for n, group in enumerate(groups) if any("here" in (node.forward, node.backward) for node in group)]
    names = [base_name(group) for group in groups]
    ends = {n for n, name in enumerate(names) if name not in names[n - 1 : n] or name not in names[n + 1 : n + 2]}
    kept = ends | {n + step for n in here for step in (-1, 0, 1)}
    found: list[list[GraphNode]] = []
    at = 0
    while at < len(groups):
        end = at
        while end < len(groups) and end not in kept and names[end] and kind(end) == kind(at):
            end += 1
        if end - at < SHORT:
            found += groups[at : max(end, at + 1)]
            at = max(end, at + 1)
            continue
        first, last = groups[at][0], groups[end - 1][0]
        label = f"#{first.label.rpartition('#')[2]} .. #{last.label.rpartition('#')[2]}"
        found.append([replace(first, label=label, partial="", focused=False)])
        at = end
    return found


def state_style(state: str) -> str:
    """Return the style of a node that is done, here or pending."""
    return {"here": f"bold {paint.now().on_accent} on {paint.now().strong}", "done": paint.now().accent}.get(
        state, paint.now().dim
    )


def cell(group: Sequence[GraphNode], line: str) -> Text:
    """Return what one level shows on the line "fwd", "bwd" or "grad"."""
    text = Text()
    if line == "grad":
        for node in group:
            if node.partial:
                text.append("  " if text else "")
                style = f"bold {paint.now().strong}" if "here" in (node.forward, node.backward) else paint.now().accent
                norm = paint.number_text(node.partial_norm, digits=2)
                value = norm if node.partial_state == "value" else paint.WORDS[node.partial_state]
                text.append(f"{node.partial} {value}", style if node.partial_state == "value" else paint.now().dim)
        return text
    text.append("[" if len(group) > 1 else "")
    for n, node in enumerate(group):
        state = node.forward if line == "fwd" else node.backward
        text.append(" | " if n else "", paint.now().dim)
        star = "*" if state == "here" and len(group) > 1 else ""
        drawn = Style.parse(state_style(state)) + Style(meta={"call": node.label, "way": WAYS[line]})
        text.append(paint.clean(node.label) + star, drawn)
    text.append("]" if len(group) > 1 else "")
    return text


def here_level(groups: Sequence[Sequence[GraphNode]], phase: str) -> int | None:
    """Return the index of the level that the stop is at."""
    for name in ("forward", "backward") if phase == "forward" else ("backward", "forward"):
        for n, group in enumerate(groups):
            if any(getattr(node, name) == "here" for node in group):
                return n
    return None


def graph_text(situation: Situation, width: int) -> Text:
    """Return the three lines, the current level in brackets and scrolled into view."""
    groups, room = levels(situation.graph), max(10, width - PREFIX)
    if line_width(groups) > width - PREFIX:
        groups = collapsed([thinned(group) for group in groups])
    groups = near(groups, here_level(groups, situation.phase), room)
    cells = {name: [cell(group, name) for group in groups] for name in ARROWS}
    # A partial may reach two columns into the arrow after its node.
    widths = [max(cells[name][n].cell_len - 2 * (name == "grad") for name in ARROWS) for n in range(len(groups))]
    starts = [sum(widths[:n]) + 4 * n for n in range(len(widths))]
    total = starts[-1] + widths[-1] + 1 if widths else 0
    here = here_level(groups, situation.phase)
    offset = 0
    if total > room and here is not None:
        offset = max(0, min(starts[here] + widths[here] // 2 - room // 2, total - room))
    out = []
    for name in ARROWS:
        marked = here if name == ("fwd" if situation.phase == "forward" else "bwd") else None
        line = joined(cells[name], starts, name, marked)
        if marked is not None and total + 16 <= room:
            line.append("    you are here", f"bold {paint.now().strong}")
        if total > room:
            line = cropped(line, offset, room, total, name != "grad")
        out.append(Text(f"{name:<{PREFIX}}", paint.now().dim, no_wrap=True) + line)
    return Text("\n", no_wrap=True).join(out)


def line_width(groups: Sequence[Sequence[GraphNode]]) -> int:
    """Return how wide the forward line is, about."""
    return sum(cell_len(node.label) + 4 for group in groups for node in group)


def near(groups: list[list[GraphNode]], here: int | None, room: int) -> list[list[GraphNode]]:
    """Return the levels that may show in `room` cells: those of the stop, and more on each side than there is room for.

    A level and its arrow take five cells or more.
    """
    return groups[max(0, (here or 0) - room // 4) : (here or 0) + room // 4 + 1]


def thinned(group: list[GraphNode]) -> list[GraphNode]:
    """Return a level with many calls side by side as its ends, those around the stop, and how many more there are.

    Some that use the focused parameter stay, too.
    """
    if len(group) <= WIDEST:
        return group
    here = [n for n, node in enumerate(group) if "here" in (node.forward, node.backward)]
    mine = [n for n, node in enumerate(group) if node.focused][:4]
    kept = {0, 1, len(group) - 2, len(group) - 1, *mine, *(n + step for n in here for step in (-1, 0, 1))}
    found: list[GraphNode] = []
    for n, node in enumerate(group):
        if n in kept:
            found.append(node)
        elif n - 1 in kept:
            left = next(m for m in range(n, len(group)) if m in kept) - n
            found.append(replace(node, label=f"{left} more", partial="", focused=False))
    return found


def joined(cells: Sequence[Text], starts: Sequence[int], name: str, marked: int | None) -> Text:
    """Return one line: each cell at its start, arrows between them, brackets around the marked one."""
    line = Text(no_wrap=True)
    for n, text in enumerate(cells):
        gap = " " * (starts[n] - line.cell_len - len(ARROWS[name])) + ARROWS[name] if n else ""
        if n and n - 1 == marked:
            gap = "]" + gap[1:]
        if n and n == marked:
            gap = gap[:-1] + "["
        line.append(gap, paint.now().dim)
        line.append_text(text)
    if marked is not None and marked == len(cells) - 1:
        line.append("]", paint.now().dim)
    return line


def cropped(line: Text, offset: int, room: int, total: int, arrows: bool) -> Text:
    """Return what there is room for, with arrows at the ends that go on."""
    more = arrows and offset > 0, arrows and offset + room < total
    shown = part(line, offset + 2 * more[0], room - 2 * sum(more))
    before, after = (Text(sign * there, paint.now().accent) for sign, there in zip(("< ", " >"), more, strict=True))
    return before + shown + after


def part(line: Text, start: int, width: int) -> Text:
    """Return `width` cells of a line; of a wide character that is cut in two there is a blank."""
    owners = [n for n, sign in enumerate(line.plain) for _ in range(get_character_cell_size(sign))]  # of each cell
    window = owners[start : start + width]
    if not window:
        return Text(no_wrap=True)
    cut_before = start > 0 and owners[start - 1] == window[0]
    cut_after = owners[start + width : start + width + 1] == window[-1:]
    shown = line[window[0] + cut_before : window[-1] + 1 - cut_after]
    return Text(" " * cut_before, no_wrap=True) + shown + Text(" " * cut_after)


class Graph(Lined):
    """The graph pane."""

    class Picked(Message):
        """A call was clicked, on the line of the way "forward" or "backward"."""

        def __init__(self, call: str, way: str) -> None:
            super().__init__()
            self.call, self.way = call, way

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.situation: Situation | None = None
        self.border_title = "graph"

    def show(self, situation: Situation) -> None:
        """Draw a stop."""
        known, self.situation = self.situation, situation
        if known is None or (known.graph, known.phase) != (situation.graph, situation.phase):
            self.redraw()

    def on_click(self, event: events.Click) -> None:
        """Pick the call under the pointer."""
        if call := event.style.meta.get("call"):
            self.post_message(self.Picked(call, event.style.meta["way"]))

    def redraw(self) -> None:
        """Draw the lines that fit."""
        if self.situation is not None:
            text = graph_text(self.situation, self.size.width)
            self.put([line_of(line, self.app.console) for line in text.split("\n")])
