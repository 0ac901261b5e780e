"""What is trained: each workload says its sizes in its name, and starts from the same state each time."""

from collections.abc import Callable

import torch
from torch import Tensor

from backpropdbg.demo.dynamic_net import DynamicNet


class Loop:
    """Training steps of one model on one batch.

    Attributes:
        inputs: what the model is called with. loss: of what it returns.
        device: where they are.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        inputs: Tensor,
        loss: Callable[[Tensor], Tensor],
        optimizer: Callable[..., torch.optim.Optimizer],
    ) -> None:
        self.model, self.inputs, self.loss = model, inputs, loss
        self.optimizer = optimizer(model.parameters())
        self.device = inputs.device.type

    def step(self) -> None:
        """One iteration."""
        loss = self.loss(self.model(self.inputs))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def momentum(parameters: object) -> torch.optim.Optimizer:
    """SGD as the tutorial has it, slow enough to stay finite for ever."""
    return torch.optim.SGD(parameters, lr=1e-6, momentum=0.9)  # type: ignore[arg-type]


def dynamic_net(device: str, hidden: int, inputs: int = 1000, batch: int = 64, uses: int = 3) -> Loop:
    """The tutorial's net; its middle layer is used `uses` times."""
    torch.manual_seed(0)
    x, y = torch.randn(batch, inputs), torch.randn(batch, 10)
    model, target = DynamicNet(inputs, hidden, 10, uses).to(device), y.to(device)
    criterion = torch.nn.MSELoss(reduction="sum")
    return Loop(model, x.to(device), lambda out: criterion(out, target), momentum)


class TiedTransformer(torch.nn.Module):
    """Four layers, and a head that is the embedding."""

    def __init__(self, words: int = 1000, width: int = 128, layers: int = 4) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(words, width)
        layer = torch.nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=0.0, batch_first=True)
        self.body = torch.nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = torch.nn.Linear(width, words, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens: [batch, time]; returns [batch, time, words]."""
        return self.head(self.body(self.embedding(tokens)))  # type: ignore[no-any-return]


def transformer(device: str) -> Loop:
    """It learns to say the next word."""
    torch.manual_seed(0)
    tokens = torch.randint(0, 1000, (8, 33)).to(device)
    following = tokens[:, 1:].flatten()
    return Loop(
        TiedTransformer().to(device),
        tokens[:, :-1].contiguous(),
        lambda scores: torch.nn.functional.cross_entropy(scores.flatten(0, 1), following),
        lambda parameters: torch.optim.AdamW(parameters, lr=1e-5),
    )


class Unrolled(torch.nn.Module):
    """One recurrent cell that is used `uses` times."""

    def __init__(self, cell: torch.nn.RNNCellBase, uses: int) -> None:
        super().__init__()
        self.cell, self.uses = cell, uses

    def forward(self, x: Tensor) -> Tensor:
        """x: [batch, input]; returns [batch, hidden]."""
        state = None
        for _ in range(self.uses):
            state = self.cell(x, state)
        return state[0] if isinstance(state, tuple) else state  # type: ignore[return-value]


def lstm(device: str, uses: int = 200) -> Loop:
    """An LSTMCell, unrolled."""
    torch.manual_seed(0)
    model = Unrolled(torch.nn.LSTMCell(32, 64), uses).to(device)
    return Loop(model, torch.randn(16, 32).to(device), lambda h: h.square().sum(), momentum)


def recurrent(device: str, uses: int) -> Loop:
    """The smallest cell, used often: nearly all that is measured is what each use costs."""
    torch.manual_seed(0)
    model = Unrolled(torch.nn.RNNCell(16, 16), uses).to(device)
    return Loop(model, torch.randn(4, 16).to(device), lambda h: h.square().sum(), momentum)


def tiny(device: str, modules: int = 200) -> Loop:
    """Many modules that do next to nothing: what each call costs shows most here."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(*(torch.nn.Linear(8, 8) for _ in range(modules))).to(device)
    return Loop(model, torch.randn(4, 8).to(device), lambda out: out.square().sum(), momentum)


ALL: dict[str, Callable[[str], Loop]] = {
    "DynamicNet 100, 3 uses": lambda device: dynamic_net(device, 100),
    "DynamicNet 1024, 3 uses": lambda device: dynamic_net(device, 1024),
    "transformer, 4 layers, tied": transformer,
    "LSTMCell 64, 200 uses": lstm,
    "200 tiny modules": tiny,
}
