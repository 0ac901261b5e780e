"""The page in a real browser: keys, numbers against plain torch, both colour schemes, and a hostile program."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from browser import FOUND, Tab, chromium
from driving import make_net, seed
from filmed import shoot
from oracle import module_net, state_of, untied_partials
from test_page import HOSTILE

from backpropdbg.figures import cell_text, number_text
from backpropdbg.pages.film import Film, Remark
from backpropdbg.pages.page import page

pytestmark = pytest.mark.skipif(FOUND is None, reason="there is no Chromium here")

NAMES = "[...document.querySelectorAll('#stops button')].map(b => b.title)"
ROWS = "[...document.querySelectorAll('#ledger tbody tr')].map(r => [...r.children].map(c => c.textContent))"
CELLS = "[...document.querySelectorAll('.matrix')].map(m => [...m.querySelectorAll('td')].map(c => c.textContent))"
STOP = "document.getElementById('count').textContent"


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    with chromium() as tab:
        yield tab


@pytest.fixture(scope="module")
def film() -> Film:
    film = shoot()
    film.slides[0].remarks.append(Remark("say", "Look at the weight."))
    return film


@pytest.fixture(scope="module")
def url(film: Film, tmp_path_factory) -> str:
    path: Path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(page(film), encoding="utf-8")
    return path.as_uri()


def open_at(tab: Tab, url: str, stop: int, **how: object) -> None:
    tab.open("about:blank")
    tab.open(f"{url}#{stop}", **how)


def test_keys_step_through_the_stops(tab, url, film):
    open_at(tab, url, 1)
    last = len(film.slides)
    assert tab.run(STOP) == f"stop 1 of {last}"
    for key, at in (("ArrowRight", 2), ("ArrowRight", 3), ("ArrowLeft", 2), ("End", last), ("ArrowRight", last)):
        tab.press(key)
        assert tab.run(STOP) == f"stop {at} of {last}"
        assert tab.run("document.querySelector('#head .where').textContent") == film.slides[at - 1].situation.where
    tab.press("Home")
    assert tab.run(STOP) == f"stop 1 of {last}" and tab.run("document.getElementById('back').disabled")
    tab.run("document.getElementById('ahead').click()")
    assert tab.run(STOP) == f"stop 2 of {last}"
    assert tab.run(NAMES) == [slide.situation.where for slide in film.slides]
    tab.run("document.querySelectorAll('#stops button')[4].click()")
    assert tab.run(STOP) == f"stop 5 of {last}" and not tab.log


def test_a_caption_is_told_to_who_cannot_see_it(tab, url):
    open_at(tab, url, 1)
    caption = "document.querySelector('#caption[aria-live=polite]')"
    assert tab.run(f"{caption}.querySelector('p').textContent") == "Look at the weight."
    assert tab.run(f"{caption}.textContent").startswith("stop 1 of ")
    tab.press("ArrowRight")
    assert tab.run(f"{caption}.querySelector('p')") is None


def test_the_numbers_are_those_of_plain_torch(tab, url, film):
    seed(1816)
    net, x, y = make_net("module", 3)
    partials = untied_partials(module_net, state_of(net), x, y, 3)["middle_linear.weight"]
    names = [type_of(slide) for slide in film.slides]
    at = names.index(("BackwardUse", "middle_linear#2 of 3", "middle_linear.weight")) + 1
    open_at(tab, url, at)
    rows = {row[0].strip(): row for row in tab.run(ROWS)}
    third, second = partials[2], partials[1]
    running = third + second
    assert rows["A3  use #3"][1] == number_text(float(third.double().norm()))
    assert rows["> A2  use #2"][1] == number_text(float(second.double().norm()))
    assert rows["> A2  use #2"][3] == number_text(float(second[0, 0]), signed=True)
    assert rows["running sum"][1] == number_text(float(running.double().norm()))
    assert rows["A1  use #1"][1] == "pending" and rows[".grad"][1] == "None"
    shown = tab.run(CELLS)
    assert shown[0] == [cell_text(float(v)) for v in second.flatten()]
    assert shown[1] == [cell_text(float(v)) for v in running.flatten()]
    assert shown[2] == [cell_text(float(v)) for v in net.middle_linear.weight.detach().flatten()]


def type_of(slide) -> tuple[str, str, str]:
    s = slide.situation
    here = next((row.term for row in s.ledger if row.here), "")
    return s.event, s.where, s.focus if here else ""


def test_the_update_shows_before_difference_and_after(tab, url, film):
    seed(1816)
    net, x, y = make_net("module", 3)
    before = net.middle_linear.weight.detach().clone()
    torch.nn.functional.mse_loss(net(x), y, reduction="sum").backward()
    torch.optim.SGD(net.parameters(), lr=0.01).step()
    at = next(n for n, slide in enumerate(film.slides, 1) if slide.situation.event == "StepFinished")
    open_at(tab, url, at)
    after = net.middle_linear.weight.detach()
    expected = [before, after.double() - before.double(), after]
    assert tab.run(CELLS) == [[cell_text(float(v)) for v in t.flatten()] for t in expected]


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("dark", [True, False])
def test_it_fits_every_window_in_both_colour_schemes(tab, url, film, width, dark):
    for stop in (1, len(film.slides) // 2, len(film.slides)):
        open_at(tab, url, stop, width=width, dark=dark)
        assert tab.run("document.documentElement.scrollWidth") <= width
        ground = tab.run("getComputedStyle(document.body).backgroundColor")
        assert ground == ("rgb(17, 19, 23)" if dark else "rgb(251, 251, 250)")
        assert poorest(tab) >= 3.9


def poorest(tab: Tab) -> float:
    """The poorest contrast of any cell's text to its ground, as WCAG measures it."""
    return tab.run("""(() => {
      const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
      const light = (colour) => {
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        const parts = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((v) => v / 255);
        const linear = parts.map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
      };
      return Math.min(...[...document.querySelectorAll(".matrix td")].map((cell) => {
        const style = getComputedStyle(cell);
        const [a, b] = [light(style.color), light(style.backgroundColor)].sort((p, q) => q - p);
        return (a + 0.05) / (b + 0.05);
      }));
    })()""")


def test_a_hostile_program_runs_nothing(tab, film, tmp_path):
    hostile = Film(HOSTILE)
    for n, slide in enumerate(film.slides[:3]):
        hostile.print("stdout", HOSTILE + "<img src=x onerror=alert(1)>")
        hostile.show(slide.situation, slide.windows)
        hostile.remark(Remark("say" if n else "command", HOSTILE, HOSTILE))
    path = tmp_path / "hostile.html"
    path.write_text(page(hostile), encoding="utf-8")
    tab.log.clear()
    open_at(tab, path.as_uri(), 2)
    assert tab.run("document.scripts.length") == 2 and tab.run("document.images.length") == 0
    assert tab.run("document.querySelector('#printed pre').textContent").startswith("</script><script>")
    assert tab.requests == [path.as_uri() + "#2"] or tab.requests == [path.as_uri()]
    assert not tab.log


def test_an_empty_film_says_so(tab, tmp_path):
    path = tmp_path / "empty.html"
    path.write_text(page(Film("nothing")), encoding="utf-8")
    tab.open(path.as_uri())
    assert "nothing stopped" in tab.run("document.getElementById('caption').textContent") and not tab.log
