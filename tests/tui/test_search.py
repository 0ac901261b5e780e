"""Where the largest |element|, the smallest and first non-finite one are, compared with plain torch."""

import math

import pytest
import torch
from fake_session import STOP
from msgspec.structs import replace
from playing import play, said
from test_app import opened, screen, until

from backpropdbg.situation import Matrix
from backpropdbg.tui.results import Results
from backpropdbg.tui.search import LARGEST, ODD, SMALLEST, answer, question
from backpropdbg.wire.session import Result

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    "values",
    [
        [1.0, -2.0, 3.0, 0.5, 0.0, -1.0], [NAN, 1.0, -INF, 5.0, INF, NAN], [NAN] * 5 + [-7.0], [-1.0, -2.0, -3.0] * 2,
        [0.0, 0.0, -INF, 1.0, NAN, 2.0], [0.0, 1.0, -5.0, 4.0, 3.0, 2.0], [0.0, -0.0] * 3,
    ],
)  # fmt: skip
def test_the_debugger_finds_what_torch_finds(values) -> None:
    weight = torch.tensor(values).reshape(2, 3)
    net = torch.nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        net.weight.copy_(weight)
    lines = [question(what, "weight") for what in (LARGEST, SMALLEST, ODD)]
    texts = said(play(lambda: net(torch.ones(1, 3)).sum().backward(), *lines))
    known = [v for v in values if not math.isnan(v)]
    odd = [n for n, v in enumerate(values) if not math.isfinite(v)]
    sizes = [abs(v) for v in known]
    wanted = [[abs(v) for v in values].index(max(sizes)), values.index(min(known)), odd[0] if odd else None]
    found = [answer(what, text, (2, 3)) for what, text in zip((LARGEST, SMALLEST, ODD), texts, strict=True)]
    assert [a and a.element for a in found] == [None if n is None else divmod(n, 3) for n in wanted]
    assert [repr(a and a.value) for a in found] == [
        repr(n if n is None else weight.flatten()[n].item()) for n in wanted
    ]
    assert all(a is None or a.zeros == (not weight.any()) for a in found)


def test_in_the_update_the_difference_is_searched() -> None:
    net = torch.nn.Linear(3, 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    before = net.weight.detach().clone()

    def train() -> None:
        net(torch.tensor([[1.0, -4.0, 2.0]])).sum().backward()
        optimizer.step()

    texts = said(play(train, "until update", question(LARGEST, "delta"), question(SMALLEST, "after")))
    moved = net.weight.detach() - before
    assert answer(LARGEST, texts[1], (2, 3)).element == divmod(int(moved.abs().argmax()), 3)
    assert answer(SMALLEST, texts[2], (2, 3)).element == divmod(int(net.weight.argmin()), 3)


@pytest.mark.parametrize(("key", "what"), [("greater_than_sign", LARGEST), ("less_than_sign", SMALLEST)])
async def test_keys_select_what_was_found(key: str, what: str) -> None:
    name = "|element|" if what == LARGEST else "element"
    async with opened() as (app, session, pilot):
        session.answers[question(what, "partial")] = "[5, -1.25, True]"
        await pilot.press(key)
        await until(pilot, lambda: session.sent == [question(what, "partial"), "element 1,2"])
        await until(pilot, lambda: f"A2  partial: the {what} {name} is [1,2], -1.2500" in screen(app))
        session.answers[question(what, "partial")] = "[0, 0.0, False]"
        await pilot.press(key)
        await until(pilot, lambda: "A2  partial: all elements are zero" in screen(app))


async def test_what_there_is_not_is_said() -> None:
    async with opened() as (app, session, pilot):
        session.answers[question(ODD, "partial")] = "[0, 0.5, True]"
        await pilot.press("exclamation_mark")
        await until(pilot, lambda: "A2  partial: no non-finite element" in screen(app))
        session.command = lambda line: session.say(Result(line, "print: this recording needs torch", ok=False))
        await pilot.press("exclamation_mark")
        await until(pilot, lambda: app.query_one(Results).kind == "error" and "needs torch" in screen(app))
    pending = replace(STOP, matrices=(Matrix("partial", "P", state="pending"), Matrix("weight", "W", (3, 3))))
    async with opened(stop=pending) as (app, session, pilot):
        await pilot.press("exclamation_mark")
        await until(pilot, lambda: session.sent == [question(ODD, "weight")])
