"""A stop as plain text: one line of where, the explanation, and what is displayed at each stop."""

from backpropdbg.situation import Situation


def render_stop(situation: Situation) -> str:
    """Return the line of where and the explanation's sentences."""
    head = [f"iteration {situation.iteration}", situation.phase.upper()]
    if situation.where:
        head.append(situation.where)
    if situation.past and not situation.recorded:
        head.append(f"(past: event {situation.position} of {situation.newest})")
    lines = ["  ".join(head), *situation.explanation]
    if situation.proof:
        lines.append(f"Weights: {situation.proof}.")
    lines += situation.displays
    return "\n".join(lines)
