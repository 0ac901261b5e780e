"""TorchLens: `tl.trace` with `save_grads` and `log_backward`, as its README says."""

from typing import Any

import torchlens
from answers import USES, Answers
from workloads import Loop

SAVE = torchlens.options.CaptureOptions(save_grads=True)


class Session:
    """A trace of each step."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.trace: Any = None

    def step(self) -> None:
        """One iteration: the trace runs the forward."""
        loop = self.loop
        if self.trace is not None:
            self.trace.cleanup()
        self.trace = trace = torchlens.trace(loop.model, loop.inputs, capture=SAVE)
        loss = loop.loss(trace[trace.output_layers[0]].out)
        loop.optimizer.zero_grad()
        trace.log_backward(loss)
        loop.optimizer.step()

    def answers(self) -> Answers:
        """Of the layer that has as many passes as there are uses: the gradient inputs of each pass's own node."""
        layers = [layer for layer in self.trace.layers if len(layer.ops) == USES]
        (layer,) = [each for each in layers if "linear" in each.layer_label]
        calls = {n: op.grad_fn.calls[0] for n, op in enumerate(layer.ops, 1)}
        partials = {n: call.grad_inputs[2].t() for n, call in calls.items() if call.grad_inputs}
        return Answers(partials, words="each is grad_inputs[2] of that pass's AddmmBackward, transposed")

    def close(self) -> None:
        """Let go of the last trace."""
        if self.trace is not None:
            self.trace.cleanup()
