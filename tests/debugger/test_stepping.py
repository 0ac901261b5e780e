"""Where each command stops and what it prints there: transcripts of the demo, with the numbers of plain torch."""

import ast
import inspect
import math
import re
from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any, NamedTuple

import oracle
import pytest
import torch
from driving import debugged, seed
from torch import Tensor

from backpropdbg.debugger.core import Quit
from backpropdbg.demo import dynamic_net, training
from backpropdbg.demo.training import Settings, train
from backpropdbg.events import Accumulated, BackwardUse, ForwardUse
from backpropdbg.probe import frames

# Commands run from here are no frames of the program under test, as in the real child process.
frames._files[__file__] = None

SEED = 5  # no dead unit; the partials have signs and sizes of every kind
WEIGHT = "middle_linear.weight"
TURNS_OF_THREE_USES = [
    ("ForwardUse", 1),
    ("ForwardUse", 2),
    ("ForwardUse", 3),
    ("BackwardUse", 3),
    ("BackwardUse", 2),
    ("BackwardUse", 1),
    ("Accumulated", None),
    ("StepStarted", None),
    ("StepFinished", None),
]


class Place(NamedTuple):
    """Which event of the program a stop is at."""

    event: str
    name: str = ""
    number: int = 0
    iteration: int = 1


def place_of(event: Any) -> Place:
    kind = type(event).__name__
    match event:
        case ForwardUse():
            return Place(kind, event.module, event.call or event.numbers[0], event.iteration)
        case BackwardUse(use=use):
            return Place(kind, use.parameter, use.number, event.iteration)
        case Accumulated():
            return Place(kind, event.parameter, 0, event.iteration)
    return Place(kind, "", 0, event.iteration)


def play(
    *lines: str,
    focus: str = WEIGHT,
    program: Callable[[], object] | None = None,
    look: Callable[[Any], None] = lambda debugger: None,
    **settings: Any,
) -> Any:
    """Debug the demo (two iterations of three uses) or another program with these commands, then continue to its end.

    Returns `.places` and `.situations` of all stops, the last one being the end; `.uses`, the name `use` at each; and
    `.said`, the result of each command.
    """
    waiting = list(lines)
    seen = SimpleNamespace(places=[], situations=[], uses=[], said=[])

    def at_stop(situation: Any, debugger: Any) -> str:
        seen.places.append(place_of(debugger.stop.event))
        seen.situations.append(situation)
        seen.uses.append(debugger.evaluate("use"))
        look(debugger)
        while waiting:
            seen.said.append(debugger.execute(waiting.pop(0)))
            if seen.said[-1].moves:
                return str(seen.said[-1].command)
        return "continue"

    with debugged(at_stop, focus=focus) as watched:
        if program is not None:
            program()
        else:
            train(Settings(**{"seed": SEED, "uses": 3, "iterations": 2} | settings))
        watched.probe.remove()
        watched.debugger.finish()
    seen.debugger, seen.trace = watched.debugger, watched.trace
    return seen


def stops(*lines: str, **how: Any) -> list[Place]:
    """The stops after the first one and before the end."""
    return list(play(*lines, **how).places[1:-1])


def ask(*lines: str, **how: Any) -> str:
    """What the last of these commands printed; all must succeed."""
    said = play(*lines, **how).said
    assert len(said) == len(lines) and all(result.ok for result in said), said
    return str(said[-1].text)


def refuse(*lines: str, **how: Any) -> str:
    """The error of the last of these commands; the ones before it must succeed."""
    said = play(*lines, **how).said
    assert len(said) == len(lines) and [r.ok for r in said] == [True] * (len(lines) - 1) + [False], said
    return str(said[-1].text)


class Plain(NamedTuple):
    """One iteration of the same training, without any debugger."""

    loss: float
    partials: oracle.Partials
    grads: dict[str, Tensor | None]
    before: oracle.State
    after: oracle.State
    buffers: dict[str, Tensor]


@cache
def plain(uses: int = 3, keep: bool = False) -> list[Plain]:
    seed(SEED)
    x, y = torch.randn(16, 4), torch.randn(16, 3)
    model = oracle.TutorialNet(4, 5, 3, uses)
    stepper = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    found = []
    for _ in range(2):
        before = oracle.state_of(model)
        partials = oracle.untied_partials(oracle.module_net, before, x, y, uses)
        buffers = {n: stepper.state[p]["momentum_buffer"].clone() for n, p in model.named_parameters() if stepper.state}
        loss = oracle.squares(model(x), y)
        stepper.zero_grad(set_to_none=not keep)
        loss.backward()
        grads = {n: None if p.grad is None else p.grad.clone() for n, p in model.named_parameters()}
        stepper.step()
        found.append(Plain(loss.item(), partials, grads, before, oracle.state_of(model), buffers))
    return found


def near(text: str, value: float) -> bool:
    """True where a printed number is this one, to its four digits."""
    return math.isclose(float(text), value, rel_tol=6e-4, abs_tol=1e-12)


def cosine(a: Tensor, b: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a.double().flatten(), b.double().flatten(), dim=0))


# -- moving --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("focus", "net"), [(WEIGHT, "module"), ("middle_linear.bias", "module"), ("e", "parameter")], ids=str
)
def test_next_stops_at_each_use_then_at_the_sum_then_around_the_update(focus, net):
    seen = play(*["n"] * 18, focus=focus, net=net)
    turns = [(p.event, use) for p, use in zip(seen.places, seen.uses, strict=True)]
    assert turns[0][0] == "ForwardUse" and turns[-1] == ("ProgramFinished", None)
    first = 0 if seen.situations[0].where == f"{focus}#1" else 1
    assert turns[first:-1] == TURNS_OF_THREE_USES * 2
    assert [p.iteration for p in seen.places[first:-1]] == [1] * 9 + [2] * 9


def test_next_in_an_iteration_without_a_use_stops_around_the_update():
    assert stops("n", "n", "n", uses=0) == [
        Place("StepStarted"),
        Place("StepFinished"),
        Place("StepStarted", iteration=2),
    ]


def test_next_follows_the_focus():
    assert stops("focus output_linear.bias", "n", "n", "n", "focus input_linear.weight", "n", "n")[2:] == [
        Place("Accumulated", "output_linear.bias"),
        Place("BackwardUse", "input_linear.weight", 1),
        Place("Accumulated", "input_linear.weight"),
    ]


def test_step_stops_at_every_event_of_every_parameter_and_of_the_loop():
    """Weight and bias both, and in their own order: bias#2, weight#2, bias#1, ACC bias, weight#1, ACC weight."""
    middle = [
        Place("BackwardUse", "middle_linear.bias", 2),
        Place("BackwardUse", "middle_linear.weight", 2),
        Place("BackwardUse", "middle_linear.bias", 1),
        Place("Accumulated", "middle_linear.bias"),
        Place("BackwardUse", "middle_linear.weight", 1),
        Place("Accumulated", "middle_linear.weight"),
    ]

    def once(layer: str) -> list[Place]:
        kinds = [("BackwardUse", 1), ("Accumulated", 0)]
        return [Place(event, f"{layer}.{name}", n) for name in ("bias", "weight") for event, n in kinds]

    one = [
        Place("ForwardUse", "input_linear", 1),
        Place("ForwardUse", "middle_linear", 1),
        Place("ForwardUse", "middle_linear", 2),
        Place("ForwardUse", "output_linear", 1),
        Place("LossComputed"),
        Place("GradCleared"),
        Place("BackwardStarted"),
        *once("output_linear"),
        *middle,
        *once("input_linear"),
        Place("BackwardFinished"),
        Place("StepStarted"),
        Place("StepFinished"),
    ]
    two = [p._replace(iteration=2) for p in one]
    assert play(*["s"] * 99, uses=2).places == [*one, *two, Place("ProgramFinished", iteration=2)]


@pytest.mark.parametrize("word", ["f", "r", "finish"])
def test_finish_runs_to_the_end_of_each_phase(word):
    seen = play(*[word] * 6)
    ends = ["BackwardStarted", "BackwardFinished", "StepFinished"]
    assert [p.event for p in seen.places[1:-1]] == ends * 2
    assert [s.phase for s in seen.situations] == ["forward", *["backward", "backward", "update"] * 2, "finished"]


@pytest.mark.parametrize("word", ["c", "cont", "continue"])
def test_continue_runs_to_the_end_where_nothing_stops_it(word):
    seen = play(word)
    assert seen.places == [Place("ForwardUse", "input_linear", 1), Place("ProgramFinished", iteration=2)]
    assert [s.reason for s in seen.situations] == ["entry", "finished"]


USE_3 = (("ForwardUse", "middle_linear"), ("BackwardUse", WEIGHT))
LOCATIONS = {
    "forward": Place("ForwardUse", "middle_linear", 1),
    "forward output_linear": Place("ForwardUse", "output_linear", 1),
    "forward middle_linear#2": Place("ForwardUse", "middle_linear", 2),
    f"forward {WEIGHT}#3": Place("ForwardUse", "middle_linear", 3),
    "backward": Place("BackwardUse", "output_linear.bias", 1),
    "backward middle_linear": Place("BackwardUse", WEIGHT, 3),  # the focused one of the module's parameters
    "backward middle_linear#2": Place("BackwardUse", WEIGHT, 2),
    "backward input_linear": Place("BackwardUse", "input_linear.bias", 1),
    f"backward {WEIGHT}": Place("BackwardUse", WEIGHT, 3),
    f"backward {WEIGHT}#1": Place("BackwardUse", WEIGHT, 1),
    "accumulate": Place("Accumulated", "output_linear.bias"),
    "accumulate middle_linear": Place("Accumulated", "middle_linear.bias"),
    f"accumulate {WEIGHT}": Place("Accumulated", WEIGHT),
    "update": Place("StepFinished"),
    "update middle_linear": Place("StepFinished"),
    f"update {WEIGHT}": Place("StepFinished"),
    "middle_linear": Place("ForwardUse", "middle_linear", 1),
    "middle_linear#3": Place("ForwardUse", "middle_linear", 3),
    f"{WEIGHT}#2": Place("ForwardUse", "middle_linear", 2),
    "output_linear.bias": Place("ForwardUse", "output_linear", 1),
    "backward *.weight": Place("BackwardUse", "output_linear.weight", 1),
    "backward mid*.w?ight#2": Place("BackwardUse", WEIGHT, 2),
    "accumulate [im]*_linear.bias": Place("Accumulated", "middle_linear.bias"),
    "*#3": Place("ForwardUse", "middle_linear", 3),
    "iteration 2": Place("ForwardUse", "input_linear", 1, 2),
}


@pytest.mark.parametrize("location", LOCATIONS)
def test_until_runs_to_its_location(location):
    seen = play(f"until {location}")
    assert seen.places[1:-1] == [LOCATIONS[location]]
    assert seen.situations[1].reason == f"until {location}"


@pytest.mark.parametrize("location", ["backward middle_linear", "middle_linear#3", f"forward {WEIGHT}", "update"])
def test_until_again_runs_to_the_next_such_place(location):
    """Never the one it stands at; after the last one to the end."""
    every = [p for p in play(*["s"] * 99).places if place_matches(location, p)]
    assert len(every) >= 2 and len(set(every)) == len(every)
    assert stops(*[f"until {location}"] * 50) == every


def place_matches(location: str, p: Place) -> bool:
    return {
        "backward middle_linear": p.event == "BackwardUse" and p.name == WEIGHT,
        "middle_linear#3": p.event in ("ForwardUse", "BackwardUse")
        and p.name in ("middle_linear", WEIGHT)
        and p.number == 3,
        f"forward {WEIGHT}": p.event == "ForwardUse" and p.name == "middle_linear",
        "update": p.event == "StepFinished",
    }[location]


def not_finite(kind: str) -> None:
    """Three iterations of one layer; in the second one something is not finite."""
    layer, criterion = torch.nn.Linear(2, 1), torch.nn.MSELoss()
    stepper = torch.optim.SGD(layer.parameters(), lr=0.0)
    for t in range(1, 4):
        out = layer(torch.ones(3, 2))
        if (kind, t) == ("partial", 2):
            out.register_hook(lambda g: g * math.nan)
        loss = criterion(out, torch.full((3, 1), math.inf if (kind, t) == ("loss", 2) else 0.5))
        stepper.zero_grad()
        loss.backward()
        stepper.step()


@pytest.mark.parametrize(
    ("kind", "first"),
    [
        ("nothing", []),
        ("loss", [Place("LossComputed", iteration=2)]),
        ("partial", [Place("BackwardUse", "bias", 1, 2)]),
    ],
)
def test_until_nan_stops_at_the_first_number_that_is_not_finite(kind, first):
    assert stops("until nan", program=lambda: not_finite(kind), focus="weight") == first


def test_after_the_end_nothing_moves_but_the_past_can_be_looked_at():
    seen = play("c", "step", "until update", f"print {WEIGHT.replace('.', '_')} is None", "print weight.tolist()")
    errors = [r.text for r in seen.said if not r.ok]
    assert errors[:2] == ["the program has ended; restart runs it again"] * 2
    assert oracle.bits(torch.tensor(ast.literal_eval(seen.said[-1].text)), plain()[1].after[WEIGHT])
    assert seen.situations[-1].explanation == ("The program ran to its end.",)


def test_an_interrupt_stops_at_the_next_event():
    interrupted = []

    def interrupt(debugger):
        if not interrupted:
            interrupted.append(True)
            debugger.pause()

    seen = play("c", "c", look=interrupt)
    assert seen.places[1:-1] == [Place("ForwardUse", "middle_linear", 1)]
    assert seen.situations[1].reason == "interrupted"


@pytest.mark.parametrize("location", ["forward middle_linear#2", f"backward {WEIGHT}#1", "update"])
def test_quitting_ends_the_program_where_it_stands(location):
    """It crosses torch and `except Exception`."""
    seen = []

    def at_stop(situation, debugger):
        seen.append(place_of(debugger.stop.event))
        if len(seen) == 2:
            debugger.quit()
        return f"until {location}"

    with pytest.raises(Quit), debugged(at_stop, focus=WEIGHT):
        train(Settings(seed=SEED, uses=3))
    assert seen[1:] == [LOCATIONS[location]]


def test_while_the_program_runs_there_is_no_stop_to_look_at():
    """Also where a breakpoint has just looked at an event and found its condition false."""
    asked: list[Any] = []

    def at_stop(situation, debugger):
        assert debugger.execute("break backward weight if False").ok
        return "continue"

    with debugged(at_stop) as watched:
        layer = torch.nn.Linear(2, 1)
        layer(torch.ones(3, 2)).sum().backward()
        asked = [watched.debugger.situation(), watched.debugger.execute("print 1")]
    assert watched.stops == 1
    assert asked[0] is None
    assert not asked[1].ok and asked[1].text == "the program is running; interrupt it first"


# -- breakpoints ---------------------------------------------------------------------------------

ARRIVALS = [Place("BackwardUse", WEIGHT, n, t) for t in (1, 2) for n in (3, 2, 1)]


@pytest.mark.parametrize("word", ["b", "break"])
def test_break_stops_each_time(word):
    seen = play(f"{word} backward {WEIGHT}", "c")
    assert seen.said[0].text == f"breakpoint 1: backward {WEIGHT}"
    assert seen.places[1:-1] == ARRIVALS
    assert [s.reason for s in seen.situations[1:-1]] == ["breakpoint 1"] * 6


def test_tbreak_stops_once_and_is_gone():
    seen = play(f"tbreak backward {WEIGHT}#2", "c", "info breaks", "c")
    assert seen.said[0].text == f"temporary breakpoint 1: backward {WEIGHT}#2"
    assert seen.places[1:-1] == [ARRIVALS[1]]
    assert seen.said[2].text == "no breakpoints"


@pytest.mark.parametrize(
    ("location", "place"),
    [("iteration 2", Place("ForwardUse", "Linear", 1, 2)), ("nan", Place("LossComputed", iteration=2))],
)
def test_iterations_and_nan_are_places_to_break_at(location, place):
    seen = play(f"tbreak {location}", "c", program=lambda: not_finite("loss"), focus="weight")
    assert seen.places[1:-1] == [place]


CONDITIONS = {
    "iteration == 2": lambda n, t, partial: t == 2,
    "use == 2": lambda n, t, partial: n == 2,
    "use < uses and iteration < 2": lambda n, t, partial: n < 3 and t < 2,
    "partial[0, 0] > 0": lambda n, t, partial: float(partial[0, 0]) > 0,
    "partial.norm() > 5": lambda n, t, partial: float(partial.norm()) > 5,
    "grad is None": lambda n, t, partial: True,
    "phase == 'forward'": lambda n, t, partial: False,
    "0": lambda n, t, partial: False,
}


@pytest.mark.parametrize("condition", CONDITIONS)
def test_break_if_stops_where_the_condition_holds(condition):
    holds = CONDITIONS[condition]
    truth = [
        p for p in ARRIVALS if holds(p.number, p.iteration, plain()[p.iteration - 1].partials[WEIGHT][p.number - 1])
    ]
    seen = play(f"break backward {WEIGHT} if {condition}", "c")
    assert seen.places[1:-1] == truth
    assert seen.said[0].text == f"breakpoint 1: backward {WEIGHT} if {condition}"


def test_the_conditions_above_tell_the_arrivals_apart():
    truths = [plain()[p.iteration - 1].partials[WEIGHT][p.number - 1] for p in ARRIVALS]
    assert 0 < sum(float(t[0, 0]) > 0 for t in truths) < 6
    assert 0 < sum(float(t.norm()) > 5 for t in truths) < 6


def test_tbreak_if_waits_for_its_condition():
    assert stops(f"tbreak backward {WEIGHT} if use == 1", "c", "c") == [ARRIVALS[2]]


def test_a_condition_can_be_changed_and_taken_away():
    seen = play(f"b backward {WEIGHT} if use == 2", "condition 1 use == 3", "c", "condition 1", "c")
    assert seen.places[1:-1] == [ARRIVALS[0], *ARRIVALS[1:]]
    assert seen.said[1].text == f"breakpoint 1: backward {WEIGHT} if use == 3"
    assert seen.said[3].text == f"breakpoint 1: backward {WEIGHT} hit 1 time"


def test_ignore_passes_a_number_of_times_from_now_on():
    seen = play(f"b backward {WEIGHT}", "ignore 1 2", "c", "info breaks", "ignore 1 1", "c", "info breaks")
    assert seen.said[1].text == "breakpoint 1 will be passed 2 times"
    assert seen.places[1:-1] == [ARRIVALS[2], *ARRIVALS[4:]]
    assert [seen.said[i].text.rpartition("hit ")[2] for i in (3, 6)] == ["3 times", "5 times"]


def test_only_a_condition_that_holds_is_a_hit():
    seen = play(f"b backward {WEIGHT} if use == 2", "ignore 1 1", "c", "info breaks")
    assert seen.places[1:-1] == [ARRIVALS[4]]
    assert seen.said[3].text == f"breakpoint 1: backward {WEIGHT} if use == 2 hit 2 times"


def test_disable_keeps_a_breakpoint_and_enable_brings_it_back():
    seen = play(
        f"b backward {WEIGHT}#2", "disable 1", "info breaks", "until iteration 2", "enable 1", "info breaks", "c"
    )
    assert seen.places[2:-1] == [ARRIVALS[4]]
    assert [seen.said[i].text for i in (2, 5)] == [
        f"breakpoint 1: backward {WEIGHT}#2 (disabled)",
        f"breakpoint 1: backward {WEIGHT}#2",
    ]


def test_clear_deletes_one_or_all_and_numbers_are_not_used_again():
    seen = play(
        f"b backward {WEIGHT}", "b update", "clear 1", "info breaks", "b accumulate", "clear", "info breaks", "c"
    )
    assert [r.text for r in seen.said[:7]] == [
        f"breakpoint 1: backward {WEIGHT}",
        "breakpoint 2: update",
        "breakpoint 1 deleted",
        "breakpoint 2: update",
        "breakpoint 3: accumulate",
        "2 breakpoints deleted",
        "no breakpoints",
    ]
    assert seen.places[1:-1] == []


def test_breakpoints_in_one_place_are_all_hit():
    """A hit is that the place was reached and the condition held, whoever else stops there."""
    seen = play(f"b backward {WEIGHT}#2", f"tbreak backward {WEIGHT}#2", "c", "info breaks")
    assert seen.places[1] == ARRIVALS[1]
    assert seen.said[3].text == f"breakpoint 1: backward {WEIGHT}#2 hit 1 time"


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("1 / 0", ["1 / 0: ZeroDivisionError: division by zero"]),
        ("nonsense > 1", ["nonsense > 1: NameError", "'nonsense'"]),
        ("grad.norm() > 1", ["grad.norm() > 1: grad is None at this stop"]),
        ("partial > 0", ["partial > 0", "neither true nor false"]),
    ],
)
@pytest.mark.parametrize("word", ["break", "tbreak"])
def test_a_condition_that_fails_stops_there_and_says_so_once(word, condition, words):
    seen = play(f"{word} backward {WEIGHT}#2 if {condition}", "c", "s")
    assert seen.places[1] == ARRIVALS[1]
    said = seen.situations[1].explanation[0]
    assert said.startswith("breakpoint 1, condition ") and "\n" not in said
    assert all(w in said for w in words), said
    assert "Use #2's gradient arrived" in seen.situations[1].explanation[1]
    assert not any("condition" in line for line in seen.situations[2].explanation)
    assert seen.situations[1].reason == "breakpoint 1"


# -- looking -------------------------------------------------------------------------------------

AT_USE_2 = f"until backward {WEIGHT}#2"
AT_GRAD = f"until accumulate {WEIGHT}"


@pytest.mark.parametrize(
    ("until", "expression", "truth"),
    [
        (AT_USE_2, "partial", lambda now: now.partials[WEIGHT][1]),
        (AT_USE_2, "running", lambda now: oracle.arrival_sum(now.partials[WEIGHT][1:], None)),
        (AT_USE_2, "weight", lambda now: now.before[WEIGHT]),
        (AT_GRAD, "grad", lambda now: now.grads[WEIGHT]),
        (AT_GRAD, "running", lambda now: now.grads[WEIGHT]),
        ("until update", "before", lambda now: now.before[WEIGHT]),
        ("until update", "after", lambda now: now.after[WEIGHT]),
        ("until update", "after - before", lambda now: now.after[WEIGHT] - now.before[WEIGHT]),
        ("until update", "model.middle_linear.weight", lambda now: now.after[WEIGHT]),
        (
            "until update",
            "optimizer.state[model.middle_linear.weight]['momentum_buffer']",
            lambda now: now.grads[WEIGHT],
        ),
    ],
)
@pytest.mark.parametrize("word", ["p", "print"])
def test_print_shows_the_numbers_of_plain_torch(word, until, expression, truth):
    shown = ask(until, f"{word} ({expression}).tolist()")
    assert oracle.bits(torch.tensor(ast.literal_eval(shown)), truth(plain()[0]))
    assert ask(until, f"{word} {expression}").startswith(("tensor([[", "Parameter containing:\ntensor([["))


@pytest.mark.parametrize(
    ("expression", "kind"),
    [
        ("partial", "Tensor [5, 5] torch.float32"),
        ("partial[0].double()", "Tensor [5] torch.float64"),
        ("loss", "Tensor [] torch.float32"),
        ("grad", "NoneType"),
        ("use", "int"),
        ("phase", "str"),
        ("partial.norm().item()", "float"),
        ("model", "DynamicNet"),
    ],
)
def test_whatis_names_type_shape_and_dtype(expression, kind):
    assert ask(AT_USE_2, f"whatis {expression}") == kind


@pytest.mark.parametrize(
    "text", ["use == 2", "(use, uses) == (2, 3)", "grad is None", "partial.norm() > 0", "1 < 2 < 3"]
)
def test_expect_is_silent_where_it_holds(text):
    assert ask(AT_USE_2, f"expect {text}") == ""


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("uses == 7", "expected uses == 7: uses is 3"),
        ("use > uses", "expected use > uses: use is 2, uses is 3"),
        ("grad is not None", "expected grad is not None: grad is None"),
        ("use + 1 == uses - 1", "expected use + 1 == uses - 1: use + 1 is 3, uses - 1 is 2"),
        ("loss is None", f"expected loss is None: loss is {torch.tensor(plain()[0].loss)!r}"),
        ("False", "expected False: it is False"),
        ("use == 2 and uses == 2", "expected use == 2 and uses == 2: it is False"),
        ("1 < use < 2", "expected 1 < use < 2: it is False"),
    ],
)
def test_expect_shows_both_sides_where_it_fails(text, error):
    assert refuse(AT_USE_2, f"expect {text}") == error


@pytest.mark.parametrize("text", ["partial is None", "torch.equal(partial, running)", "(partial == running).all()"])
def test_what_expect_shows_of_a_matrix_stays_on_one_line(text):
    error = refuse(AT_USE_2, f"expect {text}")
    assert error.startswith(f"expected {text}: ") and "\n" not in error


def test_info_says_where_we_are():
    text = ask(AT_USE_2, "info")
    assert text.startswith("iteration 1, backward, middle_linear#2 of 3, loss ")
    assert near(re.search(r"loss ([^,]+),", text)[1], plain()[0].loss)
    assert f"focus {WEIGHT} [5, 5]" in text
    assert ask("until update", "info").endswith("SGD lr=0.001 momentum=0.9")


def line_of(module: Any, text: str) -> int:
    return 1 + next(i for i, line in enumerate(inspect.getsource(module).splitlines()) if text in line)


def test_info_uses_names_call_node_and_line_of_each_use():
    line = line_of(dynamic_net, "self.middle_linear(h_relu)")
    node = torch.nn.Linear(2, 2)(torch.ones(1, 2)).grad_fn.next_functions[2][0].name()
    assert ask(AT_USE_2, "info uses").splitlines() == [
        f"use #{n}  middle_linear#{n}  {node}  dynamic_net.py:{line}" for n in (1, 2, 3)
    ]
    assert ask("until forward middle_linear#2", "info uses").startswith(f"{WEIGHT}: 2 uses so far")
    assert ask("f", "info uses", uses=0) == f"{WEIGHT}: unused in this iteration"


def test_info_weights_and_grad_show_the_tensors():
    assert ask(AT_USE_2, "info weights") == repr(plain()[0].before[WEIGHT])
    assert ask(AT_USE_2, "info grad") == "None"
    assert ask(AT_GRAD, "info grad") == repr(plain()[0].grads[WEIGHT])
    assert ask("until update", "info weights") == repr(plain()[0].after[WEIGHT])


def test_info_optimizer_and_params():
    assert ask("until update", "info optimizer").splitlines()[:2] == [
        "SGD lr=0.001 momentum=0.9",
        f"{WEIGHT}, what the step of iteration 1 read:",
    ]
    names = [f"{layer}_linear.{name}" for layer in ("input", "middle", "output") for name in ("weight", "bias")]
    lines = ask("info params").splitlines()
    assert [line.split()[0] for line in lines] == ["parameter", *(n if n != WEIGHT else "*" for n in names)]


@pytest.mark.parametrize("command", ["ledger", "info ledger"])
@pytest.mark.parametrize("element", [(0, 0), (3, 1)])
def test_the_ledger_prints_each_partial_with_norm_cosine_and_element(command, element):
    text = ask(AT_USE_2, f"element {element[0]},{element[1]}", command)
    truth = plain()[0].partials[WEIGHT]
    running = truth[2] + truth[1]
    for row, value in {"A3  use #3": truth[2], "A2  use #2": truth[1], "running sum": running}.items():
        mark = ">" if row.startswith("A2") else " "
        numbers = re.search(rf"^{mark} {row}\s+(\S+)\s+([+-]\S+)\s+([+-]\S+)", text, re.MULTILINE)
        assert numbers is not None, text
        assert near(numbers[1], float(value.double().norm()))
        assert float(numbers[2]) == pytest.approx(cosine(value, running), abs=0.0051)
        assert near(numbers[3], float(value[element]))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[0] == WEIGHT
    assert f"W[{element[0]},{element[1]}]" in lines[1]
    assert "carried in None" in lines and "A1 use #1 pending" in lines
    assert ".grad None AccumulateGrad has not run" in lines


def test_the_ledger_grows_the_terms_of_the_update():
    text = ask("until update", "until update", "ledger")
    now = plain()[1]
    terms = oracle.sgd_terms(now.before[WEIGHT], now.grads[WEIGHT], now.buffers[WEIGHT], lr=1e-3, momentum=0.9)
    change = now.after[WEIGHT].double() - now.before[WEIGHT].double()
    rows = {"before": now.before[WEIGHT], **terms, "difference": change, "after": now.after[WEIGHT]}
    for row, value in rows.items():
        numbers = re.search(rf"^[ >] {row}\s+(\S+)\s+([+-]\S+)\s+(\S+)", text, re.MULTILINE)
        assert numbers is not None, text
        assert near(numbers[1], float(value.double().norm()))
        assert near(numbers[3], float(value[0, 0]))
    assert re.search(r"^  \.grad .* = running sum, bit for bit$", text, re.MULTILINE)


def test_graph_shows_the_unrolled_calls_and_where_we_are():
    sizes = [f"{float(p.double().norm()):.4g}" for p in plain()[0].partials[WEIGHT]]
    assert ask(AT_USE_2, "graph") == (
        "x -> input_linear#1 -> middle_linear#1 A1 pending -> "
        f"middle_linear#2* A2 {sizes[1]} -> middle_linear#3 A3 {sizes[2]} -> output_linear#1 -> loss"
    )
    assert ask("until forward middle_linear#2", "graph") == (
        "x -> input_linear#1 -> middle_linear#1 A1 pending -> middle_linear#2* A2 pending -> ..."
    )


def test_why_tells_the_last_update_with_its_terms():
    text = ask("until update", "until update", "why")
    now = plain()[1]
    terms = oracle.sgd_terms(now.before[WEIGHT], now.grads[WEIGHT], now.buffers[WEIGHT], lr=1e-3, momentum=0.9)
    said = re.match(rf"step\(\) moved {WEIGHT} by (\S+)\. Terms by norm: gradient (\S+), momentum (\S+)\.\n", text)
    assert said is not None, text
    moved = float((now.after[WEIGHT].double() - now.before[WEIGHT].double()).norm())
    for shown, value in zip(said.groups(), [moved, *(float(t.norm()) for t in terms.values())], strict=True):
        assert float(shown) == pytest.approx(value, rel=6e-3)
    assert "The gradient it read: A3 + A2 + A1." in text
    assert ask(AT_USE_2, "why") == f"{WEIGHT} was not updated in this iteration yet."


def test_why_of_another_parameter_leaves_the_focus():
    seen = play("until update", "why output_linear.bias", "info params")
    now = plain()[0]
    moved = float((now.after["output_linear.bias"].double() - now.before["output_linear.bias"].double()).norm())
    said = re.match(r"step\(\) moved output_linear.bias by (\S+)\. ", seen.said[1].text)
    assert said is not None and float(said[1]) == pytest.approx(moved, rel=6e-3)
    assert "The gradient it read: A1." in seen.said[1].text
    assert f"* {WEIGHT}" in seen.said[2].text


@pytest.mark.parametrize("word", ["l", "list"])
@pytest.mark.parametrize("until", ["until forward middle_linear#2", AT_USE_2])
def test_list_shows_the_line_of_the_use_in_forward_and_in_backward(word, until):
    lines = ask(until, word).splitlines()
    line = line_of(dynamic_net, "self.middle_linear(h_relu)")
    assert [text.split(None, 2) for text in lines if text.startswith(">")] == [
        [">", str(line), "h_relu = self.middle_linear(h_relu).clamp(min=0)"]
    ]
    assert [int(text[1:].split()[0]) for text in lines] == list(range(line - 5, line + 6))


def test_where_shows_the_users_frames_innermost_last():
    backward = line_of(training, "loss.backward()")
    assert ask(AT_USE_2, "where").splitlines()[-1] == f"training.py:{backward} train"
    forward = ask("until forward middle_linear#2", "w").splitlines()
    assert forward[-2:] == [
        f"training.py:{line_of(training, 'model(x)')} train",
        f"dynamic_net.py:{line_of(dynamic_net, 'self.middle_linear(h_relu)')} forward",
    ]
    assert not any(word in line for line in forward for word in ("hooks.py", "core.py", "module.py", "driving.py"))


def test_element_and_focus_say_what_is_selected():
    seen = play(AT_USE_2, "element", "element 3,1", "element", "focus middle_linear.bias", "element", "element 4")
    assert [r.text for r in seen.said[1:]] == [
        f"element [0,0] of {WEIGHT} [5, 5]",
        f"element [3,1] of {WEIGHT} [5, 5]",
        f"element [3,1] of {WEIGHT} [5, 5]",
        "focus: middle_linear.bias",
        "element [0] of middle_linear.bias [5]",
        "element [4] of middle_linear.bias [5]",
    ]
    assert ask("focus e", "element", net="parameter", focus="a") == "element [] of e []"


def test_focus_shows_the_same_stop_with_the_numbers_of_the_other_parameter():
    seen = play(AT_USE_2, "print partial.tolist()", "focus middle_linear.bias", "print running.tolist()")
    truth = plain()[0].partials
    assert oracle.bits(torch.tensor(ast.literal_eval(seen.said[1].text)), truth[WEIGHT][1])
    bias = truth["middle_linear.bias"]
    assert oracle.bits(torch.tensor(ast.literal_eval(seen.said[3].text)), bias[2] + bias[1])


def test_focus_and_element_redraw_the_stop():
    drawn = []

    def look(debugger):
        debugger._redraw = drawn.append

    seen = play(AT_USE_2, "element 3,1", "focus output_linear.bias", look=look)
    assert [(s.focus, s.element) for s in drawn] == [(WEIGHT, (3, 1)), ("output_linear.bias", (0,))]
    assert {s.position for s in drawn} == {seen.situations[1].position}


WORDS = [
    *("step", "next", "finish", "until", "continue", "rs", "rn", "rc", "goto", "detach"),
    *("break", "tbreak", "condition", "ignore", "enable", "disable", "clear"),
    *("watch", "commands", "end", "recheck", "display", "undisplay"),
    *("print", "whatis", "expect", "info", "ledger", "graph", "timeline", "element", "axes", "histogram", "story"),
    *("focus", "why", "list", "where"),
    *("up", "down", "help", "set", "mute", "unmute", "track"),
    *("say", "sleep", "screenshot", "theme", "ascii", "layout", "source", "restart", "quit"),
]


def test_help_explains_every_command():
    lines = ask("help").splitlines()
    assert [re.match(r"\w+", line)[0] for line in lines] == WORDS


@pytest.mark.parametrize("word", [*WORDS, "s", "n", "f", "r", "c", "b", "p", "l", "w", "h", "q"])
def test_help_of_one_command_begins_with_its_line(word):
    text = ask(f"help {word}")
    assert text.splitlines()[0] in ask("help").splitlines()
    assert re.search(rf"\b{word}\b", text.partition(":")[0])


@pytest.mark.parametrize("line", ["", "   ", "# a comment", "  # print 1 / 0"])
def test_empty_lines_and_comments_are_nothing(line):
    assert ask(line) == ""


# -- names in expressions ------------------------------------------------------------------------

TENSORS = ("partial", "running", "carried", "grad", "weight", "before", "after", "loss")
NUMBERS = ("use", "uses", "iteration", "phase", "event")


class Truth:
    """What each name stands for, from the live model and plain torch; told of every event."""

    def __init__(self, keep: bool) -> None:
        self.keep, self.run, self.forward_uses = keep, False, 0
        self.known: dict[str, Any] = dict.fromkeys(TENSORS)

    def tell(self, event: Any, model: torch.nn.Module) -> dict[str, Any]:
        p, now = model.middle_linear.weight, plain(3, self.keep)[event.iteration - 1]
        known = self.known
        kind, use = type(event).__name__, None
        if kind == "ForwardUse" and event.index == 0:
            self.__init__(self.keep)
            known = self.known
        if kind == "ForwardUse":
            use = event.call
            self.forward_uses += event.module == "middle_linear"
        elif kind == "LossComputed":
            known["loss"] = torch.tensor(now.loss)
        elif kind == "BackwardStarted":
            self.run = True
            known["carried"] = known["running"] = None if p.grad is None else p.grad.clone()
        elif kind == "BackwardUse":
            use = event.use.number
            if event.use.parameter == WEIGHT:
                known["partial"] = now.partials[WEIGHT][use - 1]
                known["running"] = oracle.arrival_sum(now.partials[WEIGHT][use - 1 :], known["carried"])
        elif kind == "StepStarted":
            known["before"] = now.before[WEIGHT]
        elif kind == "StepFinished":
            known["after"] = now.after[WEIGHT]
        known["weight"], known["grad"] = p.detach().clone(), None if p.grad is None else p.grad.clone()
        phase = "update" if known["before"] is not None else "backward" if self.run else "forward"
        uses = 3 if self.run else self.forward_uses
        return {**known, "use": use, "uses": uses, "iteration": event.iteration, "phase": phase, "event": kind}


@cache
def names_at_every_stop(keep: bool) -> list[tuple[Place, dict[str, Any], dict[str, Any]]]:
    """(place, each name's value, each name's truth), copied."""
    truth, found = Truth(keep), []

    def look(debugger: Any) -> None:
        if debugger.ended:
            return
        values = {name: debugger.evaluate(name) for name in (*TENSORS, *NUMBERS)}
        values = {k: v.detach().clone() if isinstance(v, Tensor) else v for k, v in values.items()}
        found.append(
            (place_of(debugger.stop.event), values, truth.tell(debugger.stop.event, debugger.evaluate("model")))
        )

    play(*["s"] * 99, look=look, keep_zero_grads=keep)
    return found


@pytest.mark.parametrize("keep", [False, True], ids=["zero_grad to None", "zero_grad to zeros"])
@pytest.mark.parametrize("name", [*TENSORS, *NUMBERS])
def test_names_mean_what_plain_torch_has(name, keep):
    """At every stop of two iterations, tensors bit for bit; None where a stop can't know it yet."""
    wrong = []
    for place, values, truth in names_at_every_stop(keep):
        value, true = values[name], truth[name]
        both = isinstance(value, Tensor) and isinstance(true, Tensor)
        if not (oracle.bits(value, true) if both else type(value) is type(true) and value == true):
            wrong.append((place, value, true))
    assert wrong == []


@pytest.mark.parametrize("name", TENSORS)
def test_names_are_none_at_some_stops_and_tensors_at_others(name):
    """So the test above compares both (the weight is never None)."""
    kinds = {type(truth[name]) for keep in (False, True) for _, _, truth in names_at_every_stop(keep)}
    assert kinds == ({Tensor} if name == "weight" else {Tensor, type(None)})


def test_ours_win_and_theirs_are_in_locals():
    """At a stop in backward the innermost frame of the user is `train`."""
    assert ask(AT_USE_2, "print loss.requires_grad, locals['loss'].requires_grad") == "(False, True)"
    assert ask(AT_USE_2, "print y_pred.shape == y.shape, t, 'y_pred' in locals") == "(True, 0, True)"
    assert ask(AT_USE_2, "print torch is __import__('torch'), math.pi > 3") == "(True, True)"
    assert ask("until forward middle_linear#2", "print self is model, h_relu is locals['h_relu']") == "(True, True)"


def test_model_and_optimizer_are_the_programs_own():
    told = []

    def program():
        model = torch.nn.Linear(2, 1)
        stepper = torch.optim.SGD(model.parameters(), lr=0.1)
        told.extend((model, stepper))
        model(torch.ones(1, 2)).sum().backward()
        stepper.step()

    found = []

    def look(debugger):
        if not debugger.ended and type(debugger.stop.event).__name__ == "StepFinished":
            found.extend((debugger.evaluate("model"), debugger.evaluate("optimizer")))

    play(*["s"] * 20, look=look, program=program, focus="weight")
    assert len(found) == 2 and all(a is b for a, b in zip(found, told, strict=True))


# -- what can't be done --------------------------------------------------------------------------

ERRORS = {
    "frobnicate": ["unknown command 'frobnicate'", "there are: step"],
    "nxt": ["'nxt'", "did you mean 'next'?"],
    "step 3": ["step:", "'3'"],
    "n twice": ["next:", "'twice'"],
    "until": ["until: where? a LOC is"],
    "until backwards middle_linear": ["'backwards middle_linear' is no LOC", "forward, backward, accumulate, update"],
    "until middle_linear#0": ["'middle_linear#0' is no TARGET[#N]", "middle_linear#2"],
    "until middle_linear#x": ["'middle_linear#x'"],
    "until middle_linear##2": ["'middle_linear##2'"],
    "until iteration 0": ["'iteration 0'", "iteration 7"],
    "until iteration x": ["'iteration x'"],
    "until iteration 1": ["iteration 1 is not ahead: this is iteration 1"],
    "until midle_linear": ["no module or parameter 'midle_linear'", "did you mean 'middle_linear'?"],
    "until backward midle_linear*": ["no module or parameter 'midle_linear*'", "did you mean 'middle_linear'?"],
    "break": ["break: where?"],
    "break midle_linear": ["'midle_linear'", "did you mean 'middle_linear'?"],
    "break update if": ["needs an expression"],
    "break update if iteration >": ["'iteration >' is no expression"],
    "tbreak nowhere at all": ["'nowhere at all' is no LOC"],
    "condition x use": ["'x' is no breakpoint number"],
    "condition 7 use": ["no breakpoint 7; there are: none"],
    "condition 7 use +": ["'use +' is no expression"],
    "ignore 7": ["'7'", "ignore 1 5"],
    "ignore 7 -1": ["'7 -1'"],
    "enable": ["'' is no breakpoint number"],
    "enable 7": ["no breakpoint 7"],
    "disable x": ["'x'"],
    "clear 7": ["no breakpoint 7; there are: none"],
    "clear all": ["'all' is no breakpoint number"],
    "print": ["print: needs an expression"],
    "print 1 +": ["'1 +' is no expression"],
    "print x := 3": ["'x := 3' is no expression"],
    "print nonsense": ["nonsense: NameError", "'nonsense'"],
    "print grad.norm()": ["grad.norm(): grad is None at this stop"],
    "print 1 / 0": ["1 / 0: ZeroDivisionError: division by zero"],
    "print partial @ torch.ones(7)": ["partial @ torch.ones(7): RuntimeError"],
    "print partial.sum('x')": ["partial.sum('x'): TypeError"],
    "print weight.sum().backward()": ["RuntimeError"],
    "print exit()": ["exit()", "SystemExit"],
    "whatis nonsense": ["'nonsense'"],
    "expect": ["needs an expression"],
    "expect partial > 0": ["partial > 0", "neither true nor false"],
    "expect torch.zeros(2)": ["torch.zeros(2)", "neither true nor false"],
    "expect 1 / 0": ["ZeroDivisionError"],
    "info nothing": [
        "info nothing: no such subject; there are: uses, ledger, weights, grad, optimizer, breaks, params"
    ],
    "element 9,9": ["element 9,9", "[5, 5]", "start at 0"],
    "element 3": ["element 3", "[5, 5]"],
    "element one,two": ["'one,two' is no index"],
    "element -1,0": ["'-1,0'"],
    "focus": ["needs an argument"],
    "focus midle": ["no parameter 'midle'"],
    "focus middle_linear.weigth": ["did you mean 'middle_linear.weight'?"],
    "why nonsense": ["no parameter 'nonsense'"],
    "list 3": ["'3'"],
    "help frobnicate": ["unknown command 'frobnicate'"],
    "say no quotes": ['say: takes one text in quotes, e.g. say "'],
    "sleep long": ["'long' is no number of seconds"],
    "quit now": ["'now' is no exit code"],
}


@pytest.mark.parametrize("line", ERRORS)
def test_an_error_is_one_line_that_names_the_wrong_value(line):
    error = refuse(AT_USE_2, line)
    assert all(word in error for word in ERRORS[line]), error
    assert "\n" not in error and "Traceback" not in error


def test_an_error_leaves_the_stop_as_it_was_and_the_program_goes_on():
    seen = play(AT_USE_2, "until midle_linear", "focus nobody", "element 9,9", "print nonsense", "print use", "n")
    assert [r.ok for r in seen.said] == [True, False, False, False, False, True, True]
    assert seen.said[5].text == "2"
    assert seen.places[1:3] == [ARRIVALS[1], ARRIVALS[2]]
