"""The matrices of a stop side by side, as many as have room."""

from textual.app import ComposeResult
from textual.containers import Horizontal

from backpropdbg.situation import Matrix, Situation, Window
from backpropdbg.tui.matrix import MatrixPane
from backpropdbg.tui.tiles import Tiles
from backpropdbg.wire.session import Session

PANES = 6
PANE_WIDTH = 36


class Matrices(Horizontal):
    """The frames, whose cells are asked of the session once it is known how many fit.

    Attributes:
        first: index of the matrix that was chosen to come first; 0: those with a value come first.
        zoomed: true cells around the selected element, where all would not fit.
        panes: the frames, also those that are hidden.
        answers: False once there is nobody to ask. asking: they will be asked once all panes have a size.
    """

    def __init__(self, session: Session, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.session = session
        self.situation: Situation | None = None
        self.first = 0
        self.zoomed = False
        self.answers = True
        self.asking = False
        self.panes = [MatrixPane(id=f"matrix-{n}") for n in range(PANES)]

    def compose(self) -> ComposeResult:
        """Lay out the frames."""
        for pane in self.panes:
            pane.add_class("matrix")
            pane.display = False
            yield pane

    def show(self, situation: Situation) -> int:
        """Draw a stop. Returns how many answers will come."""
        if self.situation is None or len(self.situation.matrices) != len(situation.matrices):
            self.first = 0
        known = self.situation
        same = known is not None and (known.position, known.focus) == (situation.position, situation.focus)
        self.situation, self.answers = situation, True
        self.draw(same)
        if situation.early:
            self.ask_soon()  # it is painted first: what computes the cells takes long, and would take the processor
            return 0
        return self.ask()  # before the first paint, for the sizes that they have now: most often they keep them

    def complete(self, situation: Situation) -> None:
        """Write on the frames what was not known when the stop was drawn; the cells are asked for already."""
        self.situation = situation
        self.draw(same=True)

    def draw(self, same: bool = False) -> None:
        """Draw as many frames as have room. same: see MatrixPane."""
        if self.situation is None:
            return
        shown = self.chosen(self.situation)
        for n, pane in enumerate(self.panes):
            pane.display = n < len(shown)
            if n < len(shown):
                pane.show(shown[n], self.situation.element, self.situation.axes, same)
        tallest = max([pane.plane.size[0] for pane in self.panes if pane.display], default=0)
        frame = 2 if self.screen.has_class("compact") else 3
        height = self.app.size.height
        wanted = max(frame + 4, min(tallest + frame, height // (2 if height >= 60 else 3)))
        if isinstance(self.parent, Tiles):
            self.parent.want("matrices", wanted)

    def chosen(self, situation: Situation) -> list[Matrix]:
        """Return the matrices that have room side by side: from the chosen one on, else rather those with a value."""
        found = situation.matrices
        room = max(1, min(PANES, (self.size.width or self.app.size.width) // PANE_WIDTH))
        if self.first:
            return [*found[self.first :], *found[: self.first]][:room]
        best = sorted(found, key=lambda matrix: matrix.state != "value")[:room]
        return [matrix for matrix in found if matrix in best]

    def on_resize(self) -> None:
        """Draw as many frames as have room now."""
        self.draw()
        self.ask_soon()

    def on_matrix_pane_sized(self) -> None:
        """Fetch the cells that fit now."""
        self.ask_soon()

    def ask_soon(self) -> None:
        """Ask once all panes have their sizes."""
        if not self.asking:
            self.asking = True
            self.call_after_refresh(self.ask)

    def ask(self) -> int:
        """Ask for the cells that the panes have room for. Returns how many answers will come."""
        self.asking, asked = False, 0
        for pane in self.panes:
            matrix = pane.matrix
            if pane.display and pane.size.area and matrix is not None and matrix.state == "value" and self.answers:
                asked += 1
                if self.zoomed or pane.nearly_fits():
                    self.session.window(matrix.name, *pane.room(), *pane.origin(), pool=False)
                else:
                    self.session.window(matrix.name, *pane.room())
        return asked

    def fill(self, name: str, window: Window | None) -> None:
        """Draw the cells that were asked for."""
        for pane in self.panes:
            if pane.matrix is not None and pane.matrix.name == name:
                pane.fill(window)

    def more(self) -> bool:
        """Show the next matrices. Returns False where all are on the screen."""
        found = self.situation.matrices if self.situation else ()
        if self.situation is None or len(found) <= len(self.chosen(self.situation)):
            return False
        self.first = (self.first + 1) % len(found)
        self.draw()
        self.ask_soon()
        return True

    def zoom(self) -> bool:
        """Show true cells around the selected element, or all pooled. Returns False where every cell is a true one."""
        self.zoomed = not self.zoomed
        if self.zoomed and not any(pane.display and pane.is_pooled for pane in self.panes):
            self.zoomed = False
            return False
        self.ask()
        return True
