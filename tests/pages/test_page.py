"""The page as text: nothing of the program's is markup, nothing leaves the file, and it stays small."""

import json
import re

import pytest
from filmed import shoot
from msgspec.structs import replace

from backpropdbg.pages.film import LEFT_OUT, MOST_OUTPUT, Film, Remark
from backpropdbg.pages.page import page
from backpropdbg.pages.view import MOST_LEVELS, MOST_ROWS, folded, graph, matrix, view
from backpropdbg.situation import GraphNode, Matrix, Row, Window

HOSTILE = "</script><script>alert(1)</script><!-- & \u2028\u202e\x1b[31m\udc80"


@pytest.fixture(scope="module")
def film() -> Film:
    return shoot()


def data(html: str) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_every_stop_is_on_the_page_in_order(film):
    stops = data(page(film))["stops"]
    assert len(stops) == len(film.slides) > 15
    assert [s["name"] for s in stops] == [slide.situation.where for slide in film.slides]
    assert [s["phase"] for s in stops] == [slide.situation.phase for slide in film.slides]


def test_program_text_cannot_leave_its_place(film):
    stop = replace(film.slides[0].situation, where=HOSTILE, program=HOSTILE, focus=HOSTILE, explanation=(HOSTILE,))
    hostile = Film(HOSTILE)
    hostile.show(stop, {})
    hostile.remark(Remark("command", HOSTILE, HOSTILE))
    hostile.print("stdout", HOSTILE)
    hostile.show(replace(stop, position=99), {})
    html = page(hostile)
    assert html.count("<script") == 2 and html.count("</script>") == 2 and "alert(1)</" not in html
    assert not re.search("[\u2028\u202e\x1b]", html) and "<title>&lt;/script&gt;" in html
    assert data(html)["stops"][0]["explanation"] == ["</script><script>alert(1)</script><!-- & ???[31m?"]


def test_the_page_needs_nothing_but_itself(film):
    html = page(film)
    assert not re.search(r"(?:src|href)\s*=|url\(|@import|https?:", html)
    assert "default-src 'none'" in html and html.count("sha256-") == 2


def test_stops_beyond_the_limit_are_left_out_and_counted(film):
    found = data(page(film, most_bytes=20_000))
    assert 0 < len(found["stops"]) < len(film.slides)
    assert found["left_out"] == f"{len(film.slides) - len(found['stops'])} more are left out"


def test_output_beyond_the_limit_is_left_out_and_it_says_so():
    film = Film("much")
    for _ in range(100):
        film.print("stdout", "x" * 10_000)
    assert film.output[-1] == ("end", LEFT_OUT)
    assert sum(len(text) for _, text in film.output) < MOST_OUTPUT + 20_000


def test_a_stop_that_is_drawn_anew_is_one_stop_until_something_was_said(film):
    stop, shown = film.slides[3].situation, Film("again")
    shown.show(stop, {})
    shown.show(replace(stop, element=(1, 1)), {})
    assert [slide.situation.element for slide in shown.slides] == [(1, 1)]
    shown.remark(Remark("command", "grad = None", "display grad"))
    shown.show(stop, {})
    assert len(shown.slides) == 1 and [r.command for r in shown.slides[0].remarks] == ["display grad"]
    shown.remark(Remark("say", "look"))
    shown.show(stop, {})
    assert len(shown.slides) == 2 and not shown.slides[1].remarks


def test_the_four_states_are_four_words(film):
    states = ("none", "pending", "not computed", "not kept")
    rows = [Row("partial", f"A{n}", state=state) for n, state in enumerate(states)]
    stop = replace(film.slides[0].situation, ledger=tuple(rows))
    shown = Film("states")
    shown.show(stop, {})
    assert [row["norm"] for row in view(shown.slides[0])["ledger"]["rows"]] == [
        *("None", "pending", "not computed", "not kept")
    ]
    words = [matrix(Matrix("grad", "g", (2, 2), state), None, ())["word"] for state in states]
    assert words == ["None", "pending", "not computed", "not kept"]


def test_a_cell_has_its_sign_as_a_character_and_its_place_on_the_scale():
    cells = ((0.5, -0.25, 0.0), ("NaN", "Infinity", "-Infinity"))
    window = Window("grad", (2, 3), cells, vmax=0.5, scale_vmax=1.0)
    shown = matrix(Matrix("grad", "g", (2, 3)), window, (1, 2))
    assert [cell for _, row in shown["rows"] for cell in row] == [
        *(("+.500", 0.5), ("-.250", -0.25), ("·", 0.0), ("NaN!", None), ("+Inf!", None), ("-Inf!", None))
    ]
    assert shown["mark"] == (1, 2) and shown["scale"] == "±1.00"


def test_a_pooled_cell_says_how_many_it_stands_for():
    window = Window("w", (64, 32), ((1.0, 2.0), (3.0, 4.0)), row_step=32, col_step=16, vmax=4, scale_vmax=4)
    shown = matrix(Matrix("w", "w", (64, 32)), window, (40, 20))
    assert shown["scale"] == "±4.00, largest of 32x16"
    assert shown["cols"] == [0, 16] and [n for n, _ in shown["rows"]] == [0, 32]
    assert shown["mark"] == (1, 1)


def test_very_many_rows_and_calls_are_folded_around_the_stop():
    rows = [Row("partial", f"A{n}", here=n == 500) for n in range(1000)]
    kept = folded(rows)
    assert len(kept) <= MOST_ROWS and any(row.here for row in kept) and kept[-1].term == "A999"
    gaps = [int(row.note.split()[0]) for row in kept if row.kind == "gap"]
    assert sum(gaps) + len(kept) - len(gaps) == 1000
    nodes = [GraphNode(f"cell#{n}", n, backward="here" if n == 500 else "done") for n in range(1000)]
    shown = graph(replace(shoot(1).slides[0].situation, graph=tuple(nodes)))
    assert len(shown["levels"]) == MOST_LEVELS and shown["before"] + MOST_LEVELS + shown["after"] == 1000
    assert any(node["bwd"] == "here" for level in shown["levels"] for node in level["nodes"])


def test_a_stretch_of_pending_partials_is_one_row_in_its_own_place():
    rows = [
        Row("partial", "A9"),
        *(Row("partial", f"A{n}", state="pending") for n in range(8, 0, -1)),
        Row("grad", "g"),
    ]
    assert [row.term for row in folded(rows)] == ["A9", "A8 .. A1", "g"]
