"""Places that the program has not come to yet: what it holds is known by name, the rest may still come."""

import pytest
import torch
from playing import play, said
from torch import nn


def first_then_second() -> None:
    """Two nets that are held from the start; one is called in iteration 1, the other in iteration 2."""
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    decoder = nn.Sequential(nn.Linear(1, 2), nn.Linear(2, 1))
    for net, size in ((encoder, 2), (decoder, 1)):
        stepper = torch.optim.SGD(net.parameters(), lr=0.1)
        net(torch.ones(1, size)).sum().backward()
        stepper.step()


def grows() -> None:
    """A layer that does not exist before the second iteration."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 2))
    for number in range(2):
        if number == 1:
            model.add_module("late", nn.Linear(2, 1))
        model(torch.ones(1, 2)).sum().backward()
        torch.optim.SGD(model.parameters(), lr=0.1).step()


@pytest.mark.parametrize("place", ["backward decoder.1", "backward decoder.1.weight", "backward decod*.1"])
def test_a_net_that_was_not_called_yet_is_known(place):
    seen = play(first_then_second, f"break {place}", "c", "print iteration", "c")
    told = said(seen)
    target = place.split()[1]
    assert told[0] == f"breakpoint 1: {place}; {target} was not called yet"
    assert seen.stops[0] == "BackwardUse decoder.1#1 of 1" and told[2] == "2"


def test_until_says_so_too_and_gets_there():
    seen = play(first_then_second, "until forward decoder.0", "c")
    assert said(seen)[0] == "decoder.0 was not called yet" and seen.stops == ["ForwardUse decoder.0#1"]


def test_what_does_not_exist_yet_may_still_come():
    seen = play(grows, "break backward late.bias", "c", "print iteration", "c")
    told = said(seen)
    pending = "not known yet: no module or parameter has been called late.bias so far"
    assert told[0] == f"breakpoint 1: backward late.bias; {pending}"
    assert seen.stops == ["BackwardUse late#1 of 1"] and told[2] == "2"


def test_what_is_nearly_a_name_is_taken_for_a_mistake():
    seen = play(first_then_second, "break encodr.1", "until decodr.1", "break decoder.1", "until decodr.1", "c")
    texts = [(r.ok, r.text) for r in seen.said]
    assert texts[0] == (False, "no module or parameter 'encodr.1'; did you mean 'encoder.1'?")
    assert texts[3] == (False, "no module or parameter 'decodr.1'; did you mean 'decoder.1'?")


def test_a_model_may_stand_with_its_variable_before_a_part_of_it():
    def program() -> None:
        model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
        model(torch.ones(1, 2)).sum().backward()

    seen = play(program, "until backward model.0", "c")
    assert said(seen)[0] == "" and seen.stops == ["BackwardUse 0#1 of 1"]
    seen = play(program, "until backward model.0.weight", "c")
    assert said(seen)[0] == "" and seen.stops == ["BackwardUse 0#1 of 1"]
    seen = play(program, "break model", "break model.0#1 if iteration == 1", "c", "c")
    assert seen.said[0].text == "model is the whole model: name a part of it, or leave it out"
    assert seen.stops == ["BackwardUse 0#1 of 1"]


def test_a_frozen_parameter_may_thaw():
    def program() -> None:
        model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
        model[0].requires_grad_(False)
        for _ in range(2):
            model(torch.ones(1, 2)).sum().backward()
            torch.optim.SGD(model.parameters(), lr=0.1).step()
            model[0].requires_grad_(True)

    seen = play(program, "break backward 0.weight", "c", "print iteration", "c")
    told = said(seen)
    assert "0.weight is frozen" in told[0] and told[2] == "2"
    assert seen.stops == ["BackwardUse 0#1 of 1"]


def test_meeting_a_net_early_leaves_its_numbers_alone():
    plain = play(first_then_second, "until update decoder", "c")
    met = play(first_then_second, "break forward decoder", "clear", "until update decoder", "print after", "c")
    assert plain.stops == met.stops == ["StepFinished after optimizer.step()"]
    assert plain.situations[0].parameters == met.situations[0].parameters


def test_the_parameters_of_a_stop_are_those_that_require_a_gradient_then():
    """Those of a backward stay until its end: it began with all of them."""

    def program() -> None:
        model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False))
        model[1].weight.register_hook(lambda grad: model[0].requires_grad_(False) and None)
        model(torch.ones(1, 2)).sum().backward()
        model[0].requires_grad_(True)
        torch.optim.SGD(model.parameters(), lr=0.1).step()

    seen = play(program, *["step"] * 8, "continue")
    both, frozen = ("0.weight", "1.weight"), ("1.weight",)
    known = {"BackwardStarted": both, "BackwardUse": both, "Accumulated": both, "BackwardFinished": frozen}
    told = [s for s in seen.situations if s.event in known]
    assert [s.parameters for s in told] == [known[s.event] for s in told]
    assert {s.event for s in told} == {*known} and seen.situations[-1].parameters == both
