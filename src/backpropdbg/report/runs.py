"""One run of the engine, as far as it concerns one parameter: of its tensors only the sum so far is kept."""

from backpropdbg.events import Followed, Held, Use
from backpropdbg.ledger import cancelled
from backpropdbg.situation import Number, number


def norm(held: Held | None) -> Number | None:
    """The norm for a row; None where there is no tensor."""
    size = None if held is None else held.norm()
    return None if size is None else number(size)


def nonzero(held: Held | None) -> bool:
    """True for a gradient that is there and not all zeros."""
    return held is not None and held.norm() != 0


class Run:
    """One run of the engine, as far as it concerns one parameter. within: the outermost run that it is a part of."""

    def __init__(
        self, carried: Held | None, uses: tuple[Use, ...], accumulates: bool, hooked: bool, within: int = 0
    ) -> None:
        self.carried, self.uses, self.accumulates, self.hooked = carried, uses, accumulates, hooked
        self.within = within
        self.norms: list[float | None] = []
        self.total: Held | None = None
        self.sum_norm: float | None = None
        self.grad: Held | None = None
        self.exact: bool | None = None
        self.over = False
        self.followed: Followed | None = None

    def arrive(self, use: Use, partial: Held | None) -> None:
        """A partial; those of a group reach the leaf as the group's total."""
        self.norms.append(None if partial is None else partial.norm())
        if partial is not None and not use.group:
            self.add(partial)

    def add(self, term: Held) -> None:
        """A term reached the leaf: add it as the engine does; on the device meta there is nothing to add."""
        if term.kept:
            self.total = term if self.total is None else self.total.plus(term)

    def flows_on(self, total: Held) -> None:
        """All its uses are in: what is computed hands their sum on."""
        if self.total is not None and self.followed is not None and total.kept:
            self.exact = self.total.same_bits(total) or (None if self.followed.mixed else False)

    def accumulated(self, grad: Held) -> None:
        """`.grad` was written: compare it with our own sum, which can go then."""
        self.grad = grad
        running = self.total
        if running is not None and self.carried is not None:
            running = self.carried.plus(running) if self.carried.kept else None
        if running is not None and grad.kept:
            self.exact = running.same_bits(grad) or (None if self.hooked else False)
        self.finish()

    def finish(self) -> None:
        """Nothing more arrives: keep the size of the sum only."""
        self.over = True
        if self.total is not None:
            self.sum_norm, self.total = self.total.norm(), None

    @property
    def sizes(self) -> list[float]:
        """Norms of the partials that were computed."""
        return [size for size in self.norms if size is not None]

    @property
    def cancelled(self) -> float | None:
        """1 - |sum| / sum of |partials|; None with fewer than two partials, or where it says nothing."""
        return None if self.sum_norm is None else cancelled(self.sizes, self.sum_norm)

    def padded(self) -> list[Number | None]:
        """One norm a use: what never arrived was not computed."""
        missing = [None] * (len(self.uses) - len(self.norms))
        return [None if size is None else number(size) for size in (*self.norms, *missing)]
