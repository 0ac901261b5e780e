"""Saves, copies and loads: the model, its optimizer, a schedule and the random state; then it goes on from there."""

import copy
import io

import torch
from training import Net, loss_of, model, optimizer, step


def kept(thing):
    file = io.BytesIO()
    torch.save(thing, file)
    return file.getvalue()


schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
for _ in range(2):
    step()
    schedule.step()
torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "random": torch.get_rng_state()}, "a.pt")
whole, twin = kept(model), copy.deepcopy(model)
print(len(whole), list(model.state_dict()), optimizer.state_dict()["param_groups"])
step("further")

saved = torch.load("a.pt")
model.load_state_dict(saved["model"])
optimizer.load_state_dict(saved["optimizer"])
torch.set_rng_state(saved["random"])
step("again")

other = torch.load(io.BytesIO(whole), weights_only=False)
print(isinstance(other, Net), [torch.equal(a, b) for a, b in zip(other.parameters(), twin.parameters(), strict=True)])
second = torch.optim.SGD([*other.parameters(), *twin.parameters()], lr=0.1)
(loss_of(other) + loss_of(twin)).backward()
second.step()
print([round(p.sum().item(), 6) for p in (*other.parameters(), *twin.parameters())])
for each in (model, other, twin):
    print([len(hooks) for module in each.modules() for name, hooks in vars(module).items() if "hooks" in name])
step()
