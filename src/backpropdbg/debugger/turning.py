"""The events that a program is likely to be watched at."""

from backpropdbg.events import (
    Accumulated,
    BackwardFinished,
    BackwardStarted,
    BackwardUse,
    Event,
    ForwardUse,
    GradCleared,
    GroupSummed,
    StepFinished,
    StepStarted,
)


def is_turning_point(event: Event, focus: str) -> bool:
    """True where something happens to a parameter: what `next` stops at."""
    match event:
        case ForwardUse() as e:
            return focus in e.parameters
        case BackwardUse(use=use):
            return use.parameter == focus
        case Accumulated() as e:
            return e.parameter == focus
        case GroupSummed() as e:
            return e.parameter == focus and not e.group
        case StepStarted() as e:
            return focus in e.grads
        case StepFinished() as e:
            return focus in e.stepped or not e.stepped
    return False


def is_beginning(event: Event) -> bool:
    """True where there is something to see: not for a zero_grad before anything is known."""
    return not (isinstance(event, GradCleared) and not event.grads)


def ends_phase(event: Event) -> bool:
    """True for the events that `finish` stops at."""
    return isinstance(event, (BackwardStarted, BackwardFinished, StepFinished))
