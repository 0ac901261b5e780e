"""One or two plain sentences: what just happened, and why."""

import math

from backpropdbg.debugger import followed
from backpropdbg.debugger.locations import BRING_NUMBERS, not_finite
from backpropdbg.debugger.stop import Stop
from backpropdbg.debugger.words import fused_note, line_of, percent
from backpropdbg.events import (
    Accumulated,
    Anomaly,
    BackwardFinished,
    BackwardStarted,
    BackwardUse,
    Damaged,
    ForwardUse,
    GradChanged,
    GradCleared,
    GroupSummed,
    Held,
    IterationStarted,
    LossComputed,
    ManualUpdate,
    PartialEdited,
    Paused,
    ProgramFinished,
    StepFinished,
    StepStarted,
    Use,
)
from backpropdbg.hurry import soon
from backpropdbg.ledger import Run, pulls_cancelled
from backpropdbg.situation import SOON, element_name

_SHOW_TENSORS = {BackwardUse, Accumulated, StepStarted, StepFinished}


def ordinal(n: int) -> str:
    """Return e.g. "2nd"."""
    ending = "th" if 10 <= n % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"


def explain(stop: Stop) -> tuple[str, ...]:
    """Return the sentences for a stop; first what is not finite there."""
    kind = type(stop.event)
    told = soon(lambda: _explain(stop), (SOON,))  # before the look for infinity, which a norm that is known spares
    odd = soon(lambda: _not_finite(stop), ()) if kind in BRING_NUMBERS else ()
    return (*odd, *told, *(_no_room(stop) if kind in _SHOW_TENSORS else ()))


def _no_room(stop: Stop) -> tuple[str, ...]:
    """Why there are norms only."""
    if stop.weight is None or stop.weight.kept:
        return ()
    if stop.weight.norm() is None:
        return (f"Of {stop.focus} only the shape is known: it was let go unmeasured, or lies on the device meta.",)
    return (f"The tensors of {stop.focus} are not kept, only norms and whether it moved: --keep has no room for them.",)


def _not_finite(stop: Stop) -> tuple[str, ...]:
    """Name the number that is not finite, and the line of the forward that it belongs to."""
    event = stop.event
    if not not_finite(event):
        return ()
    at = line_of(stop.location())
    match event:
        case BackwardUse(use=use, partial=held) if held is not None:
            of = f" The forward of this use is {at}." if at else ""
            return (f"Not finite: the partial of {use.parameter}#{use.number} has {_bad(held)}.{of}",)
        case ForwardUse(output=held) if held is not None:
            return (f"Not finite: what {stop.where()} returned{at and f' at {at}'} has {_bad(held)}.",)
        case LossComputed(loss=held):
            return (f"Not finite: the loss{at and f' at {at}'} is {_bad(held)}.",)
    return ()


def _bad(held: Held) -> str:
    """NaN where there is one, else infinity."""
    size = held.norm()
    return "NaN" if size is None or math.isnan(size) else "infinity"


def _explain(stop: Stop) -> tuple[str, ...]:
    match stop.event:
        case ForwardUse() as e:
            return _forward(stop, e)
        case BackwardUse() as e:
            return _use(stop, e)
        case Accumulated() as e:
            return _accumulated(stop, e)
        case LossComputed() as e:
            unused = (
                (f"This forward did not use {stop.focus} at all.",) if stop.uses == 0 and stop.followed is None else ()
            )
            return (f"{e.name} returned the loss. No gradient of it exists yet: backward starts from here.", *unused)
        case GradCleared() as e:
            return _cleared(stop, e)
        case BackwardStarted() as e:
            return _backward(stop, e)
        case GroupSummed(group=0) as e:
            return followed.summed(stop, e)
        case GroupSummed() as e:
            uses = " + ".join(f"A{n}" for n in reversed(e.numbers))
            first = f"These uses of {e.parameter} share one cast or view ({e.node}): {uses}, added in {e.dtype}."
            return (first, "Their sum reaches the parameter as one term.")
        case PartialEdited() as e:
            of = f"use #{e.use.number} of {e.use.parameter}"
            norm = e.partial.norm()
            what = "another" if norm is None else f"norm {norm:.4g}"
            return (f"You set the partial of {of}: {what} flows on, not what was computed.",)
        case Paused() as e:
            asked = "The program called backpropdbg.set_trace()." if e.why == "set_trace()" else "Interrupted here."
            return (f"{asked} This is between two events.",)
        case BackwardFinished() as e:
            return _finished(e)
        case GradChanged() as e:
            names = ", ".join(e.grads) if len(e.grads) < 4 else f"{len(e.grads)} parameters"
            return (f".grad of {names} is not what backward left: {changers(stop)} since.",)
        case StepStarted() as e:
            return _before_step(stop, e)
        case StepFinished():
            if stop.followed is not None:
                return (followed.why(stop.focus, stop.followed),)
            newest = stop.last(StepStarted)
            if newest is not None and stop.focus not in newest.grads:
                return (f"{stop.focus} is in no group of the optimizer that stepped, so this step did not move it.",)
            return soon(lambda: why(stop), None) or _stepped(stop)
        case ManualUpdate() as e:
            how = "New tensors took their place, without an optimizer" if e.replaced else "Moved without an optimizer"
            return (f"{how}: {', '.join(e.parameters)}.",)
        case IterationStarted():
            return ("An iteration begins.",)
        case Anomaly() as e:
            return (f"backpropdbg failed to record something here: {e.error}", "The program goes on, untouched.")
        case Damaged() as e:
            return (
                f"This event of the recording can't be read: {e.why}.",
                "What is told of this iteration may lack it; the others are whole.",
            )
        case ProgramFinished() as e if e.raised:
            return (f"The program raised {e.raised}.", "rs and goto show what came before.")
        case ProgramFinished() as e:
            return (f"The program ended with exit code {e.code}." if e.code else "The program ran to its end.",)


def changers(stop: Stop) -> str:
    """What has, or may have, changed `.grad` after a backward."""
    known = [e.how for e in stop.events if isinstance(e, GradChanged) and stop.focus in e.grads]
    if known and all(known):
        return ", then ".join(dict.fromkeys(known))
    return "clipped, scaled, assigned, or written by another thread" if stop.several else "clipped, scaled or assigned"


def _cleared(stop: Stop, e: GradCleared) -> tuple[str, ...]:
    by = "zero_grad" if e.where is not None else "The program"
    if not e.grads:
        return ("zero_grad ran before any model was called: there was no gradient to clear.",)
    if stop.focus not in e.grads:
        return (f"{by} cleared .grad of {len(e.grads)} parameters, {stop.focus} not among them.",)
    of = f"{stop.focus} and {len(e.grads) - 1} more" if len(e.grads) > 1 else stop.focus
    if e.grads[stop.focus] is None:
        return (f"{by} set .grad of {of} to None.",)
    return (f"{by} filled .grad of {of} with zeros.", "Zeros are not None: the optimizer will not skip a parameter.")


def _forward(stop: Stop, e: ForwardUse) -> tuple[str, ...]:
    if stop.focus in e.parameters:
        n = e.numbers[e.parameters.index(stop.focus)]
        by = f"{e.module} took" if not e.bare else "an operation took"
        return (
            f"Forward use #{n}: {by} {stop.focus} for the {ordinal(n)} time in this iteration.",
            "Each use will send back its own partial gradient.",
        )
    if stop.focus in e.replaced:
        return (f"Forward: {e.module}#{e.call} ran, with another tensor in the place of {stop.focus}.",)
    if not e.call:
        return (f"Forward: an operation took {' and '.join(e.parameters)}, not {stop.focus}.",)
    return (f"Forward: {e.module}#{e.call} ran. It does not use {stop.focus}.",)


SEVERAL = "Several threads train: iterations are counted together, and others may write .grad and the weights."


def _backward(stop: Stop, e: BackwardStarted) -> tuple[str, ...]:
    return (*_begins(stop, e), SEVERAL) if e.several else _begins(stop, e)


def _begins(stop: Stop, e: BackwardStarted) -> tuple[str, ...]:
    uses = [use for use in e.uses if use.parameter == stop.focus]
    n, fused = len(uses), next((use for use in uses if use.fused), None)
    if fused is not None:
        return (f"Backward begins. {stop.focus}: {fused_note(fused)}.",)
    if n == 0 and stop.followed is not None:
        return (f"Backward begins. {followed.unseen(stop)}",)
    if n == 0:
        used = any(isinstance(e, ForwardUse) and stop.focus in e.parameters for e in stop.events)
        none = "none of its uses is in this graph" if used or len(stop.ledger.runs) > 1 else "unused in this iteration"
        return (f"Backward begins. {stop.focus}: {none}, so no gradient will reach it.",)
    known = e.computed.get(stop.focus)
    more = () if known is None else (followed.what_it_is(stop.focus, known), followed.others(stop.focus, known))
    shown = "1 use" if n == 1 else f"{n} uses"
    first = f"Backward begins at the loss and walks to the inputs. {stop.focus} has {shown} in this graph."
    return (first, *filter(None, more))


def _use(stop: Stop, e: BackwardUse) -> tuple[str, ...]:
    if e.use.parameter != stop.focus:
        which = "" if e.use.fused else f", use #{e.use.number}{e.use.among},"
        of = f"The gradient of {e.use.parameter}{which} arrived"
        norm = e.partial.norm() if e.partial is not None else None
        size = ", not computed by this run" if e.partial is None else "" if norm is None else f": norm {norm:.4g}"
        return (f"{of}{size}.", f"focus {e.use.parameter} shows its ledger; n goes on with {stop.focus}.")
    if e.partial is None:
        return (f"Use #{e.use.number}: this run does not need its gradient, so it was not computed.",)
    if e.use.fused:
        return (f"The gradient of {e.use.parameter} arrived; {fused_note(e.use)}.", "No weight moves in backward.")
    here = "" if e.use.place == e.use.number else " in this backward"
    first = f"Use #{e.use.number}'s gradient arrived, the {ordinal(e.order)} of {e.use.total}{here}"
    if e.use.total > 1 and e.order == 1 and e.use.place == e.use.total:
        first += ": backward walks from the loss, so the last use comes first"
    held = "None" if stop.grad is None else "what it was"
    if stop.followed is not None:
        last = f"It is no leaf: the sum goes to {stop.followed.node or 'the node that computed it'}, not into a .grad."
    elif stop.run is not None and not stop.run.accumulates:
        last = f".grad stays {held}: this is autograd.grad(), which hands the sum to its caller."
    elif e.use.total > 1:
        every = "both" if e.use.total == 2 else f"all {e.use.total}"
        last = f".grad is still {held}: PyTorch adds {every} in a buffer first, then writes .grad once."
    else:
        last = f".grad is still {held}: AccumulateGrad writes it next."
    return (f"{first}.", *_element(stop, e), last + " No weight moves in backward.")


def _element(stop: Stop, e: BackwardUse) -> tuple[str, ...]:
    """What the newest partial does to the selected element, beside the ones before it."""
    before = stop.before_this()
    value = stop.value_at(stop.partial)
    if value is None or not before:
        return ()
    name = element_name(stop.focus, stop.element)
    others = "the sum of the uses before it"
    if e.order == 2 and stop.run is not None:
        others = f"use #{stop.run.arrived[0][0].number}"
    if value * sum(before) < 0:
        share = pulls_cancelled([*before, value])
        told = "" if share is None else f"; {percent(share)} of all pulls so far are cancelled"
        return (f"{name}: it pulls against {others}{told}.",)
    if value * sum(before) > 0:
        return (f"{name}: it pulls the same way as {others}; they reinforce each other.",)
    return ()


def _accumulated(stop: Stop, e: Accumulated) -> tuple[str, ...]:
    run = next((run for run in stop.ledger.runs if run.number == e.run), None)
    if e.parameter != stop.focus or run is None:
        return (f"{e.parameter}.grad was written.",)
    arrived = " + ".join(f"A{u.number}" for u, p in run.arrived if p is not None)
    carried = "carried in + " if run.carried is not None else ""
    exact = soon(lambda: stop.exact(run), SOON)
    proofs = {
        True: ", bit for bit",
        False: "? No: the two differ. That is a finding",
        None: "",
        SOON: ", if bit for bit ...",
    }
    proof = proofs[exact]
    if exact is None and run.hooked:
        proof = ", as a hook of the program's on this parameter changed it"
    if exact is None and run.several:
        proof = ", if no other thread wrote it meanwhile"
    if run.originals:
        proof += f" (with {', '.join(f'A{n}' for n in sorted(run.originals))} as you edited it)"
    first = f"AccumulateGrad wrote .grad once: .grad = {carried}{arrived}{proof}."
    return (first, *_will_spread(stop), "The weight has not moved.")


def _will_spread(stop: Stop) -> tuple[str, ...]:
    """A warning where the step will spread NaN or infinity into the weight."""
    if stop.grad is None or not stop.grad.kept or soon(stop.grad.finite, True):
        return ()
    return (".grad holds NaN or infinity: step() will spread it into the weight.",)


def _finished(e: BackwardFinished) -> tuple[str, ...]:
    if e.failed:
        return ("The backward raised an exception: what had not arrived by then was not computed.",)
    if not e.compared:
        return ("The backward is over.",)
    if e.moved:
        return (f"The backward is over, and these weights changed during it: {', '.join(e.moved)}.",)
    return ("The backward is over. Every weight was compared with its copy: backward changed none, bit for bit.",)


def _before_step(stop: Stop, e: StepStarted) -> tuple[str, ...]:
    if e.closure:
        return ("step(closure) begins: it runs forward and backward itself, then moves the weights.",)
    if stop.followed is not None:
        return (followed.why(stop.focus, stop.followed),)
    if stop.focus not in e.grads:
        return (f"{stop.focus} is in no group of this optimizer: step() will not move it.",)
    if stop.grad is None:
        return (
            f"{_unused(stop)}.grad is None, so the optimizer skips {stop.focus}:",
            "no gradient, no momentum, no weight decay.",
        )
    if stop.run is not None and not stop.uses and stop.grad.kept and stop.grad.norm() == 0:
        zeros = f"{_unused(stop)}.grad is zeros, not None, so the optimizer will not skip {stop.focus}:"
        return (zeros, "momentum and weight decay act all the same.")
    return (
        f"{_unused(stop)}step() has not run. It will read .grad once, however many uses it sums.",
        *_will_spread(stop),
    )


def _unused(stop: Stop) -> str:
    name = stop.focus.rpartition(".")[0] or stop.focus
    return f"{name}: unused in this iteration. " if stop.run is not None and stop.uses == 0 else ""


def gradient_read(stop: Stop) -> Held | None:
    """`.grad` as the newest step found it: a step may clear it itself."""
    return stop.started.grads.get(stop.focus) if stop.started is not None else stop.grad


def _stepped(stop: Stop) -> tuple[str, ...]:
    """What is told of an update until its terms are computed."""
    of = gradient_terms(stop)
    first = f"step() ran. How far it moved {stop.focus}, and what by, is being computed ..."
    return (first, f"The gradient it read: {of}.") if of else (first,)


def why(stop: Stop) -> tuple[str, ...]:
    """The last update of the focused parameter in plain words."""
    if stop.started is None or stop.stepped is None:
        return (f"{stop.focus} was not updated in this iteration yet.",)
    if stop.before is None or stop.after is None:
        return (f"{stop.focus} is in no group of this optimizer, so nothing moved it.",)
    if not (stop.before.kept and stop.after.kept):
        return ("The weights of this update are not kept.",)
    still, read = stop.unmoved, gradient_read(stop)
    if read is None:
        moved = "did not move, bit for bit" if still else "moved all the same"
        return (f"{_unused(stop)}.grad is None: the optimizer skipped {stop.focus}; it {moved}.",)
    shares = ", ".join(f"{name} {held.norm():.3g}" for name, held, _ in stop.terms if name != "rounding")
    if still:
        return (f"{_unused(stop)}step() ran, and {stop.focus} did not move, bit for bit.",)
    size = stop.delta.norm() if stop.delta is not None else 0.0
    if read.kept and read.norm() == 0:
        cause = f"Its gradient is zero, yet it moved by {size:.3g}: {shares} (norms)."
        return (_unused(stop) + cause, "Zeros count as a gradient; with None the optimizer would have skipped it.")
    of = gradient_terms(stop)
    moved = f"step() moved {stop.focus} by {size:.3g}." + (f" Terms by norm: {shares}." if shares else "")
    if not of:
        return (moved,)
    changed = f", changed since: {changers(stop)}" if stop.ledger.changes else ""
    return (moved, f"The gradient it read: {of}{changed}.")


def gradient_terms(stop: Stop) -> str:
    """What the gradient is the sum of: what was carried in first, then the partials of each backward."""
    every = [run for run in stop.ledger.runs if run.accumulates]
    runs = [run for run in every if run.uses or run.grad is not None]
    if not every:
        return ""
    sums = [" + ".join(_term(run, use) for use, partial in run.arrived if partial is not None) for run in runs]
    named = (
        [f"backward {run.number}: {terms}" for run, terms in zip(runs, sums, strict=True)] if len(runs) > 1 else sums
    )
    carried = ["carried in"] if (runs or every)[0].carried is not None else []
    return ("; " if len(runs) > 1 else " + ").join(filter(None, [*carried, *named]))


def _term(run: Run, use: Use) -> str:
    return f"A{use.number}" + (" (as you edited it)" if use.number in run.originals else "")
