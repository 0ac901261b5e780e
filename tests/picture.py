"""Makes the picture of the screen that README begins with: `python tests/picture.py`."""

import re
import sys
from pathlib import Path

from backpropdbg.options import demo_options
from backpropdbg.tui.cast import play_to_tape
from backpropdbg.wire.client import ChildSession
from backpropdbg.wire.process import Streams

PICTURE = Path(__file__).parent.parent / "docs" / "screen.svg"
DEMO = "--uses 3"
SCRIPT = ("focus middle_linear.weight", "until backward middle_linear#2", f"screenshot {PICTURE}")


def main() -> int:
    """Play the script and save what the screen shows then."""
    session = ChildSession(demo_options(DEMO.split()), streams=Streams("pty"))
    try:
        _, code, failed = play_to_tape(session, [(line, n) for n, line in enumerate(SCRIPT, 1)], speed=1.0)
    finally:
        session.close()
    if code:
        print(failed, file=sys.stderr)
        return code
    PICTURE.write_text(plain(PICTURE.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"wrote {PICTURE}")
    return 0


def plain(svg: str) -> str:
    """Take out the fonts of other sites: any monospace font will do."""
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return svg.replace("Fira Code, monospace", "ui-monospace, DejaVu Sans Mono, Menlo, Consolas, monospace")


if __name__ == "__main__":
    sys.exit(main())
