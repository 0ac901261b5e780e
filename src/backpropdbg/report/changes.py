"""What became of `.grad` between a backward and whoever read it."""

from backpropdbg.events import Held

# Where each element is off by one rounding (eps / 2 at most), 1 - cosine is eps ** 2 / 8 at most; by two, / 2.
_ROUNDED_TWICE = 0.5


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
    one_factor = cosine is not None and 1 - cosine <= max(_ROUNDED_TWICE * now.eps**2, 1e-15)
    factor = f"{after / before:.4g}" if one_factor else "1"
    return f"scaled by {factor}" if factor != "1" else "changed"
