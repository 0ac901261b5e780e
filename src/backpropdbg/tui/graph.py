"""The unrolled graph in three lines: forward, backward, and the partials of the focused parameter."""

from collections.abc import Sequence

from rich.text import Text
from textual.widget import Widget

from backpropdbg.situation import GraphNode, Situation
from backpropdbg.tui import paint

PREFIX = 5


def levels(nodes: Sequence[GraphNode]) -> list[list[GraphNode]]:
    """Return the nodes grouped by level, in the order of the levels."""
    groups: dict[int, list[GraphNode]] = {}
    for node in nodes:
        groups.setdefault(node.level, []).append(node)
    return [groups[level] for level in sorted(groups)]


def state_style(state: str) -> str:
    """Return the style of a node that is done, here or pending."""
    return {"here": f"bold #101216 on {paint.STRONG}", "done": paint.ACCENT}.get(state, paint.DIM)


def cell(group: Sequence[GraphNode], line: str) -> Text:
    """Return what one level shows on the line "fwd", "bwd" or "grad"."""
    text = Text()
    if line == "grad":
        for node in group:
            if node.partial:
                text.append("  " if text else "")
                style = f"bold {paint.STRONG}" if "here" in (node.forward, node.backward) else paint.ACCENT
                norm = paint.number_text(node.partial_norm, digits=2)
                value = norm if node.partial_state == "value" else paint.WORDS[node.partial_state]
                text.append(f"{node.partial} {value}", style if node.partial_state == "value" else paint.DIM)
        return text
    text.append("[" if len(group) > 1 else "")
    for n, node in enumerate(group):
        state = node.forward if line == "fwd" else node.backward
        text.append(" | " if n else "", paint.DIM)
        text.append(paint.clean(node.label), state_style(state))
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
    """Return the three lines, scrolled so that the current level is in view."""
    groups = levels(situation.graph)
    names = ("fwd", "bwd", "grad")
    cells = {name: [cell(group, name) for group in groups] for name in names}
    # A partial may reach two columns into the arrow after its node.
    widths = [max(cells[name][n].cell_len - 2 * (name == "grad") for name in names) for n in range(len(groups))]
    here = here_level(groups, situation.phase)
    room = max(10, width - PREFIX)
    total = sum(widths) + 4 * max(0, len(widths) - 1)
    offset = 0
    if total > room and here is not None:
        start = sum(widths[:here]) + 4 * here
        offset = max(0, min(start + widths[here] // 2 - room // 2, total - room))
    out = Text(no_wrap=True)
    for name, arrow in zip(names, (" -> ", " <- ", "    "), strict=True):
        line = Text()
        for n, text in enumerate(cells[name]):
            start = sum(widths[:n]) + 4 * n
            line.append((" " * (start - line.cell_len) if name == "grad" else arrow) if n else "", paint.DIM)
            line.append_text(text)
            if n < len(widths) - 1:
                line.append(" " * (widths[n] - text.cell_len))
        marked = here is not None and name == ("fwd" if situation.phase == "forward" else "bwd")
        if marked and total + 16 <= room:
            line.append("    you are here", f"bold {paint.STRONG}")
        if total > room:
            shown = line[offset : offset + room]
            shown = shown if offset == 0 or name == "grad" else Text("< ", paint.ACCENT) + shown[2:]
            more = offset + room < total and name != "grad"
            line = shown[: room - 2] + Text(" >", paint.ACCENT) if more else shown
        out.append(f"{name:<{PREFIX}}", paint.DIM)
        out.append_text(line)
        out.append("\n" if name != "grad" else "")
    return out


class Graph(Widget):
    """The graph pane."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.situation: Situation | None = None
        self.border_title = "graph"

    def show(self, situation: Situation) -> None:
        """Draw a stop."""
        self.situation = situation
        self.refresh()

    def render(self) -> Text:
        """Return the lines that fit."""
        return Text("") if self.situation is None else graph_text(self.situation, self.size.width)
