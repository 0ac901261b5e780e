"""A tiny language model whose embedding and output head are one matrix: read a word, say which word comes next.

Run it with `python demos/tied.py`, or step through it with `python -m backpropdbg run demos/tied.py`.
"""

import torch

WORDS = ["the", "cat", "sat", "on", "a", "mat", "and", "dog"]
TEXT = "the cat sat on a mat and the cat sat on the cat"  # no dog


class Model(torch.nn.Module):
    """wte turns a word into a vector; lm_head compares a vector with every word."""

    def __init__(self) -> None:
        super().__init__()
        self.wte = torch.nn.Embedding(len(WORDS), 4)
        self.mix = torch.nn.Linear(4, 4)
        self.lm_head = torch.nn.Linear(4, len(WORDS), bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        """words: [n]; returns the scores of each next word, [n, words]."""
        return self.lm_head(torch.tanh(self.mix(self.wte(words))))


def main() -> None:
    """Train it on one sentence."""
    torch.manual_seed(0)
    model = Model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    text = torch.tensor([WORDS.index(word) for word in TEXT.split()])
    for step in range(8):
        loss = torch.nn.functional.cross_entropy(model(text[:-1]), text[1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"step {step}: loss {loss.item():.4f}")
    after_cat = WORDS[int(model(text[1:2]).argmax())]
    print(f"after 'cat' comes {after_cat!r}")


if __name__ == "__main__":
    main()
