"""The weights of a model in training, as a checkpoint has them: adapters merged into copies, one layer at a time."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any


def merged_weights(model: Any) -> Iterator[tuple[str, Any]]:
    """Names and tensors of all weights; those of tied layers under each of their names.

    A layer that carries an adapter is copied, in float32, and the adapter merged into the copy: the model itself is not
    touched, so nothing drifts however often this is done.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    yield from _weights(base, "")


def _weights(module: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    import torch
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import ModulesToSaveWrapper, TrainableTokensWrapper

    if isinstance(module, TrainableTokensWrapper):
        module = module.token_adapter
    if isinstance(module, ModulesToSaveWrapper):
        module = module.modules_to_save[module.active_adapters[0]]
    elif isinstance(module, BaseTunerLayer):
        merged = copy.deepcopy(module).float()
        with torch.no_grad():
            merged.merge()
        module = merged.get_base_layer()
    for name, tensor in module.named_parameters(recurse=False):
        yield prefix + name, tensor.detach()
    for name, tensor in module.named_buffers(recurse=False):
        if name not in module._non_persistent_buffers_set:
            yield prefix + name, tensor
    for name, child in module.named_children():
        yield from _weights(child, f"{prefix}{name}.")
