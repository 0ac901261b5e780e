"""Commands that show."""

import ast
import inspect
from collections.abc import Callable
from types import FrameType

from backpropdbg.debugger import arguments, nodes, optimizer, tables
from backpropdbg.debugger.commands.table import TABLE, command
from backpropdbg.debugger.core import Debugger
from backpropdbg.debugger.followed import LATER
from backpropdbg.debugger.histogram import histogram as spread
from backpropdbg.debugger.locations import suggest
from backpropdbg.debugger.timeline import as_text
from backpropdbg.debugger.why import why as explain_why
from backpropdbg.errors import CommandError
from backpropdbg.events import Location
from backpropdbg.questions import Scope, StoryOf

_MOST_LINES = 20


@command(arguments.expression, "p")
def print_(d: Debugger, text: str) -> str:
    """print (p) EXPR: the value of an expression, e.g. partial.norm() or A2 + A3.
    Names: partial running carried grad weight before after A1 A2 …, use uses iteration loss phase event, model
    optimizer torch math, and those of the program's own frame (also in `locals`).
    """
    return d.program.show(d.evaluate(text))


@command(arguments.expression)
def whatis(d: Debugger, text: str) -> str:
    """whatis EXPR: its type, and shape and dtype of a tensor."""
    value = d.evaluate(text)
    shape = getattr(value, "shape", None)
    kind = type(value).__name__
    return kind if shape is None else f"{kind} {list(shape)} {getattr(value, 'dtype', '')}"


@command(arguments.expression)
def expect(d: Debugger, text: str) -> str:
    """expect EXPR: fail unless EXPR is true; of a comparison it shows both sides."""
    if d.program.truth(d.evaluate(text), text):
        return ""
    raise CommandError(f"expected {text}{_sides(d, text)}")


def _sides(d: Debugger, text: str) -> str:
    tree = ast.parse(text, mode="eval").body
    if not isinstance(tree, ast.Compare) or len(tree.ops) != 1:
        return f": it is {_line(d, text)}"
    sides = [ast.unparse(side) for side in (tree.left, tree.comparators[0])]
    told = [f"{s} is {_line(d, s)}" for s in sides if not _is_literal(s)]
    return f": {', '.join(told)}" if told else ""


def _line(d: Debugger, text: str) -> str:
    """The value of an expression on one line."""
    return " ".join(d.program.show(d.evaluate(text)).split())


def _is_literal(text: str) -> bool:
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return False
    return True


@command(arguments.anything)
def info(d: Debugger, text: str) -> str:
    """info [uses|ledger|weights|grad|optimizer|breaks|params [WORD]]: what there is to know.
    params: the tree of parameters with their uses, norm of .grad, and the update as a part of the weight; those that
    have WORD in their name. optimizer: its settings for the focused parameter, its state, and the last update.
    """
    subject, _, find = text.partition(" ")
    if subject == "params":
        return tables.parameters(d, find)
    subjects: dict[str, Callable[[Debugger], str]] = {
        "": tables.overview,
        "uses": tables.uses,
        "ledger": tables.ledger,
        "weights": lambda d: d.program.show(d.evaluate("weight")),
        "grad": lambda d: d.program.show(d.evaluate("grad")),
        "optimizer": optimizer.as_text,
        "breaks": lambda d: "\n".join(b.line() for b in d.breakpoints) or "no breakpoints",
    }
    if text not in subjects:
        raise CommandError(f"info {text}: no such subject; there are: {', '.join(filter(None, [*subjects, 'params']))}")
    return subjects[text](d)


@command(arguments.nothing)
def ledger(d: Debugger, text: str) -> str:
    """ledger: the sum of the focused parameter, term by term."""
    return tables.ledger(d)


@command(arguments.graph)
def graph(d: Debugger, text: str) -> str:
    """graph [modules | nodes [N]]: the unrolled calls of this iteration, or the autograd nodes of its newest backward.
    nodes: in the order of backward, around this stop or from the N-th on: what each hands its gradients on to, which
    uses of the focused parameter it makes, and whether it has run, as far as that is known. From then on they are
    read at each backward, until `graph modules`.
    """
    view, _, number = text.partition(" ")
    if view:
        d.program.want_nodes(view == "nodes")
        d.again = f"graph {view}"
    return nodes.as_text(d, int(number or 0)) if view == "nodes" else tables.graph(d)


@command(arguments.span)
def timeline(d: Debugger, text: str) -> str:
    """timeline [FIRST [LAST]]: the iterations side by side.
    With the loss, uses and gradient of the focused parameter, breakpoints that stopped there, and what went wrong.
    """
    numbers = [int(word) for word in text.split()]
    first = numbers[0] if numbers else 1
    last = numbers[1] if len(numbers) > 1 else 10**12
    made = d.moments.timeline(d, first, last, _MOST_LINES)
    if not made.moments and made.last:
        raise CommandError(f"timeline {text}: no such iteration is known; {made.first} to {made.last} are")
    return as_text(made, d.focus)


@command(arguments.indices)
def element(d: Debugger, text: str) -> str:
    """element I,J: select the element whose story the ledger tells; without an index, say which it is."""
    weight = d.stop.weight
    shape = weight.shape if weight is not None else ()
    if text:
        index = tuple(int(part) for part in text.split(","))
        if len(index) != len(shape) or any(i >= n for i, n in zip(index, shape, strict=True)):
            raise CommandError(f"element {text}: {d.focus} has shape {list(shape)}; indices start at 0")
        d.select(index)
    return f"element [{','.join(map(str, d.stop.element))}] of {d.names.title(d.focus)} {list(shape)}"


@command(arguments.axes)
def axes(d: Debugger, text: str) -> str:
    """axes [I,J [at K,...] | flat]: show axis I as rows and J as columns of a tensor with more than two dimensions.
    K: the indices of the other axes, in order; else they are those of the selected element. flat: all of it, the first
    axis as rows and all others in a row.
    """
    element, (wanted, _, at) = list(d.stop.element), text.partition(" at ")
    chosen = tuple(int(part) for part in wanted.split(",")) if wanted not in ("", "flat") else ()
    shape = d.stop.weight.shape if d.stop.weight is not None else ()
    if chosen and not (len(shape) > 2 and max(chosen) < len(shape)):
        have = f"its axes are 0 to {len(shape) - 1}" if len(shape) > 2 else "only of more than two axes two are chosen"
        raise CommandError(f"axes {text}: {d.focus} has shape {list(shape)}: {have}")
    others = [n for n in range(len(shape)) if n not in chosen]
    indices = [int(part) for part in at.split(",")] if at else [element[n] for n in others]
    if chosen and (len(indices) != len(others) or any(i >= shape[n] for i, n in zip(indices, others, strict=True))):
        raise CommandError(f"axes {text}: of shape {list(shape)} the other axes are {others}: give one index for each")
    for n, index in zip(others, indices, strict=False):
        element[n] = index
    if text:
        d.select(tuple(element), chosen)
    if not d.stop.axes:
        return f"all of {d.focus} {list(shape)}: rows are axis 0, columns all others"
    rest = ", ".join(f"axis {n} at {d.stop.element[n]}" for n in range(len(shape)) if n not in d.stop.axes)
    return f"{d.focus} {list(shape)}: rows are axis {d.stop.axes[0]}, columns axis {d.stop.axes[1]}, {rest}"


@command(arguments.anything)
def histogram(d: Debugger, text: str) -> str:
    """histogram [NAME]: how the values of a matrix are spread, with mean, std, zeros and what is not finite.
    NAME: partial, running, grad, weight, before, delta or after; without it, the first one that is shown.
    """
    return spread(d.stop, text)


@command(arguments.scope)
def story(d: Debugger, text: str) -> str:
    """story [element|row|parameter]: what each use adds to it, and its values over the last iterations.
    Of a row or the whole parameter: norms, and how far each term goes the way of the sum.
    """
    scope: Scope = "row" if text == "row" else "parameter" if text == "parameter" else "element"
    return tables.story(d.stories.tell(d, StoryOf(scope, _MOST_LINES)))


@command(arguments.something)
def focus(d: Debugger, text: str) -> str:
    """focus PARAM: the parameter that the ledger and `next` are about.
    A tensor computed from parameters will do, too: layer.weight where it is parametrized, weight.bfloat16 for a copy of
    autocast's, or a variable of the program's.
    """
    followed = d.known.follow(text) if d.names.known(text) is None and not d.in_past else None
    d.focus, d.element = followed[0] if followed else d.names.parameter(text), None
    d.refresh()
    return f"focus: {d.names.title(d.focus)}" + (f"\n{d.focus} {LATER}" if followed and not followed[1] else "")


@command(arguments.anything)
def why(d: Debugger, text: str) -> str:
    """why [PARAM]: the last update in plain words, with its terms, or why nothing moved."""
    if text and {text, d.known.resolve(text)} & set(d.known.frozen()):
        return f"{text} is frozen: it requires no gradient, so no backward reaches it and no optimizer moves it."
    name = d.names.parameter(text) if text else d.focus
    return explain_why(d, name, d.stop.element if name == d.focus else ())


@command(arguments.nothing, "l")
def list_(d: Debugger, text: str) -> str:
    """list (l): the source around this stop, or around the line of the selected frame."""
    frame = d.selected_frame()
    place = d.stop.location() if frame is None else Location(frame.f_code.co_filename, frame.f_lineno)
    lines = d.trace.lines(place.path) if place is not None else []
    if place is None or not lines:
        return "no source line is known for this stop"
    first, last = max(1, place.line - 5), min(len(lines), place.line + 5)
    return "\n".join(
        f"{'>' if n == place.line else ' '}{n:4}  {lines[n - 1].rstrip()}".rstrip() for n in range(first, last + 1)
    )


@command(arguments.nothing, "w", "bt")
def where(d: Debugger, text: str) -> str:
    """where (w): the user's frames, innermost last; the selected one is marked."""
    if d.in_past:
        place = d.stop.location()
        line = f"{place.path.rpartition('/')[2]}:{place.line}, " if place is not None else ""
        return f"{line}event {d.stop.position} of {d.present}: the frames of the past are not kept"
    lines = [_frame_line(frame) for frame in d.program.stack()]
    if not lines:
        return "no frames: nothing of the program runs"
    if d.frame is not None:
        lines = [f"{'>' if n == d.frame else ' '} {line}" for n, line in enumerate(lines)]
    return "\n".join(reversed(lines))


def _frame_line(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno} {frame.f_code.co_name}"


@command(arguments.nothing)
def up(d: Debugger, text: str) -> str:
    """up: select the frame that called; `list` and the variables in `print` are that frame's then."""
    return _select(d, (d.frame or 0) + 1)


@command(arguments.nothing)
def down(d: Debugger, text: str) -> str:
    """down: select the frame that was called."""
    return _select(d, (d.frame or 0) - 1)


def _select(d: Debugger, number: int) -> str:
    frames = [] if d.in_past else d.program.stack()
    if not frames:
        raise CommandError("there is no frame of the program's here")
    if not 0 <= number < len(frames):
        end = "innermost" if number < 0 else "outermost"
        raise CommandError(f"{_frame_line(frames[d.frame or 0])}: this is the {end} frame")
    d.frame = number
    d.refresh()
    return _frame_line(frames[number])


@command(arguments.anything, "h")
def help_(d: Debugger, text: str) -> str:
    """help (h) [COMMAND]: what a command does."""
    if text:
        if text not in TABLE:
            raise CommandError(f"unknown command {text!r}{suggest(text, TABLE)}")
        return inspect.cleandoc(TABLE[text].action.__doc__ or "")
    return "\n".join(dict.fromkeys(row.help for row in TABLE.values()))
