"""A stop as plain text: one line of where, the explanation, and what is displayed at each stop."""

from backpropdbg.situation import Situation

_OBEYED = dict.fromkeys((code for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"), "?")


def harmless(text: str) -> str:
    """Text without what a terminal would obey: of a recording, it may be anybody's. Lines and tabs stay."""
    return text.translate(_OBEYED)


def render_stop(situation: Situation) -> str:
    """Return the line of where and the explanation's sentences."""
    head = [f"iteration {situation.iteration}", situation.phase.upper()]
    if situation.where:
        head.append(situation.where_and_why)
    if situation.past and not situation.recorded:
        head.append(f"(past: event {situation.position} of {situation.newest})")
    lines = ["  ".join(head), *situation.explanation]
    if situation.proof:
        lines.append(f"Weights: {situation.proof}.")
    lines += situation.displays
    return "\n".join(lines)
