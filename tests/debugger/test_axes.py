"""Two axes of a tensor with more, and how its values are spread: the cells and numbers of plain torch."""

import itertools
import re

import pytest
import torch
from driving import debugged, seed
from playing import play, said

SHAPE = (4, 3, 2, 5)


def conv() -> torch.nn.Conv2d:
    seed(0)
    return torch.nn.Conv2d(3, 4, (2, 5))


def program() -> None:
    conv()(torch.ones(1, 3, 6, 6)).sum().backward()


def seen(*lines: str) -> tuple[list[str], list]:
    """What the commands said at the first stop, and the situation and the whole window after each of them."""
    texts: list[str] = []
    looked: list = []

    def at_stop(situation, debugger) -> str:
        for line in lines if not texts else ():
            texts.append(debugger.execute(line).text)
            looked.append((debugger.situation(), debugger.window("weight", 99, 99, 0, 0, True)))
        return "continue"

    with debugged(at_stop, focus="weight"):
        program()
    return texts, looked


def test_every_pair_of_axes_shows_what_torch_selects() -> None:
    t = conv().weight.detach()
    for first, second in itertools.permutations(range(4), 2):
        at = (1, 2, 0, 3)
        others = [n for n in range(4) if n not in (first, second)]
        line = f"axes {first},{second} at {','.join(str(at[n]) for n in others)}"
        _, looked = seen("element 1,2,0,3", line)
        situation, window = looked[1]
        index = tuple(slice(None) if n in (first, second) else at[n] for n in range(4))
        wanted = t[index] if first < second else t[index].t()
        assert situation.axes == (first, second) and situation.element == at
        assert window.shape == tuple(wanted.shape) and [list(row) for row in window.values] == wanted.tolist()
        assert window.vmax == t.abs().max().item()


def test_the_other_indices_are_those_of_the_element_and_flat_shows_all() -> None:
    t = conv().weight.detach()
    texts, looked = seen("axes 0,3", "element 3,2,1,4", "axes flat")
    assert looked[0][0].element == (0, 0, 0, 0) and texts[0].endswith(
        "rows are axis 0, columns axis 3, axis 1 at 0, axis 2 at 0"
    )
    assert [list(row) for row in looked[1][1].values] == t[:, 2, 1, :].tolist()
    assert looked[2][0].axes == () and [list(row) for row in looked[2][1].values] == t.flatten(1).tolist()
    assert texts[2] == "all of weight [4, 3, 2, 5]: rows are axis 0, columns all others"


def test_axes_that_can_not_be_say_so_and_a_vector_has_none() -> None:
    found = play(
        program, "until forward", "axes 0,9", "axes 0,1 at 9,0", "axes 0,1 at 1", "axes 0,0", "axes x", "c"
    ).said
    assert not any(result.ok for result in found[1:6])
    assert "[4, 3, 2, 5]" in found[1].text and "one index for each" in found[2].text and "0,2 at" in found[4].text
    stops = play(program, "focus weight", "axes 1,2", "focus bias", "axes 0,1", "focus weight", "c")
    assert not stops.said[3].ok and "more than two" in stops.said[3].text


def test_the_histogram_counts_what_torch_counts() -> None:
    t = conv().weight.detach().double()
    lines = (
        "histogram weight",
        "histogram",
        "histogram grad",
        "histogram nothing",
        "until accumulate weight",
        "histogram grad",
    )
    found = play(program, "focus weight", *lines, "c").said[1:]
    weight, first, none, unknown, _, ones = found[:6]
    head, *bars = weight.text.splitlines()
    assert first.text == weight.text and head.startswith("weight [4, 3, 2, 5] float32  ")
    facts = dict(re.findall(r"(mean|std|min|max) (\S+)", head))
    wanted = {"mean": t.mean(), "std": t.std(), "min": t.min(), "max": t.max()}
    assert {word: float(text) for word, text in facts.items()} == {
        word: pytest.approx(value.item(), rel=1e-3, abs=1e-5) for word, value in wanted.items()
    }
    counts = torch.histc(t, 10, t.min().item(), t.max().item())
    assert [int(bar.split()[1]) for bar in bars] == counts.int().tolist() and sum(counts) == t.numel()
    assert all((bar.count("#") > 0) == (int(bar.split()[1]) > 0) for bar in bars)
    assert max(bar.count("#") for bar in bars) == 40
    assert (none.ok, unknown.ok) == (False, False) and "None at this stop" in none.text
    assert "partial, running, grad, weight" in unknown.text
    assert ones.text.splitlines()[1].split()[1] == str(t.numel())  # every gradient is the same number


def test_zeros_and_what_is_not_finite_are_counted() -> None:
    def broken() -> None:
        net = conv()
        net.weight.data[0, 0, 0, :3] = torch.tensor([0.0, float("nan"), float("inf")])
        net(torch.ones(1, 3, 6, 6)).sum().backward()

    text = said(play(broken, "focus weight", "histogram weight"))[1]
    assert "zeros 1  not finite 2" in text.splitlines()[0]
