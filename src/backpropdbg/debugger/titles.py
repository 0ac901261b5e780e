"""What stands over a stop."""

from backpropdbg.events import (
    Accumulated,
    Anomaly,
    BackwardFinished,
    BackwardStarted,
    BackwardUse,
    Damaged,
    Event,
    ForwardUse,
    GradChanged,
    GradCleared,
    GroupSummed,
    IterationStarted,
    LossComputed,
    ManualUpdate,
    PartialEdited,
    Paused,
    ProgramFinished,
    StepFinished,
    StepStarted,
)

_TITLES: dict[type, str] = {
    Anomaly: "internal error",
    Damaged: "an event that is damaged",
    BackwardStarted: "backward begins",
    BackwardFinished: "backward is over",
    StepStarted: "before optimizer.step()",
    StepFinished: "after optimizer.step()",
    ManualUpdate: "weights moved by hand",
    IterationStarted: "an iteration begins",
}


def title(event: Event) -> str:
    """Return e.g. "middle_linear#2 of 3", "backward begins"."""
    always = _TITLES.get(type(event))
    if always is not None:
        return always
    match event:
        case ForwardUse() as e:
            return f"{e.module}#{e.call}" if e.call else f"{e.parameters[0]}#{e.numbers[0]}"
        case BackwardUse(use=use):
            if not use.call:
                return f"{use.parameter}#{use.number}{use.among}"
            which = "" if use.call == use.number else f", use {use.number}"
            return f"{use.module}#{use.call}{which}{use.among}"
        case PartialEdited(use=use):
            return f"{use.parameter}#{use.number}{use.among} edited"
        case Paused() as e:
            return e.why
        case Accumulated() as e:
            return f"{e.parameter} accumulated"
        case GroupSummed() as e:
            return f"{e.parameter}, {len(e.numbers)} uses summed"
        case GradChanged() as e:
            return f"{next(iter(e.grads))}.grad changed" if len(e.grads) == 1 else f"{len(e.grads)} .grad changed"
        case LossComputed() as e:
            return e.name
        case GradCleared() as e:
            return "zero_grad" if e.where is not None else "gradients cleared"
        case ProgramFinished(raised=raised) if raised:
            return f"raised {raised.partition(':')[0]}"
    return "the program has ended"
