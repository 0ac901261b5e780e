"""Hand-written: a hook that clones on every node of the graph whose edge leads to a parameter. It takes an expert."""

from collections.abc import Iterator
from typing import Any

import torch
from answers import WEIGHT, Answers
from torch import Tensor
from workloads import Loop


def edges(root: Any, parameters: dict[int, str]) -> Iterator[tuple[Any, int, str]]:
    """Each node and slot whose edge leads to a parameter (or to its transpose, as in nn.Linear)."""
    seen, todo = set(), [root]
    while todo:
        node = todo.pop()
        if node in seen:
            continue
        seen.add(node)
        for slot, (target, _) in enumerate(node.next_functions):
            if target is None:
                continue
            leaf = getattr(target, "variable", None)
            if leaf is not None:
                yield node, slot, parameters[id(leaf)]
            else:
                todo.append(target)


class Session:
    """Clones every partial of a step."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.names = {id(p): n for n, p in loop.model.named_parameters()}
        self.kept: list[tuple[str, int, Tensor]] = []

    def step(self) -> None:
        """The loop's own step, written out: the graph must be walked between forward and backward."""
        loop = self.loop
        loss = loop.loss(loop.model(loop.inputs))
        loop.optimizer.zero_grad()
        self.kept.clear()
        handles = [self.hook(*edge) for edge in edges(loss.grad_fn, self.names)]
        loss.backward()
        for handle in handles:
            handle.remove()
        loop.optimizer.step()

    def hook(self, node: Any, slot: int, name: str) -> Any:
        """Put one in; it holds no node."""
        sequence = node._sequence_nr()
        return node.register_hook(lambda ins, _: self.keep(name, sequence, ins[slot]))

    def keep(self, name: str, sequence: int, partial: Tensor | None) -> None:
        """One partial arrived."""
        if partial is not None:
            self.kept.append((name, sequence, torch.clone(partial)))

    def answers(self) -> Answers:
        """The forward order is that of the sequence numbers."""
        mine = sorted((sequence, partial) for name, sequence, partial in self.kept if name == WEIGHT)
        return Answers(partials={n: partial for n, (_, partial) in enumerate(mine, 1)})

    def close(self) -> None:
        """Nothing stays in the loop."""
