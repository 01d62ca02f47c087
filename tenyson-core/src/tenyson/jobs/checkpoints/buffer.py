"""The buffer: GRPO's generated batches that are still to be trained on, as tensors by name and plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

Batches = Sequence[Mapping[str, Any]]


def pack_batches(batches: Batches) -> tuple[list[dict[str, Any]], dict[str, Tensor]]:
    """Plain data of each batch, with the order of its keys, and the tensors as "<batch>.<key>"."""
    plain, tensors = [], {}
    for number, batch in enumerate(batches):
        values = {}
        for key, value in batch.items():
            if isinstance(value, Tensor):
                tensors[f"{number}.{key}"] = value.detach().cpu().clone()
            else:
                values[key] = value
        plain.append({"keys": list(batch), "values": values})
    return plain, tensors


def unpack_batches(
    plain: Sequence[Mapping[str, Any]], tensors: Mapping[str, Tensor], device: Any
) -> list[dict[str, Any]]:
    """The batches, with their tensors on a device."""
    return [
        {
            key: entry["values"][key] if key in entry["values"] else tensors[f"{number}.{key}"].to(device)
            for key in entry["keys"]
        }
        for number, entry in enumerate(plain)
    ]
