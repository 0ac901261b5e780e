"""One parameter in one iteration, added up event by event: of each run, only the sum so far is kept."""

import math
from collections.abc import Iterator

from backpropdbg.events import Held, Recipe, Use, is_split_by_unfuse
from backpropdbg.report.changes import change
from backpropdbg.report.rows import Found, Row
from backpropdbg.report.runs import Run, nonzero, norm
from backpropdbg.situation import Number

CANCELS = 0.9
NO_LEAF = "no .grad: not a leaf"


class Past:
    """What an iteration has to know of those before it.

    Attributes:
        weight: newest known. read: the gradient of the newest update, as long as nobody cleared it.
        unzeroed: iterations in a row that carried such a gradient in. twins: see `Facts`.
        optimized: an optimizer has it. replaced: another tensor took its name. moved: during a backward.
    """

    def __init__(self) -> None:
        self.weight: Held | None = None
        self.read: Held | None = None
        self.unzeroed = 0
        self.twins: tuple[str, ...] = ()
        self.shape: tuple[int, ...] | None = None
        self.optimized = self.replaced = self.moved = False

    def cleared(self) -> None:
        """`.grad` is None or zeros now."""
        self.read, self.unzeroed = None, 0


class Account:
    """What happened to one parameter in one iteration."""

    def __init__(self, name: str, past: Past) -> None:
        self.name, self.past = name, past
        self.before: Held | None = past.weight
        self.runs: dict[int, Run] = {}
        self.carried: Held | None = None
        self.begun = self.forward = self.displaced = False
        self.grad: Held | None = None
        self.since_clear: list[Run] = []
        self.labels: list[str] = []
        self.bad: Found | None = None
        self.lost = ""
        self.unread = False
        self.update: tuple[str, Recipe | None] | None = None
        self._stepping: Held | None = None
        self.moves: list[tuple[str, Held, Held]] = []
        self.by_hand = self.gradient = False
        self._carries: dict[str, str] = {}
        if past.weight is not None:
            self._look(past.weight, "the weight, before this iteration began")

    # -- what happens ----------------------------------------------------------------------------

    def starts(self, number: int, run: Run, loss: Held | None) -> None:
        """A run begins. One that does not reach the parameter only shows what `.grad` holds."""
        if not self.begun:
            self.begun, self.carried = True, run.carried
        if not self.runs:
            self.grad = run.carried
        if not run.uses:
            return
        self._concern(number, run)
        if loss is not None:
            self._look(loss, "the loss")

    def _concern(self, number: int, run: Run) -> None:
        self.runs[number] = run
        if not run.accumulates:
            return
        if (left := self._left()) is not None:
            self._label(change(left, run.carried))
        if not self._is_part_of_the_last(run):
            self._carry(run.carried)
        self.since_clear.append(run)

    def _last(self) -> Run | None:
        """The newest backward since the last clearing that wrote `.grad`."""
        return next((run for run in reversed(self.since_clear) if run.grad is not None), None)

    def _left(self) -> Held | None:
        """What that one left there."""
        last = self._last()
        return last.grad if last is not None else None

    def _is_part_of_the_last(self, run: Run) -> bool:
        """True where both are within one run (a reentrant checkpoint): what was carried in is known already."""
        last = self._last()
        return last is not None and bool(run.within) and last.within == run.within

    def _carry(self, carried: Held | None) -> None:
        """Name what this run, or a step without one, finds in `.grad`."""
        if not nonzero(carried):
            if self._left() is None:
                self.past.cleared()
            return
        if self._left() is not None:
            self._carries.setdefault("same-iteration", "an earlier backward of this iteration (accumulation)")
            return
        if "earlier-iteration" in self._carries:
            return
        self._carries["earlier-iteration"] = "before this iteration's first backward"
        read = self.past.read
        still = read is not None and carried is not None and change(read, carried) == ""
        self.past.unzeroed = self.past.unzeroed + 1 if still else 0

    def arrives(self, number: int, use: Use, partial: Held | None) -> None:
        """The partial of one use."""
        run = self.runs.get(number)
        if run is None:
            return
        run.arrive(use, partial)
        if partial is not None:
            if not partial.kept:
                self._label("no numbers: not kept, or on the device meta")
            self.gradient = self.gradient or nonzero(partial)
            where = "" if use.where is None else f" ({use.where.path}:{use.where.line})"
            self._look(partial, f"the partial of use #{use.number}{use.among}{where}")

    def sums(self, number: int, total: Held, reaches: bool) -> None:
        """The total of a group reached the leaf; else that of all uses of what is computed flows on."""
        if number in self.runs and reaches:
            self.runs[number].add(total)
        elif number in self.runs:
            self.runs[number].flows_on(total)

    def accumulates(self, number: int, grad: Held, run: Run) -> None:
        """`.grad` was written; run: stands in where the leaf itself was the root of the backward."""
        if number not in self.runs:
            self._concern(number, run)
        self.runs[number].accumulated(grad)
        self.unread = nonzero(grad)
        for other in self.runs.values():
            if not other.over and other.grad is None:  # this run was within that one, which adds to it
                other.carried = grad
        self.grad = grad
        self.gradient = self.gradient or nonzero(grad)
        self._look(grad, "the sum of the partials in .grad")

    def clears(self, grad: Held | None) -> None:
        """`.grad` was cleared."""
        self.since_clear = []
        self.past.cleared()
        if not any(run.grad is not None for run in self.runs.values()):
            self.grad = grad

    def changes(self, grad: Held | None, how: str = "") -> None:
        """Something changed `.grad`; how: what did it, where that is known."""
        if self._left() is not None:
            self._label(how or change(self.grad, grad))
        if how:  # the wrapper's own doing: what it leaves is what this backward left
            for run in [run for run in self.since_clear if run.grad is not None][-1:]:
                run.grad = grad
        if not nonzero(grad):
            self.past.cleared()
        self.grad = grad
        self.gradient = self.gradient or nonzero(grad)

    def steps(self, optimizer: str, grad: Held | None, before: Held | None, recipe: Recipe | None) -> None:
        """An optimizer is about to read `.grad`."""
        self.past.optimized = True
        self.before = self.before or before
        if self.begun or self.grad is not None:
            self._label(change(self.grad, grad))
        if not any(run.grad is not None for run in self.runs.values()):
            self._read_without_run(grad)
        if self.unread and not nonzero(grad):
            zeros = "None" if grad is None else "zeros"
            self.lost = f"a backward left a gradient, and {zeros} was there when {optimizer.split()[0]} came to read it"
        self.unread = False
        self.grad, self.update, self._stepping = grad, (optimizer, recipe), before
        self.past.read = grad if nonzero(grad) else None
        self.gradient = self.gradient or nonzero(grad)

    def stepped(self, after: Held) -> None:
        """A step of an optimizer that has it is over."""
        if self.update is not None and self._stepping is not None:
            self.moves.append((self.update[0], self._stepping, after))
        self._stepping = None

    def _read_without_run(self, grad: Held | None) -> None:
        """No run of this iteration wrote what the optimizer reads: it was carried in, or comes from elsewhere."""
        if self.begun:
            self._carry(self.grad)
            return
        since = change(self.past.read, grad)
        if since == "":
            self._carry(grad)
        elif since != "not compared" and nonzero(grad):
            self._label("no backward seen")

    def weighs(self, weight: Held, may_move: bool) -> None:
        """The weight as it is now. Where nothing may have moved it, other bits are those of another tensor."""
        known = self.past.weight
        if weight is known:
            self.before = self.before or weight
            return
        if known is not None and not may_move and change(known, weight):
            self.past.replaced = True
            self.past.cleared()
            self.before = None
        self.before = self.before or weight
        self.past.weight, self.past.shape = weight, weight.shape
        self._look(weight, "the weight")

    def moves_by_hand(self) -> None:
        """It moved outside of any optimizer."""
        self.by_hand = True
        if self._left() is not None and nonzero(self.grad):
            self.past.read = self.grad

    def _label(self, said: str) -> None:
        if said and said not in self.labels:
            self.labels.append(said)

    def _look(self, held: Held, what: str) -> None:
        size = held.norm()
        if self.bad is None and size is not None and not math.isfinite(size) and not held.finite():
            kind = "NaN" if math.isnan(size) else "infinite"
            self.bad = Found("not-finite", f"first seen in {what}: its norm is {kind}")

    def blame(self, output: Held, what: str) -> None:
        """What a forward use returned, in which it took part."""
        self._look(output, what)

    # -- what it comes to ------------------------------------------------------------------------

    @property
    def received(self) -> bool:
        """A gradient of it was computed."""
        return any(run.sizes or run.grad is not None for run in self.runs.values())

    @property
    def cancelled(self) -> float | None:
        """The largest share of its runs."""
        return max((c for run in self.runs.values() if (c := run.cancelled) is not None), default=None)

    def row(self, names: tuple[str, ...], iteration: int, sure: bool = True, several: bool = False) -> Row:
        """The row, without findings.

        Args:
            sure: nothing moved the weight since it was seen last.
            several: other threads train, too, and may have written what this one compares.
        """
        runs = list(self.runs.values())
        for run in runs:
            run.finish()
        exact, labels = self._exact(runs) if not several else (None, ("several threads train",))
        moved, size = self._moved()
        if not sure:
            moved, size = moved or None, None
        return Row(
            names,
            self.past.shape,
            iteration,
            len(runs),
            sum(len(run.uses) for run in runs),
            not any(use.fused for run in runs for use in run.uses),
            tuple(size for run in runs for size in run.padded()),
            norm(self.carried),
            norm(self.grad),
            exact,
            labels,
            moved,
            size,
        )

    def _exact(self, runs: list[Run]) -> tuple[bool | None, tuple[str, ...]]:
        labels = list(self.labels)
        written = [run for run in runs if run.grad is not None]
        if any(run.exact is False for run in runs):
            return False, tuple(labels)
        if any(run.exact is None and run.hooked for run in written):
            labels.insert(0, "a hook of the program's")
        elif any(run.exact is None for run in written):
            labels.append("not compared")
        elif runs and all(run.followed for run in runs):
            return (False if any(run.exact is False for run in runs) else all(run.exact for run in runs) or None), (
                NO_LEAF,
            )
        elif runs and not written:
            labels.append("not accumulated")
        return (True if written and not labels else None), tuple(labels)

    def _moved(self) -> tuple[bool | None, Number | None]:
        before, after = self.before, self.past.weight
        if before is None or after is None or not (before.kept and after.kept):
            return None, None
        if after is before or after.same_bits(before):
            return False, 0.0
        return True, norm(after.minus(before)) if after.shape == before.shape else None

    def found(self, moved: bool | None, several: bool = False) -> Iterator[Found]:
        """The findings that this iteration shows by itself. several: as far as they are this thread's alone."""
        if not several:
            yield from self._between(moved)
        if self.bad is not None:
            yield self.bad
        share = self.cancelled
        if share is not None and share > CANCELS:
            most = max(self.runs.values(), key=lambda run: run.cancelled or 0.0)
            yield Found("cancels", f"its {len(most.sizes)} partials cancel {_percent(share)} of each other")
        yield from self._not_split()
        if len(self.moves) > 1:
            steps = [f"{optimizer} by {_size(before, after)}" for optimizer, before, after in self.moves]
            yield Found("moved-twice", f"{len(steps)} steps in one iteration: {', then '.join(steps)}")

    def _not_split(self) -> Iterator[Found]:
        """One line for each kind of operation that hides uses, and how many."""
        kinds: dict[str, set[int]] = {}
        for use in [use for run in self.runs.values() for use in run.uses if use.fused]:
            kinds.setdefault("a cached weight" if use.cached else use.node, set()).add(use.inside)
        for node, counts in sorted(kinds.items()):
            known = sorted(counts - {0})
            many = f"{known[0]} to {known[-1]}" if len(known) > 1 else str(*known)
            hides = f"hides {many} uses" if known and 0 not in counts else "may hide several uses"
            hint = "; with --unfuse it is split" if is_split_by_unfuse(node) else ""
            yield Found("not-split", f"one operation {hides}: {node}{hint}")

    def _between(self, moved: bool | None) -> Iterator[Found]:
        """The findings about what happened between the backwards and updates."""
        for reason, text in self._carries.items():
            yield Found(f"carried-in:{reason}", f".grad already held a gradient, from {text}")
        if self.past.unzeroed >= 2 and "earlier-iteration" in self._carries:
            text = f"{self.past.unzeroed} iterations in a row began with the gradient that the last update had read"
            yield Found("never-zeroed", text)
        if self.lost:
            yield Found("cleared-before-step", self.lost)
        if moved and not self.gradient:
            yield Found("moved-without-gradient", self._mover())
        if any(run.exact is False for run in self.runs.values()):
            yield Found("not-exact", "what was carried in plus the partials is not .grad, and nothing says why")

    def _mover(self) -> str:
        if self.update is not None and not self.by_hand:
            optimizer, recipe = self.update
            after = self.past.weight
            terms = recipe.terms(after) if recipe is not None and after is not None else []
            causes = [
                "momentum" if name == "1st moment" else name
                for name, term, _ in terms
                if name in ("momentum", "1st moment", "weight decay") and nonzero(term)
            ]
            return f"moved by {' and '.join(causes) or 'the optimizer'} ({optimizer})"
        return "moved by hand, outside of any optimizer"


def _size(before: Held, after: Held) -> str:
    """How far a step went."""
    if not (before.kept and after.kept):
        return "an amount that is not kept"
    return f"{after.minus(before).norm():.4g}"


def _percent(share: float) -> str:
    """Never 100 % where it is not."""
    return "all" if share == 1 else f"{math.floor(share * 1000) / 10:g} %"
