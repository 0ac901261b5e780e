from msgspec.structs import replace

from backpropdbg.console.render import render_ledger, render_number, render_stop
from backpropdbg.situation import Row, Situation

BASE = Situation(
    4, 3, "backward", "BackwardUse", "middle_linear#2 of 3", "DynamicNet", 41.87, 0, "SGD", "middle_linear.weight",
    (5, 5), (0, 1), (), (), (), (), "running sum", (), None, ("Use #2's gradient arrived.", "Cancelled."),
)  # fmt: skip


def test_numbers() -> None:
    given = [0.4213, -0.0185, 1e-9, -1e-9, 0.0, 123456.0, "NaN", "Infinity", "-Infinity", None]
    assert [render_number(x) for x in given] == [
        *("+0.4213", "-0.0185", "+1.00e-09", "-1.00e-09", "0", "+1.23e+05", "NaN!", "+Inf!", "-Inf!", ""),
    ]


def test_stop() -> None:
    assert render_stop(BASE) == ("iteration 3  BACKWARD  middle_linear#2 of 3\nUse #2's gradient arrived.\nCancelled.")


def test_ledger_tells_four_states_apart() -> None:
    rows = (
        Row("carried", "carried in", state="none"),
        Row("partial", "A3", "use #3", norm=0.4213, cosine=0.88, element=0.021, note="pulls it down"),
        Row("partial", "A2", "use #2", norm="NaN", cosine="NaN", element=1e-9, note="pulls up", here=True),
        Row("partial", "A1", "use #1", state="pending"),
        Row("partial", "A0", "use #0", state="not computed"),
        Row("partial", "A9", "use #9", state="not kept"),
        Row("grad", ".grad", state="none", note="AccumulateGrad has not run yet"),
    )
    text = render_ledger(replace(BASE, ledger=rows))
    assert text.isascii()
    assert text.splitlines() == [
        "ledger: middle_linear.weight  (5 x 5)",
        "term                        norm  cos(run)     W[0,1]",
        "carried in                  None",
        "A3          use #3        0.4213     +0.88    +0.0210  pulls it down",
        "A2          use #2          NaN!      NaN!  +1.00e-09  pulls up *",
        "A1          use #1       pending",
        "A0          use #0  not computed",
        "A9          use #9      not kept",
        ".grad                       None                       (AccumulateGrad has not run yet)",
    ]
    final = render_ledger(
        replace(BASE, ledger=rows, update=(Row("term", "momentum", norm=1.0),), cosine_to="final sum")
    )
    assert "cos(final)" in final and "momentum" in final
