"""Several processes: gradients that are averaged are told as such, and FSDP as what we do not follow."""

import pytest
import torch
from cases.processes import run


def test_gradients_that_are_averaged():
    """Each process has a sum of its own, which is exact; the average of these is what its optimizer reads."""
    seen = run("averaged", 2)
    mean = (torch.tensor(seen[0]["local"]) + torch.tensor(seen[1]["local"])) / 2
    for mine in seen:
        assert (mine["edges"], mine["uses"], mine["problems"]) == (2, 2, [])
        assert torch.equal(torch.tensor(mine["running"]), torch.tensor(mine["local"]))
        assert torch.equal(torch.tensor(mine["grad"]), mean)
        assert mine["labels"] == ["averaged over 2 processes"]
        assert mine["accumulated"] == [True, True] and mine["later"] == ["averaged over 2 processes"]
        assert ".grad was averaged over 2 processes after the backward" in mine["said"]
        assert "clipped" not in mine["said"]


@pytest.mark.parametrize("kind", ["sharded", "sharded once"])
def test_fsdp_is_not_followed_and_says_so(kind):
    """Its weights are freed while they are not needed: whoever reads them then would crash the program."""
    (seen,) = run(kind, 1)
    assert seen["plain"] == seen["watched"]
    assert len(seen["problems"]) == 1 and seen["problems"][0].startswith("FSDP is not supported")
