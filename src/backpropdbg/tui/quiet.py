"""Text that is drawn again only where it is another one, and lays out the screen anew only where its size changes."""

from rich.text import Text
from textual.visual import VisualType
from textual.widgets import Static


class Quiet(Static):
    """A static text."""

    _drawn: object = None

    def update(self, content: VisualType = "", *, layout: bool = True) -> None:
        """Draw `content`, if that is not what stands there."""
        key = (content.plain, content.spans, content.style) if isinstance(content, Text) else content
        if key != self._drawn:
            self._drawn, known = key, self.extent
            super().update(content, layout=False)
            if layout and (known is None or known != self.extent):
                self.refresh(layout=True)

    @property
    def extent(self) -> tuple[int, int] | None:
        """Columns and lines that the text would take, where it decides; None before there is a screen."""
        if not self.is_mounted:
            return None
        around, screen = self.container_size, self.app.size
        columns = self.get_content_width(around, screen) if self.styles.is_auto_width else 0
        lines = self.get_content_height(around, screen, self.size.width) if self.styles.is_auto_height else 0
        return columns, lines
