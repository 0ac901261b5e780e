"""What a report is made of: facts that travel from the child, and the lines that they become."""

from msgspec import Struct

from backpropdbg.situation import Number

UNFINISHED = "unfinished"  # the label of a row of the iteration in which the program ended too early


class Row(Struct, frozen=True):
    """One parameter in one iteration: the keys of `--format jsonl` and `csv`.

    Attributes:
        names: all that its owners give it, the canonical one first.
        shape: its sizes; None for a tensor that nobody could measure.
        runs: runs of the engine in this iteration that reached it.
        uses: edges into it in the graphs of those runs; each one has its place in `partial_norms`.
        split: False where a fused operation hides uses.
        partial_norms: in order of arrival; None for one that was not computed.
        grad_norm_before: of what `.grad` held before the first run of the iteration; None for None.
        grad_norm: of the `.grad` that the optimizer read, else of the newest that was there; None for None.
        exact: what was carried in plus the partials is `.grad`, bit for bit; None where that can't be said.
        labels: then, what changed `.grad`, or why nobody could compare; "unfinished" where the program ended meanwhile.
        weight_moved: its bits differ from those at the beginning of the iteration; None where nobody compared.
        update_norm: of that difference.
        findings: slugs; a reason may follow after a colon, as in "no-gradient:frozen".
    """

    names: tuple[str, ...]
    shape: tuple[int, ...] | None
    iteration: int
    runs: int = 0
    uses: int = 0
    split: bool = True
    partial_norms: tuple[Number | None, ...] = ()
    grad_norm_before: Number | None = None
    grad_norm: Number | None = None
    exact: bool | None = None
    labels: tuple[str, ...] = ()
    weight_moved: bool | None = None
    update_norm: Number | None = None
    findings: tuple[str, ...] = ()


class Found(Struct, frozen=True):
    """A finding: its slug, perhaps with a reason after a colon, and one plain sentence."""

    slug: str
    text: str


class Facts(Struct, frozen=True):
    """A row, what the table shows beside it, and what the findings of the whole run need to know.

    Attributes:
        row: without findings. found: those that this iteration shows by itself.
        cancelled: 1 - |sum| / sum of |partials|, the largest of its runs with at least two partials.
        weight_norm: of the weight at the beginning of the iteration.
        kind: "parameter", "frozen", "non-leaf", or "computed" where such a one is followed.
        forward: an operation took it. received: a gradient of it was computed. ran: some backward ran.
        optimized: an optimizer that is known by now has it. optimizers: how many are known. stepped: one of them ran.
        twins: other parameters that had the same bits when the later one of the two was first seen.
        replaced: another tensor took its name since, so nobody wants to train it.
        displaced: its module was called with another tensor in its place.
    """

    row: Row
    found: tuple[Found, ...] = ()
    cancelled: float | None = None
    weight_norm: Number | None = None
    kind: str = "parameter"
    forward: bool = False
    received: bool = False
    ran: bool = False
    optimized: bool = False
    optimizers: int = 0
    stepped: bool = False
    twins: tuple[str, ...] = ()
    replaced: bool = False
    displaced: bool = False


class Batch(Struct, frozen=True):
    """What the child sends at the end of an iteration.

    Attributes:
        notes: failures of our own, one line each.
        several: several threads train; nothing is said of what one may have done to another's gradients.
        draft: the iteration goes on; the next batch, if one comes, stands in the place of this one.
    """

    facts: tuple[Facts, ...]
    notes: tuple[str, ...] = ()
    several: bool = False
    draft: bool = False


class Line(Struct, frozen=True):
    """A row with its findings, as sentences too.

    Attributes:
        relative: size of the update relative to the weight.
    """

    row: Row
    found: tuple[Found, ...] = ()
    cancelled: float | None = None
    relative: float | None = None
