"""Who answers which question of a face."""

from typing import TYPE_CHECKING

from backpropdbg.debugger import drawing, optimizer
from backpropdbg.questions import (
    Answer,
    NodesOf,
    Optimizer,
    OptimizerOf,
    ParametersOf,
    Question,
    StopsOf,
    StoryOf,
    TimelineOf,
)

if TYPE_CHECKING:
    from backpropdbg.debugger.core import Debugger


def answer(d: "Debugger", question: Question) -> Answer:
    """Return what a face asks about the stop that is looked at."""
    match question:
        case StoryOf():
            return d.stories.tell(d, question)
        case ParametersOf():
            return d.tree.page(d, question)
        case TimelineOf():
            return d.moments.timeline(d, question.first, question.last, question.columns)
        case NodesOf():
            return d.graphs.page(d, question)
        case StopsOf():
            return drawing.stops(d)
        case OptimizerOf():
            return Optimizer(d.stop.position, d.focus, optimizer.as_text(d))
