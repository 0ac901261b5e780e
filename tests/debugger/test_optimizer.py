"""What `info optimizer` and the box of a face say: settings, state and terms of plain torch; and the list of stops."""

import oracle
import pytest
import torch
from driving import debugged, make_net, seed
from playing import play, said

from backpropdbg.child.opened import OpenedProgram, open_file
from backpropdbg.debugger.core import Debugger
from backpropdbg.debugger.tables import shown
from backpropdbg.events import StepStarted
from backpropdbg.questions import Mark, Optimizer, OptimizerOf, StopsOf

WEIGHT = "middle_linear.weight"
SGD = {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}
ADAM = {"lr": 0.01, "betas": (0.8, 0.99), "weight_decay": 0.1}


def train(make, settings, steps: int = 3, seen: list | None = None, losses: list | None = None) -> None:
    """seen: gets the weight, its gradient and a copy of the state before each step, and the weight after it."""
    seed(3)
    net, x, y = make_net("module", 3)
    optimizer = make(net.parameters(), **settings)
    weight = net.middle_linear.weight
    for _ in range(steps):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(net(x), y)
        loss.backward()
        state = {k: v.clone() for k, v in optimizer.state[weight].items()} if optimizer.state else {}
        before = weight.detach().clone()
        optimizer.step()
        if losses is not None:
            losses.append(loss.item())
        if seen is not None:
            seen.append((before, weight.grad.clone(), state, weight.detach().clone()))


def text(debugger: Debugger) -> list[str]:
    found = debugger.answer(OptimizerOf())
    assert isinstance(found, Optimizer) and (found.position, found.focus) == (debugger.stop.position, debugger.focus)
    assert debugger.execute("info optimizer").text == found.text
    return found.text.splitlines()


def size(t: torch.Tensor) -> str:
    return shown(t.double().norm().item())


def check(lines: list[str], plain: tuple, terms: dict[str, torch.Tensor], iteration: int) -> None:
    before, _, state, after = plain
    assert lines[1] == f"{WEIGHT}, what the step of iteration {iteration} read:"
    at = lines.index("its update:")
    expected = [
        f"  {k} = {v:g}" if v.dim() == 0 else f"  {k} {list(v.shape)}  norm {size(v)}" for k, v in state.items()
    ]
    assert lines[3:at] == (expected or ["  no state yet"])
    rows = {line[2:14].strip(): line[14:].split()[0] for line in lines[at + 2 :]}
    wanted = {"before": before, **terms, "difference": after.double() - before.double(), "after": after}
    assert {name: rows.get(name) for name in wanted} == {name: size(t) for name, t in wanted.items()}


@pytest.mark.parametrize(("make", "settings"), [(torch.optim.SGD, SGD), (torch.optim.AdamW, ADAM)])
def test_settings_state_and_terms_are_plain_torchs_live_in_the_past_and_in_a_recording(tmp_path, make, settings):
    path, plain = str(tmp_path / "run.bptrace"), []
    train(make, settings, seen=plain)
    terms = [
        oracle.sgd_terms(w, g, s.get("momentum_buffer"), **settings)
        if make is torch.optim.SGD
        else oracle.adam_terms(w, g, s, **settings, decoupled=True)
        for w, g, s, _ in plain
    ]
    found: dict[str, list[str]] = {}

    def at_stop(situation, debugger) -> str:
        if situation.phase == "finished":
            assert debugger.execute("goto iteration 2 StepFinished").ok
        elif debugger.in_past:
            found["past"] = text(debugger)
        else:
            found[f"{situation.event} {situation.iteration}"] = text(debugger)
        return "next"

    with debugged(at_stop, focus=WEIGHT, path=path) as seen:
        train(make, settings)
        seen.probe.remove()
        seen.debugger.finish()
    for n in (1, 2, 3):
        check(found[f"StepFinished {n}"], plain[n - 1], terms[n - 1], n)
    assert found["past"] == found["StepFinished 2"] and any(line.startswith("> difference") for line in found["past"])
    assert found["BackwardUse 3"] == [line.replace(">", " ") for line in found["past"]]  # we are not there
    assert found["StepStarted 2"][-1].split() == ["after", "pending"]
    assert (
        found["BackwardUse 1"][-1].endswith("no step up to here was about it, as far as is known")
        and len(found["BackwardUse 1"]) == 2
    )
    given = {name: ",".join(f"{v:g}" for v in value) if isinstance(value, tuple) else f"{value:g}"
             for name, value in settings.items()}  # fmt: skip
    told = dict(pair.split("=") for pair in found["StepFinished 2"][2].split())
    assert {name: told[name] for name in given} == given

    trace, opened = open_file(path), []

    def wait(situation) -> None:
        if situation.event == "StepFinished" and not opened:
            opened.append(text(debugger))
        elif not opened:
            debugger.execute("goto iteration 2 StepFinished")

    debugger = Debugger(OpenedProgram(trace), trace, wait, "test", None, WEIGHT, recorded=True)
    debugger.open()
    assert opened == [found["past"]]


def test_what_is_not_recorded_says_so() -> None:
    def program() -> None:
        weight, other = torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(3))
        optimizer = torch.optim.RMSprop([weight, other], lr=0.1)
        for _ in range(2):
            weight.sum().backward()
            optimizer.step()

    seen = play(program, "until update", "until update", "info optimizer", "focus other", "info optimizer")
    _, _, lines, _, skipped = said(seen)
    assert "settings of RMSprop: not recorded, only those of SGD, Adam and AdamW are" in lines
    assert "square_avg [3]  norm 0.01732" in lines and "its terms are not known" in lines
    assert "no state yet" in skipped and "did not move, bit for bit" in skipped

    def forget(debugger) -> None:
        for e in debugger.stop.of(StepStarted):
            e.recipes.clear()

    lines = said(play(program, "until update", "focus weight", "info optimizer", look=forget))[2].splitlines()
    assert lines[2:4] == ["  settings and state: not recorded", "its update:"]
    assert [line[2:].split()[0] for line in lines[5:]] == ["before", "difference", "after"]


def test_the_list_of_stops_is_that_of_the_prompt() -> None:
    found, lists = [], ("info breaks", "display")
    lines = ["break update if loss > 0", "watch loss.item()", "display loss.item()", "disable 2", "continue"]

    def look(debugger) -> None:
        if debugger.displays:
            marks = debugger.answer(StopsOf()).marks
            found.append(marks)
            assert "\n".join(mark.text for mark in marks) == "\n".join(debugger.execute(line).text for line in lists)

    play(lambda: train(torch.optim.SGD, SGD, 1), *lines, look=look)
    marks, plain = found[0], []
    train(torch.optim.SGD, SGD, 1, losses=plain)
    assert marks[0] == Mark("breakpoint", 1, "breakpoint 1: update if loss > 0 hit 1 time")
    assert marks[1] == Mark("breakpoint", 2, "watchpoint 2: loss.item() (disabled)", enabled=False)
    assert marks[2] == Mark("display", 1, f"1: loss.item() = {plain[0]}")
