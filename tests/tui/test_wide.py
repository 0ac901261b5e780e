"""Wide characters: names, paths and output of the program in Chinese or Japanese keep every column in its place."""

import pytest
from fake_session import GRAPH, SOURCE, STOP
from msgspec.structs import replace
from rich.cells import cell_len
from rich.text import Text
from test_app import opened, screen, until

from backpropdbg.situation import Row
from backpropdbg.tui.graph import graph_text, part
from backpropdbg.tui.ledger import ledger_lines
from backpropdbg.wire.session import ProgramOutput

WIDE = replace(
    STOP,
    program="動的ネット",
    where="中間層#2 of 3",
    focus="中間層.weight",
    parameters=("入力層.weight", "中間層.weight", "中間層.bias"),
    graph=tuple(replace(node, label=node.label.replace("middle", "中間層")) for node in GRAPH),
    ledger=tuple(replace(row, detail=row.detail.replace("use", "使用")) for row in STOP.ledger),
    source=replace(SOURCE, path="/家/動的ネット.py", lines=tuple(f"    h{n} = 層(h)  # 注釈" for n in range(7))),
    explanation=("使用#2 の勾配が届いた。",),
)


@pytest.mark.parametrize("text", ["ab漢字cd", "漢字", "plain", "ｶﾅ漢x"])
def test_a_part_is_as_wide_as_it_should_be(text: str) -> None:
    whole = cell_len(text)
    for start in range(whole):
        for width in range(1, whole - start + 1):
            shown = part(Text(text), start, width)
            assert shown.cell_len == width
            assert all(sign in text for sign in shown.plain.replace(" ", ""))
    assert part(Text(text), 0, whole).plain == text


@pytest.mark.parametrize("width", [40, 41, 60, 61, 120])
def test_the_graph_is_never_wider_than_its_pane(width: int) -> None:
    assert max(cell_len(line) for line in graph_text(WIDE, width).plain.splitlines()) <= width


def test_the_columns_of_the_ledger_are_one_below_the_other() -> None:
    rows = [row for row in WIDE.ledger if row.state == "value"]
    lines = [line.plain for line in ledger_lines(replace(WIDE, ledger=tuple(rows)), ruled=False)[0]]
    ends = {cell_len(line[: line.index(f"{row.norm:.4f}")]) for line, row in zip(lines, rows, strict=True)}
    assert len(ends) == 1
    long = replace(WIDE, ledger=(Row("partial", "A1", "とても長い名前のモジュール" * 3, norm=1.5), *rows))
    assert cell_len(ledger_lines(long, ruled=False)[0][0].plain.partition("1.5000")[0]) <= 40


@pytest.mark.parametrize("size", [(120, 36), (80, 24), (101, 31)])
async def test_every_line_of_the_screen_is_as_wide_as_the_screen(size: tuple[int, int]) -> None:
    async with opened(size, WIDE) as (app, session, pilot):
        session.say(ProgramOutput("stdout", "損失 " + "漢字" * 80 + "\n"))
        await until(pilot, lambda: "使用#2 の勾配が届いた" in screen(app))
        for key in ("1", "2", "3", "enter", "Z", "T"):
            await pilot.press(key)
            await pilot.pause(0.05)
            assert {cell_len(line) for line in screen(app).splitlines()} == {size[0]}
