"""What an optimizer is, and what it is about to do to one parameter: see `recipes`."""

import functools
from typing import Any

import torch
from torch import Tensor

from backpropdbg.events import Held, Recipe
from backpropdbg.probe.holding import copy
from backpropdbg.recipes import Setting

_RULES: dict[type, str] = {torch.optim.SGD: "sgd", torch.optim.Adam: "adam", torch.optim.AdamW: "adamw"}
_SETTINGS = {"lr", "momentum", "dampening", "weight_decay", "nesterov", "maximize"}
_SETTINGS |= {"betas", "eps", "amsgrad", "decoupled_weight_decay"}
_SHOWN = ("lr", "momentum", "betas", "weight_decay")
_FIXED = {float, int, bool, type(None)}


def summary(optimizer: Any) -> str:
    """Return e.g. "SGD lr=0.01 momentum=0.9" (of the first group; zeros are left out)."""
    settings = tuple(map(optimizer.param_groups[0].get, _SHOWN))
    if not _FIXED.issuperset(map(type, settings)):
        settings = tuple(map(_plain, settings))
    return _summary(type(optimizer).__name__, settings)


@functools.lru_cache(maxsize=64)
def _summary(kind: str, settings: tuple[Any, ...]) -> str:
    parts = [kind]
    for key, value in zip(_SHOWN, settings, strict=True):
        if value or (key == "lr" and value is not None):
            parts.append(
                f"{key}={','.join(f'{v:g}' for v in value) if isinstance(value, tuple) else f'{float(value):g}'}"
            )
    return " ".join(parts)


def settings_of(optimizer: Any, group: dict[str, Any]) -> dict[str, Setting]:
    """What the rule of an optimizer takes from a group; nothing of an optimizer whose rule is not known."""
    known = type(optimizer) in _RULES
    return {key: _plain(group[key]) for key in group if known and key in _SETTINGS}


def recipe(optimizer: Any, settings: dict[str, Setting], p: Tensor, before: Held, grad: Held | None) -> Recipe:
    """One parameter's update as one optimizer does it, with copies of the state that `step()` is about to change."""
    kind = type(optimizer)
    rule = _RULES.get(kind, "")
    state = optimizer.state.get(p, {})
    tensors: dict[str, Held] = {key: copy(value) for key, value in state.items() if isinstance(value, Tensor)}
    steps = state.get("step", 0)
    number = float(steps) if isinstance(steps, (int, float)) else 0.0
    return Recipe(kind.__name__, rule, settings, tensors, number, before, grad)


def _plain(setting: Any) -> Setting:
    """A setting of a group as a number: a scheduler may change a tensor in place later."""
    if isinstance(setting, (tuple, list)):
        return tuple([float(part) for part in setting])
    plain: Setting = float(setting) if isinstance(setting, Tensor) and setting.numel() == 1 else setting
    return plain
