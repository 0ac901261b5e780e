"""The three forms of a report, and what the parent accepts."""

import csv
import io
import json

import pytest

from backpropdbg.errors import UsageError, WireError
from backpropdbg.report import show
from backpropdbg.report.read import Report, check_slug
from backpropdbg.report.rows import Facts, Found, Line, Row

PLAIN = Row(("a.weight",), (2, 3), 1, 1, 2, True, (1.5, None), None, 0.25, True, (), True, 1e-7, ())
WILD = Row(
    ("wte.weight", "head.weight"),
    (),
    2,
    2,
    3,
    False,
    ("NaN", "Infinity", 0.0),
    "-Infinity",
    "NaN",
    None,
    ("scaled by 0.5", "cleared"),
    False,
    0.0,
    ("tied", "not-finite"),
)
LINES = [
    Line(PLAIN, (), 0.9996, 2e-7),
    Line(
        WILD, (Found("tied", "one parameter under 2 names"), Found("not-finite", "first seen in the loss")), None, None
    ),
]


def written(form, lines=LINES, **settings):
    stream = io.StringIO()
    show.write(lines, form, stream, **settings)
    return stream.getvalue()


def strict(text):
    """JSON as the standard has it: without NaN."""

    def refuse(word):
        raise AssertionError(word)

    return json.loads(text, parse_constant=refuse)


def test_jsonl_is_one_object_a_line_with_the_keys_of_a_row():
    first, second = (strict(line) for line in written("jsonl").splitlines())
    assert list(first) == list(second) == list(Row.__struct_fields__)
    assert first["partial_norms"] == [1.5, None] and first["grad_norm_before"] is None and first["exact"] is True
    assert second["partial_norms"] == ["NaN", "Infinity", 0.0] and second["grad_norm_before"] == "-Infinity"
    assert second["names"] == ["wte.weight", "head.weight"] and second["shape"] == []
    assert second["labels"] == ["scaled by 0.5", "cleared"] and second["findings"] == ["tied", "not-finite"]


def test_csv_has_the_same_columns_and_tells_none_from_zero():
    head, *rows = csv.reader(io.StringIO(written("csv")))
    assert head == list(Row.__struct_fields__)
    first, second = (dict(zip(head, row, strict=True)) for row in rows)
    assert first["partial_norms"] == "1.5 null" and first["grad_norm_before"] == "" and first["exact"] == "true"
    assert first["shape"] == "2x3" and float(first["update_norm"]) == 1e-7
    assert second["partial_norms"] == "NaN Infinity 0.0" and second["exact"] == "" and second["shape"] == "scalar"
    assert second["names"] == "wte.weight = head.weight" and second["labels"] == "scaled by 0.5; cleared"
    assert second["findings"] == "tied not-finite" and second["weight_moved"] == "false"


def test_the_table_is_plain_text_where_it_is_piped():
    text = written("table")
    assert "\x1b" not in text and max(map(len, text.splitlines())) <= 120
    assert "a.weight  (2 x 3)" in text and "wte.weight = head.weight  (scalar)" in text
    (first,) = [" ".join(line.split()) for line in text.splitlines() if "not computed" in line]
    assert first == "1 2 1.5000 not computed over 99 % None 0.2500 yes 1.00e-07 2e-07"
    assert "3+" in text and "NaN Infinity 0" in text and "scaled by 0.5" in text
    assert "  ! tied: one parameter under 2 names" in text and "  ! not-finite: first seen in the loss" in text
    assert "2 parameters, 2 iterations\n  tied: wte.weight\n  not-finite: wte.weight\n" in text


def test_a_finding_is_told_once_with_its_iterations():
    found = (Found("cancels", "its 2 partials cancel 95 % of each other"),)
    rows = [Row(("w",), (1,), n, 1, 2, findings=("cancels",) if n < 3 else ()) for n in (1, 2, 3)]
    text = written("table", [Line(row, found if row.iteration < 3 else ()) for row in rows])
    assert text.count("its 2 partials") == 1 and "of each other (iteration 1, 2)" in text


def test_many_partials_are_counted_not_listed():
    row = Row(("w",), (1,), 1, 1, 10_000, partial_norms=tuple([1.0] * 10_000))
    text = " ".join(written("table", [Line(row)], width=160).split())
    assert "1 10000 1.0000 1.0000 1.0000 +9,997" in text
    assert len(strict(written("jsonl", [Line(row)]))["partial_norms"]) == 10_000


def test_names_are_text_not_markup():
    row = Row(("ws[1]", "[red]x[/red]", ":smile:"), None, 1)
    assert "ws[1] = [red]x[/red] = :smile:" in written("table", [Line(row)])


def test_an_empty_report_says_so():
    assert "No parameter was seen" in written("table", [])
    assert written("jsonl", []) == "" and written("csv", []).count("\n") == 1


def test_remarks_stand_below_the_table():
    text = written("table", remarks=["this went wrong"])
    assert text.endswith("\nthis went wrong\n")


@pytest.mark.parametrize("share,text", [(0.0, "0 %"), (0.001, "under 1 %"), (0.42, "42 %"), (1.0, "100 %")])
def test_a_share_is_never_0_or_100_where_it_is_not(share, text):
    assert f" {text} " in written("table", [Line(PLAIN, (), share)])


def test_the_parent_takes_batches_and_nothing_else():
    report = Report()
    body = {"facts": [{"row": {"names": ["w"], "shape": None, "iteration": 1}, "ran": True}], "notes": ["n"]}
    report.add(body)
    assert [line.row.findings for line in report.lines] == [("no-gradient:unused",)] and report.notes == ["n"]
    text = io.StringIO()
    report.write("table", text)
    assert text.getvalue().endswith("\nbackpropdbg did not record all: n\n")
    report.add({"facts": [{"row": {"names": ["w"], "shape": [2], "iteration": 2}, "received": True, "ran": True}]})
    assert [line.row.findings for line in report.lines] == [(), ("no-optimizer",)]
    for bad in (None, [], {"facts": 3}, {"facts": [{"row": {}}]}, {"facts": [{"row": {"names": 1}}]}):
        with pytest.raises(WireError):
            report.add(bad)
    assert len(report.lines) == 2


def test_an_unknown_finding_is_refused_with_all_that_there_are():
    assert check_slug("no-gradient:frozen") == "no-gradient:frozen"
    with pytest.raises(UsageError, match=r"'no-grad' is no finding; there are: no-optimizer, no-gradient, .*not-exact"):
        check_slug("no-grad")


def test_facts_are_judged_over_all_iterations_of_a_parameter():
    report = Report()
    report._facts = [
        Facts(Row(("a",), (1,), 1), ran=True),
        Facts(Row(("b",), (1,), 1), ran=True, received=True, optimized=True),
        Facts(Row(("a",), (1,), 2), ran=True, received=True, optimized=True),
        Facts(Row(("b",), (1,), 2, update_norm=1.0), ran=True, weight_norm=4.0),
    ]
    assert [(x.row.names[0], x.row.iteration, x.row.findings) for x in report.lines] == [
        ("a", 1, ()),
        ("a", 2, ()),
        ("b", 1, ()),
        ("b", 2, ()),
    ]
    assert report.lines[3].relative == 0.25 and report.lines[0].relative is None
