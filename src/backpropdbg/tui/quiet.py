"""Text that is drawn again only where it is another one: each drawing lays out the whole screen anew."""

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
            self._drawn = key
            super().update(content, layout=layout)
