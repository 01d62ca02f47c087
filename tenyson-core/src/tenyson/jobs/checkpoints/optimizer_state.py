"""The state of optimizer and schedule, put back from a checkpoint: of the same parameters, in the same groups, of the same shapes.

Imports torch: import this module only inside a job.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from tenyson.jobs.checkpoints.publication import ANOTHER
from tenyson.jobs.models.integrity import damaged_file, reading
from tenyson.telemetry.events import strict_json

_BY_KEY = {
    "training.learning_rate": ("lr", "initial_lr"), "trl.learning_rate": ("lr", "initial_lr"),
    "training.weight_decay": ("weight_decay",), "trl.weight_decay": ("weight_decay",), "trl.adam_beta1": ("betas",),
    "trl.adam_beta2": ("betas",), "trl.adam_epsilon": ("eps",),
}  # fmt: skip
_SCHEDULE = frozenset(
    {
        "training.learning_rate", "trl.learning_rate", "training.lr_scheduler", "trl.lr_scheduler_type",
        "trl.lr_scheduler_kwargs", "training.warmup_steps", "trl.warmup_steps",
    }
)  # fmt: skip
_WHOLE = (torch.int64, torch.int32, torch.int16, torch.bool)
"""Types that no moment has. uint8 is that of optimizers in 8 bits."""


def load_optimizer(optimizer: Any, path: Path, changes: Collection[str] = ()) -> bool:
    """Put a saved optimizer's state into one of the same parameters; returns whether the schedule is to be that of now.

    Args:
        changes: keys of settings that were changed on purpose: theirs are the values of now, not of the file.

    Raises:
        ModelError: the file is none, or is of other parameters.
    """
    with reading(path, ANOTHER):
        with safe_open(path, framework="pt") as file:
            plain = strict_json.restore(json.loads((file.metadata() or {})["state"]))
        state: dict[int, dict[str, Any]] = {int(index): values for index, values in plain["state"].items()}
        for name, tensor in load_file(path).items():
            index, _, key = name.partition(".")
            state.setdefault(int(index), {})[key] = tensor
        groups = plain["param_groups"]
        fault = _group_fault(optimizer, groups) or _state_fault(optimizer, state, groups)
    if fault:
        raise damaged_file(
            path, fault, "Resume with the model, adapter and optimizer that it was written with."
        )
    with reading(path, ANOTHER):
        kept = [
            {name: group[name] for key in changes for name in _BY_KEY.get(key, ()) if name in group}
            for group in optimizer.param_groups
        ]
        optimizer.load_state_dict({"state": state, "param_groups": groups})
        for group, values in zip(optimizer.param_groups, kept, strict=True):
            group.update(values)
    return any(key in _SCHEDULE for key in changes)


def load_schedule(schedule: Any, saved: Mapping[str, Any], changed: bool = False) -> None:
    """Put a saved schedule's state into one of the same kind.

    Args:
        changed: the schedule or its rate was changed on purpose: only how far it has come is taken.

    Raises: ValueError: it is of another kind.
    """
    own = schedule.state_dict()
    if changed and hasattr(schedule, "lr_lambdas"):
        schedule.last_epoch, schedule._step_count = saved["last_epoch"], saved["_step_count"]
        schedule._last_lr = [
            rate * factor(schedule.last_epoch)
            for rate, factor in zip(schedule.base_lrs, schedule.lr_lambdas, strict=True)
        ]
        for group, rate in zip(schedule.optimizer.param_groups, schedule._last_lr, strict=True):
            group["lr"] = rate
        return
    if odd := sorted(own.keys() ^ saved.keys()):
        raise ValueError(f"{odd[0]} is only in one of the schedules, so they are of two kinds")
    for key, value in own.items():
        if type(value) is not type(saved[key]) and not (_is_number(value) and _is_number(saved[key])):
            raise ValueError(f"its {key} is {saved[key]!r:.40}")
        if isinstance(value, list) and len(value) != len(saved[key]):
            raise ValueError(f"its {key} has {len(saved[key])} entries instead of {len(value)}")
    schedule.load_state_dict(saved)


def _group_fault(optimizer: Any, groups: Any) -> str | None:
    """torch takes groups that lack what its next step needs."""
    here = optimizer.state_dict()["param_groups"]
    if len(groups) != len(here):
        return f"it has {len(groups)} groups of parameters, and the optimizer here has {len(here)}"
    for index, (saved, own) in enumerate(zip(groups, here, strict=True)):
        if len(saved["params"]) != len(own["params"]):
            return f"its group {index} has {len(saved['params'])} parameters, and the optimizer here has {len(own['params'])}"
        for key, value in own.items():
            if key not in saved:
                return f"its group {index} has no {key}, so it is of another optimizer"
            if value is not None and saved[key] is not None and _is_number(value) != _is_number(saved[key]):
                return f"{key} of its group {index} is {saved[key]!r:.40}"
    return None


def _state_fault(optimizer: Any, state: Mapping[int, Mapping[str, Any]], groups: Any) -> str | None:
    """torch takes moments of other shapes, and fails on them in the next step."""
    parameters = {
        number: parameter
        for saved, group in zip(groups, optimizer.param_groups, strict=True)
        for number, parameter in zip(saved["params"], group["params"], strict=True)
    }
    usual: set[str] = max((set(values) for values in state.values()), key=len, default=set())
    for number, values in state.items():
        if number not in parameters:
            return f"it has a state of parameter {number}, which is in no group"
        if missing := usual - set(values):
            return f"its state of parameter {number} has no {min(missing)}"
        shape, fractions = tuple(parameters[number].shape), parameters[number].is_floating_point()
        for key, value in values.items():
            if not isinstance(value, Tensor) or not value.dim():
                continue
            if value.dim() == len(shape) and tuple(value.shape) != shape:
                return f"{number}.{key} has the shape {tuple(value.shape)}, and its parameter {shape}"
            if fractions and value.dim() == len(shape) and value.dtype in _WHOLE:
                return f"{number}.{key} holds {value.dtype}"
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, (bool, int, float, Tensor))
