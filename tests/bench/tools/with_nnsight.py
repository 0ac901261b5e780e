"""nnsight: a trace around each step, that saves the gradient of every call's output, as its documentation says."""

from typing import Any

import nnsight
from answers import USES, Answers
from workloads import Loop

REPEATED = ("middle_linear", "cell")


def repeated(loop: Loop) -> tuple[str, int]:
    """The module that is called several times, and how often; of a net without one the parts, once each."""
    for name in REPEATED:
        if hasattr(loop.model, name):
            return name, loop.model.uses  # type: ignore[return-value]
    return "", 1


class Session:
    """The model in its wrapper."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.model: Any = nnsight.NNsight(loop.model)
        self.name, self.calls = repeated(loop)
        self.seen: Any = []

    def step(self) -> None:
        """One iteration."""
        self.loop.optimizer.zero_grad()
        if self.name:
            self.seen = of_calls(self.model, self.loop, getattr(self.model, self.name), self.calls)
        else:
            body = self.model.body.layers if hasattr(self.model, "body") else self.model
            self.seen = of_parts(self.model, self.loop, list(body))
        self.loop.optimizer.step()

    def answers(self) -> Answers:
        """Gradients of outputs; that of the weight is one more product, with the call's input."""
        found = {USES - n: grad.t() @ x for n, (x, grad) in enumerate(self.seen)}
        return Answers(by_hand=found, words="from the gradient of each call's output and its input")

    def close(self) -> None:
        """It stays wrapped."""


def of_calls(model: Any, loop: Loop, part: Any, calls: int) -> Any:
    """(input, gradient of the output) of each call of one module, the last first."""
    with model.trace(loop.inputs) as tracer:
        pairs = nnsight.save([])
        outs = []
        for _ in tracer.iter[:calls]:
            x = part.input
            out = part.output
            outs.append((x, out[0] if isinstance(out, tuple) else out))
        loss = loop.loss(model.output)
        with loss.backward():
            for x, out in reversed(outs):
                pairs.append((x, out.grad))
    return pairs


def of_parts(model: Any, loop: Loop, parts: list[Any]) -> Any:
    """The same of modules that are called once each."""
    with model.trace(loop.inputs):
        pairs = nnsight.save([])
        outs = []
        for part in parts:
            x = part.input
            outs.append((x, part.output))
        loss = loop.loss(model.output)
        with loss.backward():
            for x, out in reversed(outs):
                pairs.append((x, out.grad))
    return pairs
