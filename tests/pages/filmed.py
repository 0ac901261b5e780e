"""A film of one training step, shot in this process."""

import torch
from driving import debugged, make_net, seed

from backpropdbg.pages.film import COLS, ROWS, Film


def shoot(uses: int = 3, sizes: tuple[int, int, int, int] = (8, 4, 5, 3)) -> Film:
    """Every event of one step of the tutorial's net, `middle_linear.weight` in focus."""
    film = Film("one step")

    def take(situation, debugger) -> None:
        shown = [m.name for m in situation.matrices if m.state == "value"]
        film.show(situation, {name: debugger.window(name, ROWS, COLS, 0, 0, True) for name in shown})

    seed(1816)
    net, x, y = make_net("module", uses, sizes)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    with debugged(take, focus="middle_linear.weight"):
        torch.nn.functional.mse_loss(net(x), y, reduction="sum").backward()
        optimizer.step()
    return film
