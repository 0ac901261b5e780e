"""What became of `.grad` between a backward and whoever read it."""

from backpropdbg.events import Held

_ONE_FACTOR = 1e-6


def change(left: Held | None, now: Held | None) -> str:
    """Say what happened to `.grad` since a backward left it; "" where nothing did, bit for bit.

    Whether clipping, a loss scale or an average over ranks did it can't be seen: "scaled by 0.25" is what can.
    """
    if left is now:
        return ""
    if now is None or left is None:
        return "cleared" if now is None else "assigned"
    if not (left.kept and now.kept):
        return "not compared"
    if left.shape == now.shape and left.same_bits(now):
        return ""
    before, after = left.norm() or 0.0, now.norm() or 0.0
    if after == 0:
        return "cleared"
    cosine = left.cosine(now) if left.shape == now.shape else None
    if cosine is not None and cosine > 1 - _ONE_FACTOR:
        return f"scaled by {after / before:.4g}"
    return "changed"
