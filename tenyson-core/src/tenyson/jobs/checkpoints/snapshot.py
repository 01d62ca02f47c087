"""Snapshot: weights and optimizer copied into memory between two steps, so that files can be written while training continues.

Imports torch: import this module only inside a job.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers.modeling_utils import remove_tied_weights_from_state_dict

from tenyson.engines.adapter import TENSORS, verify_adapter
from tenyson.errors import ModelError
from tenyson.jobs.checkpoints.publication import ANOTHER
from tenyson.jobs.models.integrity import damaged_file, reading
from tenyson.telemetry.events import strict_json

WEIGHTS = "model.safetensors"
OPTIMIZER = "optimizer.safetensors"


class Snapshot:
    """Copies of tensors on the CPU, by file. The memory is used again by the next snapshot: fresh pages cost more than the copy."""

    def __init__(self) -> None:
        self._files: dict[str, dict[str, Tensor]] = {}
        self._metadata: dict[str, dict[str, str]] = {}

    def take(self, model: Any, optimizer: Any) -> None:
        """Copy what a checkpoint holds of a model and its optimizer; nothing else may be reading this snapshot."""
        wanted = dict(weights_by_file(model))
        state, metadata = _flatten(optimizer.state_dict())
        wanted[OPTIMIZER] = state
        before, self._files = self._files, {}
        for name, tensors in wanted.items():
            room = before.get(name, {})
            self._files[name] = {key: _copy(tensor, room.get(key)) for key, tensor in tensors.items()}
        self._metadata = {OPTIMIZER: metadata}

    def write(self, folder: Path) -> None:
        """Write every file. Raises: OSError: the disk takes no more."""
        for name, tensors in self._files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file(tensors, path, metadata={"format": "pt", **self._metadata.get(name, {})})


def weights_by_file(model: Any) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """A model's tensors, by the file of a checkpoint that holds them: its adapters, or all of its weights.

    The adapter in training lies at the top; others, such as TRL's `ref`, in a folder of their name.
    """
    if isinstance(model, PeftModel):
        for adapter in model.peft_config:
            yield adapter_file(model, adapter), get_peft_model_state_dict(model, adapter_name=adapter)
    else:
        yield WEIGHTS, remove_tied_weights_from_state_dict(model.state_dict(), model)


def adapter_file(model: Any, adapter: str) -> str:
    """Where an adapter lies in a checkpoint."""
    return TENSORS if adapter == model.active_adapter else f"{adapter}/{TENSORS}"


def write_configs(model: Any, folder: Path) -> None:
    """The small files that `from_pretrained` needs beside the tensors."""
    if not isinstance(model, PeftModel):
        model.config.save_pretrained(folder)
        if model.can_generate():
            model.generation_config.save_pretrained(folder)
        return
    for adapter, config in model.peft_config.items():
        config = copy.copy(config)
        config.inference_mode = True
        config.base_model_name_or_path = config.base_model_name_or_path or model.get_base_model().name_or_path
        place = (folder / adapter_file(model, adapter)).parent
        place.mkdir(parents=True, exist_ok=True)
        config.save_pretrained(str(place))


def load_weights(model: Any, checkpoint: Path) -> None:
    """Put a checkpoint's weights into a model of the same shape.

    Raises:
        ModelError: it is a checkpoint of another model.
    """
    try:
        with reading(checkpoint / WEIGHTS, ANOTHER):
            tensors = load_file(checkpoint / WEIGHTS)
        _require_fractions(tensors, checkpoint / WEIGHTS)
        result = model.load_state_dict(tensors, strict=False)
        # What is tied to another weight is not written a second time.
        wrong = set(result.unexpected_keys) | set(result.missing_keys) - set(model.all_tied_weights_keys)
        fault = f"{min(wrong)} is only in one of them" if wrong else None
    except (RuntimeError, OSError) as error:
        fault = str(error).strip().splitlines()[-1].strip()
    if fault:
        raise ModelError(
            f"the checkpoint's weights do not fit the model: {fault}",
            place=str(checkpoint / WEIGHTS),
            next_step="Resume with the model that it was written with.",
        )
    model.tie_weights()


def _require_fractions(tensors: Mapping[str, Tensor], path: Path) -> None:
    # torch would copy whole numbers into weights in silence.
    for name, tensor in tensors.items():
        if not (tensor.is_floating_point() or tensor.is_complex()):
            raise damaged_file(path, f"{name} holds {tensor.dtype}, which no weights are", ANOTHER)


def load_adapters(model: PeftModel, checkpoint: Path) -> None:
    """Put every adapter of a checkpoint where it was: the one in training, and TRL's `ref` beside it.

    transformers 5.19 loads only `ref` where there are both, and leaves the adapter in training untouched.

    Raises:
        ModelError: an adapter is missing, or is not what the model holds afterwards.
    """
    for adapter in model.peft_config:
        path = checkpoint / adapter_file(model, adapter)
        if not path.is_file():
            raise ModelError(
                f"this checkpoint has no adapter {adapter!r}",
                place=str(path),
                next_step="Resume with the peft, model.adapter and training.beta that it was written with.",
            )
        with reading(path, ANOTHER):
            tensors = load_file(path)
            _require_fractions(tensors, path)
            set_peft_model_state_dict(model, tensors, adapter_name=adapter)
        verify_adapter(model, adapter, path)


def _flatten(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """An optimizer's tensors, named "<parameter>.<key>", and all else as JSON."""
    tensors: dict[str, Tensor] = {}
    rest: dict[str, dict[str, Any]] = {}
    for index, values in state["state"].items():
        for key, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{index}.{key}"] = value
            else:
                rest.setdefault(str(index), {})[key] = value
    groups = [
        {key: value.item() if isinstance(value, Tensor) else value for key, value in group.items()}
        for group in state["param_groups"]
    ]
    return tensors, {"state": strict_json.dumps({"state": rest, "param_groups": groups})}


def _copy(tensor: Tensor, room: Tensor | None) -> Tensor:
    if room is None or room.shape != tensor.shape or room.dtype != tensor.dtype:
        room = torch.empty(tensor.shape, dtype=tensor.dtype)
    return room.copy_(tensor.detach())
