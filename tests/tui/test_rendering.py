"""Literal text of cells, ledger, graph, matrix and source."""

import random
import re

import pytest
from fake_session import LEDGER, PARTIAL, SOURCE, STOP
from msgspec.structs import replace

from backpropdbg.situation import GraphNode, Matrix, Row, Window
from backpropdbg.tui import graph
from backpropdbg.tui.graph import graph_text
from backpropdbg.tui.ledger import heading, ledger_lines, ledger_table, row_text
from backpropdbg.tui.lined import text_of
from backpropdbg.tui.matrix import MatrixPane, matrix_rows, scale_text, selected_cell
from backpropdbg.tui.paint import cell_text, clean, number_text
from backpropdbg.tui.plane import Plane
from backpropdbg.tui.select import neighbour, next_parameter
from backpropdbg.tui.source import source_text


@pytest.mark.parametrize("width", [40, 80, 116, 250])
def test_of_a_long_chain_only_what_may_show_is_drawn_and_it_is_the_same(width: int, monkeypatch) -> None:
    chance, whole_cell, drawn = random.Random(3), graph.cell, []
    for here in (None, 0, 1, 40, 200, 397, 398, 399):
        calls = [GraphNode(f"{'abcdef'[: chance.randint(1, 6)]}{n}#1", n, "done") for n in range(400)]
        nodes = [replace(node, backward="here") if n == here else node for n, node in enumerate(calls)]
        stop = replace(STOP, graph=tuple(nodes))
        drawn.clear()
        monkeypatch.setattr(graph, "cell", lambda group, line: drawn.append(1) or whole_cell(group, line))
        quick, count = graph_text(stop, width).plain, len(drawn)
        with monkeypatch.context() as whole:
            whole.setattr(graph, "near", lambda groups, here, room: groups)
            assert quick == graph_text(stop, width).plain
        assert 0 < count <= 3 * (width // 2 + 1)
        monkeypatch.undo()


def test_a_level_with_many_calls_shows_its_ends_and_those_around_the_stop() -> None:
    side = tuple(GraphNode(f"heads.{n}#1", 1, "done", "here" if n == 2500 else "pending") for n in range(5000))
    text = graph_text(replace(STOP, graph=(GraphNode("x", 0), *side, GraphNode("loss", 2))), 250).plain
    shown = (
        "[heads.0#1 | heads.1#1 | 2497 more | heads.2499#1 | heads.2500#1* | heads.2501#1 | 2496 more | heads.4998#1"
    )
    assert shown in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.726, "+.726"), (-0.0864, "-.086"), (1.2534, "+1.253"), (0.9996, "+1.000"), (12.5, "+12.50"),
        (-1234.5, "-1234"), (123456.0, "+1e5"), (3e-5, "+3e-5"), (-0.0004, "-4e-4"), (0.00094, "+9e-4"),
        (-0.00097, "-.001"), (0.00104, "+.001"), (1e-300, "+1e-300"),
        (5e-324, "+5e-324"), (0.0, "·"), (-0.0, "·"), ("NaN", "NaN!"), ("Infinity", "+Inf!"), ("-Infinity", "-Inf!"),
    ],
)  # fmt: skip
def test_cell(value: float | str, text: str) -> None:
    assert cell_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2.33071, "2.3307"),
        (0.0, "0"),
        (0.00003, "3.00e-5"),
        (-0.0002862, "-2.86e-4"),
        ("NaN", "NaN!"),
        (1e9, "1.00e9"),
        (None, ""),
        (-0.5, "-0.5000"),
    ],
)
def test_number(value: float | str | None, text: str) -> None:
    assert number_text(value) == text


def test_ledger() -> None:
    lines, here = ledger_lines(STOP)
    assert heading(STOP, 12).plain == "  term             norm  cos(run)     W[2,0]"
    assert [line.plain for line in lines] == [
        "  carried in        None",
        "  A3  use #3      2.3307     +0.72    +0.0772  pulls it down",
        "> A2  use #2      2.4075     +0.74    -0.0864  pulls up, cancels 89 %",
        "  A1  use #1     pending",
        "  -------------------------------------------",
        "  running sum     3.4727     +1.00   -3.00e-5",
        "  .grad             None  AccumulateGrad has not run yet",
    ]
    assert here == 2
    assert [line.plain for line in ledger_lines(STOP, ruled=False)[0]] == [
        line.plain for line in lines if "----" not in line.plain
    ]


def test_absences_are_distinct_words() -> None:
    texts = {row_text(Row("partial", "A1", state=s), 12).plain for s in ("none", "pending", "not computed", "not kept")}
    assert {text[3:].split(maxsplit=1)[1] for text in texts} == {"None", "pending", "not computed", "not kept"}


def test_update_rows_only_in_update_phase() -> None:
    update = (Row("term", "momentum", norm=0.1, element=-0.01),)
    stop = replace(STOP, update=update, phase="update", cosine_to="final sum")
    assert "momentum" in ledger_lines(stop)[0][-1].plain
    assert "cos(sum)" in heading(stop, 12).plain
    assert len(ledger_lines(replace(STOP, update=update))[0]) == len(LEDGER) + 1


def test_graph_marks_and_branches() -> None:
    assert graph_text(STOP, 120).plain.splitlines()[1].endswith("<- loss    you are here")
    assert " <-[middle#2]<- " in graph_text(STOP, 120).plain.splitlines()[1]
    nodes = (GraphNode("x", 0), GraphNode("a", 1), GraphNode("b", 1), GraphNode("loss", 2))
    assert graph_text(replace(STOP, graph=nodes), 80).plain.splitlines()[0] == "fwd  x -> [a | b] -> loss"


@pytest.mark.parametrize("at", [0, 40, 95])
def test_wide_graph_shows_current_node(at: int) -> None:
    nodes = tuple(GraphNode(f"layer#{n}", n, backward="here" if n == at else "done") for n in range(96))
    line = graph_text(replace(STOP, graph=nodes), 80).plain.splitlines()[1]
    assert f"layer#{at}" in line and len(line) <= 80


@pytest.mark.parametrize("at", [1, 2, 30, 56, 57])
def test_a_long_unrolling_collapses_around_the_call_that_the_stop_is_at(at: int) -> None:
    back = ["pending" if n < at else "here" if n == at else "done" for n in range(60)]
    norms = [("value", 1.0) if n >= at else () for n in range(60)]
    middle = [GraphNode(f"cell#{n}", n, "done", back[n], True, f"A{n}", *norms[n]) for n in range(1, 58)]
    nodes = (GraphNode("x", 0), *middle, GraphNode("out#1", 58, "done", "done"), GraphNode("loss", 59, "done", "done"))
    text = graph_text(replace(STOP, graph=nodes), 120).plain
    assert all(len(line) <= 120 for line in text.splitlines())
    forward, backward, grad = (" ".join(line.split()) for line in text.splitlines())
    assert forward.startswith("fwd x -> cell#1 -> ") and forward.endswith("cell#57 -> out#1 -> loss")
    assert f"[cell#{at}]" in backward and " .. #" in forward and f"A{at} 1.00" in grad
    shown = {int(n) for n in re.findall(r"cell#(\d+)", forward)}
    for first, last in re.findall(r"#(\d+) \.\. #(\d+)", forward):
        gone = set(range(int(first), int(last) + 1))
        assert not gone & shown and not {at - 1, at, at + 1} & gone and len(gone) >= 3
        shown |= gone
    assert shown == set(range(1, 58))
    assert forward.count(" .. ") == backward.count(" .. ")


def test_what_fits_or_is_not_alike_stays_whole() -> None:
    states = [GraphNode(f"cell#{n}", n, "done", "done" if n % 2 else "pending") for n in range(1, 30)]
    assert " .. " not in graph_text(replace(STOP, graph=tuple(states)), 80).plain
    few = tuple(GraphNode(f"cell#{n}", n) for n in range(1, 8))
    assert " .. " not in graph_text(replace(STOP, graph=few), 120).plain


def test_the_copied_ledger_has_every_row_and_number() -> None:
    lines = [line.split("\t") for line in ledger_table(STOP).splitlines()]
    assert lines[0] == ["term", "detail", "state", "norm", "cosine", "W[2,0]", "note"]
    assert lines[3] == ["A2", "use #2", "value", "2.4075", "0.74", "-0.0864", "pulls up, cancels 89 %"]
    assert lines[4] == ["A1", "use #1", "pending", "", "", "", ""] and len(lines) == len(LEDGER) + 1
    odd = Row("term", "a\tb", "c\nd", norm="NaN")
    assert ledger_table(replace(STOP, ledger=(), update=(odd,))).splitlines()[1].split("\t")[3] == "NaN"


def test_matrix() -> None:
    window = Window("partial", (3, 3), PARTIAL, scale_vmax=1.59)
    rows = matrix_rows(Plane((3, 3)), window, (2, 0), 38, 8)
    assert text_of(rows).splitlines() == [
        "       0      1      2",
        "0  +.726  +.081  -.316",
        "1  +3e-5      · -1.253",
        "2  -.086   NaN!  +Inf!",
    ]
    marked = [segment.text for row in rows for segment in row if segment.style is not None and segment.style.underline]
    assert marked == ["-.086"]


def test_pooled_window_says_so() -> None:
    window = Window("weight", (512, 512), ((1.0, 2.0), (3.0, 4.0)), 0, 0, 256, 256, 4.0, 4.0)
    matrix = Matrix("weight", "weight", (512, 512), note="now")
    assert scale_text(matrix, window) == "±4.00  largest of 256x256  now"
    assert selected_cell(Plane(matrix.shape), window, (300, 3)) == (1, 0)
    assert text_of(matrix_rows(Plane(matrix.shape), window, (300, 3), 38, 8)).splitlines()[2].startswith("256")


@pytest.mark.parametrize(
    ("shape", "element", "values", "cell"),
    [((), (), ((1.0,),), (0, 0)), ((3,), (2,), ((1.0, 2.0, 3.0),), (0, 2)),
     ((2, 2, 2), (1, 1, 0), ((1.0,) * 4,) * 2, (1, 2)),
     ((0,), (), ((),), None), ((0, 3), (0, 0), (), None)],
)  # fmt: skip
def test_shapes(shape, element, values, cell) -> None:
    matrix, window = Matrix("weight", "w", shape), Window("weight", shape, values)
    assert selected_cell(Plane(matrix.shape), window, element) == cell
    assert text_of(matrix_rows(Plane(matrix.shape), window, element, 38, 8))


def test_source_keeps_line_in_view() -> None:
    lines = source_text(SOURCE, 3).plain.splitlines()
    assert len(lines) == 3 and lines[1] == "> 32 h32 = self.lin(h[32])"


def test_neighbours() -> None:
    assert neighbour((3, 3), (2, 0), "down") is None and neighbour((3, 3), (2, 0), "up") == (1, 0)
    assert neighbour((2, 2, 2), (0, 0, 1), "right") == (0, 1, 0)
    assert neighbour((), (), "up") is None and neighbour((4,), (3,), "left") == (2,)


def test_parameters() -> None:
    names = STOP.parameters
    assert next_parameter(names, "middle_linear.weight") == "middle_linear.bias"
    assert next_parameter(names, "input_linear.weight") is None
    assert next_parameter(names, "middle_linear.bias", True) == "input_linear.weight"


def test_clean() -> None:
    assert clean("a\x1b[31m\udcff\tb\n") == "a?[31m? b\n"


def test_a_zoomed_pane_starts_where_the_element_is_in_its_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    pane = MatrixPane()
    monkeypatch.setattr(MatrixPane, "room", lambda self: (6, 8))
    pane.matrix = Matrix("weight", "weight", (100, 40))
    starts = []
    for element in ((50, 20), (0, 0), (99, 39)):
        pane.element = element
        starts.append(pane.origin())
    assert starts == [(47, 16), (0, 0), (94, 32)]
