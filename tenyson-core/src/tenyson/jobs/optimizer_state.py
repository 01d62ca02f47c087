"""The state of optimizer and schedule, put back from a checkpoint: of the same parameters, in the same groups, of the same shapes.

Imports torch: import this module only inside a job.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from tenyson.jobs.integrity import damaged_file, reading
from tenyson.jobs.publication import ANOTHER
from tenyson.telemetry import strictjson

_WHOLE = (torch.int64, torch.int32, torch.int16, torch.bool)
"""Types that no moment has. uint8 is that of optimizers in 8 bits."""


def load_optimizer(optimizer: Any, path: Path) -> None:
    """Put a saved optimizer's state into one of the same parameters.

    Raises:
        ModelError: the file is none, or is of other parameters.
    """
    with reading(path, ANOTHER):
        with safe_open(path, framework="pt") as file:
            plain = strictjson.restore(json.loads((file.metadata() or {})["state"]))
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
        optimizer.load_state_dict({"state": state, "param_groups": groups})


def load_schedule(schedule: Any, saved: Mapping[str, Any]) -> None:
    """Put a saved schedule's state into one of the same kind. Raises: ValueError: it is of another one."""
    own = schedule.state_dict()
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
