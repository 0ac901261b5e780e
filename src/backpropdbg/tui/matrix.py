"""One tensor of a stop as a grid of signed, coloured numbers."""

from collections.abc import Sequence

from msgspec.structs import replace
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.message import Message

from backpropdbg.situation import Matrix, Window
from backpropdbg.tui import paint
from backpropdbg.tui.lined import Line, Lined
from backpropdbg.tui.plane import Plane, flat_shape

CELL = 7
NEARLY = 4
MARKED, UNMARKED = Style(bold=True, underline=True), Style(underline=False)


def selected_cell(plane: Plane, window: Window, element: Sequence[int]) -> tuple[int, int] | None:
    """Return the shown row and column that hold `element`, or None where it is out of the window."""
    cell = plane.cell(element)
    if cell is None:
        return None
    row = (cell[0] - window.row0) // window.row_step
    column = (cell[1] - window.col0) // window.col_step
    inside = 0 <= row < len(window.values) and 0 <= column < len(window.values[row])
    return (row, column) if inside else None


def layout(window: Window, height: int) -> tuple[int, int]:
    """Return the width of the row numbers and of a cell."""
    rows = window.values[: max(1, height - 1)]
    margin = len(str(window.row0 + window.row_step * max(0, len(rows) - 1)))
    return margin, max([CELL, *(len(paint.cell_text(value)) + 1 for row in rows for value in row)])


def matrix_rows(plane: Plane, window: Window, element: Sequence[int], width: int, height: int) -> list[Line]:
    """Return the grid: a line of column numbers, then one line a row."""
    rows = window.values[: max(1, height - 1)]
    margin, cell = layout(window, height)
    columns = min(max((len(row) for row in rows), default=0), max(1, (width - margin) // cell))
    marked, dim = selected_cell(plane, window, element), Style.parse(paint.now().dim)
    titles = [Segment(f"{window.col0 + n * window.col_step:>{cell}}", dim) for n in range(columns)]
    lines = [[Segment(" " * margin), *titles]]
    for r, row in enumerate(rows):
        line = [Segment(f"{window.row0 + r * window.row_step:>{margin}}", dim)]
        for c, value in enumerate(row[:columns]):
            text, style = paint.cell_text(value), paint.shade(value, window.scale_vmax)
            if marked == (r, c):
                line.append(Segment(" " * (cell - len(text)), style + MARKED + UNMARKED))
                line.append(Segment(text, style + MARKED))
            else:
                line.append(Segment(f"{text:>{cell}}", style))
        lines.append(line)
    return lines


def cut_text(window: Window) -> str:
    """Say which part of a tensor is shown, e.g. "rows 2-8 of 12"."""
    rows, columns = flat_shape(window.shape)
    shown = [("rows", window.row0, len(window.values), rows), ("cols", window.col0, len(window.values[0]), columns)]
    return ", ".join(f"{word} {at}-{at + n - 1} of {size}" for word, at, n, size in shown if n < size)


def scale_text(matrix: Matrix, window: Window | None) -> str:
    """Return the frame's subtitle: the scale, the pooling, and the note."""
    parts = []
    if window is not None:
        parts.append(f"±{paint.number_text(window.scale_vmax, 2)}")
        if window.row_step > 1 or window.col_step > 1:
            parts.append(f"largest of {window.row_step}x{window.col_step}")
        elif window.values and (len(window.values), len(window.values[0])) != flat_shape(window.shape):
            parts.append(cut_text(window))
    parts += [matrix.note] if matrix.note else []
    return "  ".join(parts)


class MatrixPane(Lined):
    """The frame of one matrix.

    Attributes:
        labels: what stands on the frame.
    """

    class Sized(Message):
        """The pane has another size, so other cells have room."""

    class Picked(Message):
        """An element was clicked."""

        def __init__(self, element: tuple[int, ...]) -> None:
            super().__init__()
            self.element = element

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.matrix: Matrix | None = None
        self.window_shown: Window | None = None
        self.element: tuple[int, ...] = ()
        self.axes: tuple[int, ...] = ()
        self.labels = ("", "")

    def on_resize(self) -> None:
        """Draw what has room, and tell who has the cells."""
        self.redraw()
        self.post_message(self.Sized())

    def on_click(self, event: events.Click) -> None:
        """Pick the element under the pointer; of pooled cells the first."""
        offset, window = event.get_content_offset(self), self.window_shown
        if offset is None or window is None or self.matrix is None:
            return
        margin, cell = layout(window, self.size.height)
        row, column = offset.y - 1, (offset.x - margin) // cell
        if 0 <= row < len(window.values) and 0 <= column < len(window.values[row]):
            at = (window.row0 + row * window.row_step, window.col0 + column * window.col_step)
            self.post_message(self.Picked(self.plane.element(*at)))

    def show(self, matrix: Matrix, element: tuple[int, ...], axes: tuple[int, ...] = (), same: bool = False) -> None:
        """Draw the frame; the cells follow. same: it is of the same stop as before, so they can stay until then."""
        known = self.matrix is not None and replace(self.matrix, note=matrix.note) == matrix
        stays = same and known and axes == self.axes
        self.matrix, self.element, self.axes = matrix, element, axes
        self.window_shown = self.window_shown if stays else None
        self.label()

    @property
    def plane(self) -> Plane:
        """What shows of the tensor."""
        return Plane(self.matrix.shape if self.matrix else (), self.axes, self.element)

    def fill(self, window: Window | None) -> None:
        """Draw the cells, if they are others."""
        if window is None or window != self.window_shown:
            self.window_shown = window
            self.label()

    def label(self) -> None:
        """Write the title and the scale on the frame; a small screen's frame has an upper edge only."""
        if self.matrix is None:
            return
        title = f"{paint.clean(self.matrix.title)} {self.plane.title}".rstrip()
        scale = scale_text(self.matrix, self.window_shown)
        small = self.screen.has_class("compact")
        labels = (f"{title}  {scale}".rstrip(), "") if small else (title, scale)
        if labels != self.labels:
            self.labels = labels
            self.border_title, self.border_subtitle = map(Text, labels)
        self.redraw()

    @property
    def is_pooled(self) -> bool:
        """True where a cell stands for several of the tensor."""
        window = self.window_shown
        return window is not None and (window.row_step > 1 or window.col_step > 1)

    def room(self) -> tuple[int, int]:
        """Return how many rows and columns of cells fit."""
        margin = len(str(max(1, self.plane.size[0]) - 1))
        return max(1, self.size.height - 1), max(1, (self.size.width - margin) // CELL)

    def nearly_fits(self) -> bool:
        """True for a tensor of a few pages: better true cells around the element than all of them pooled."""
        rows, columns = self.plane.size
        room_rows, room_columns = self.room()
        fits = rows <= room_rows and columns <= room_columns
        return not fits and rows <= NEARLY * room_rows and columns <= NEARLY * room_columns

    def origin(self) -> tuple[int, int]:
        """Return the first row and column of a cut that has the selected element in its middle."""
        rows, columns = self.plane.size
        row, column = self.plane.cell(self.element) or (0, 0)
        room_rows, room_columns = self.room()
        row0, column0 = row - room_rows // 2, column - room_columns // 2
        return max(0, min(row0, rows - room_rows)), max(0, min(column0, columns - room_columns))

    def redraw(self) -> None:
        """Draw the grid, or the word for its absence."""
        dim = Style.parse(paint.now().dim)
        if self.matrix is None:
            self.put([])
        elif self.matrix.state != "value":
            self.put([[Segment(paint.WORDS[self.matrix.state], dim + Style(italic=True))]])
        elif self.window_shown is None:
            self.put([[Segment("...", dim)]])
        else:
            self.put(matrix_rows(self.plane, self.window_shown, self.element, self.size.width, self.size.height))
