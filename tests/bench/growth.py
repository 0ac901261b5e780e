"""What watching costs as the work grows: a tied transformer, and 10 to 10,000 uses of one cell in one backward.

Per use the cost must stay flat, and the memory that is held within what was granted. Plain and watched steps alternate
in one process; rows are medians of ratios, with quartiles.

Run: `python tests/bench/growth.py [--steps N]`.
"""

import argparse
import statistics
from collections.abc import Callable, Sequence

import torch
from overhead import IDLE_BUT_ATTACHED, REFERENCES, STEPPING, WEIGHTS, Trainable, plain, watched

from backpropdbg.trace.history import Trace

KEEP = 64 * 2**20
FLAT = 1.2
COUNTS = (10, 100, 1_000, 10_000)


class TiedTransformer(torch.nn.Module):
    """Four layers, and a head that is the embedding."""

    def __init__(self, words: int = 1000, width: int = 128, layers: int = 4) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(words, width)
        layer = torch.nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=0.0, batch_first=True)
        self.body = torch.nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = torch.nn.Linear(width, words, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """tokens: [batch, time]; returns [batch, time, words]."""
        return self.head(self.body(self.embedding(tokens)))  # type: ignore[no-any-return]


class Sentences:
    """Training steps of the transformer."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = TiedTransformer()
        self.tokens = torch.randint(0, 1000, (8, 33))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-5)

    def step(self) -> None:
        """One iteration: say the next word."""
        scores = self.model(self.tokens[:, :-1])
        loss = torch.nn.functional.cross_entropy(scores.flatten(0, 1), self.tokens[:, 1:].flatten())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


class Unrolled:
    """Training steps of one cell that is used `uses` times."""

    def __init__(self, uses: int) -> None:
        torch.manual_seed(0)
        self.uses = uses
        self.cell = torch.nn.RNNCell(16, 16)
        self.x = torch.randn(4, 16)
        self.optimizer = torch.optim.SGD(self.cell.parameters(), lr=1e-6)

    def step(self) -> None:
        """One iteration."""
        h = torch.zeros(4, 16)
        for _ in range(self.uses):
            h = self.cell(self.x, h)
        self.optimizer.zero_grad()
        h.square().sum().backward()
        self.optimizer.step()


def ratios(loop: Trainable, timed: Callable[[], float], steps: int) -> list[float]:
    """Watched over plain, the plain ones on both sides."""
    found = []
    for n in range(steps + 3):
        before, mine, after = plain(loop), timed(), plain(loop)
        if n >= 3:
            found.append(2 * mine / (before + after))
    return found


def show(name: str, found: Sequence[float]) -> None:
    """Print one row."""
    low, middle, high = statistics.quantiles(found, n=4)
    print(f"  {name:<28} {middle:6.3f}x  ({low:.3f} to {high:.3f})")


def transformer(steps: int) -> None:
    """All parameters of the tied transformer."""
    loop = Sentences()
    base = statistics.median(plain(loop) for _ in range(10))
    print(f"4-layer transformer, tied embedding, {8 * 32} tokens: plain step {1e3 * base:.1f} ms")
    show("A/A", ratios(loop, lambda: plain(loop), steps))
    for name, policy in {
        "attached, tracks nothing": IDLE_BUT_ATTACHED,
        "partials": REFERENCES,
        "and weights": WEIGHTS,
        "all, as when stepping": STEPPING,
    }.items():
        show(name, ratios(loop, watched(loop, policy, Trace(KEEP, statistics=False).append), steps))


def uses(steps: int) -> None:
    """One cell, more and more often: what each use costs beyond the plain step."""
    first = 0.0
    for count in COUNTS:
        loop, trace = Unrolled(count), Trace(2**20, statistics=False)
        timed = watched(loop, REFERENCES, trace.append)
        rounds = max(3, min(steps, 20_000 // count))
        costs = []
        for n in range(rounds + 1):
            before, mine, after = plain(loop), timed(), plain(loop)
            if n:
                costs.append((mine - (before + after) / 2) / count)
        cost = statistics.median(costs)
        first = first or cost
        verdict = "flat" if cost <= FLAT * first else "NOT FLAT"
        print(
            f"  {count:>6} uses: {1e6 * cost:6.1f} us a use beyond plain, {cost / first:.2f} of that at 10: {verdict}"
        )
        print(f"         {trace.nbytes / 2**20:.1f} MiB held of 1 MiB granted; the newest backward is kept whole")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=40)
    given = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    transformer(given.steps)
    print("one cell in one backward:")
    uses(given.steps)


if __name__ == "__main__":
    main()
