"""Precision: whether forward passes compute in bfloat16, by autocast, where the configuration leaves it open.

Weights, gradients and the optimizer's state keep the type in which they are loaded. A CPU computes in bfloat16 if it has
instructions for it and the model is large enough. A run that resumes elsewhere computes as it did before, whatever that machine
has.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenyson.jobs.models.dims import find_dims
from tenyson.jobs.models.integrity import read_about

if TYPE_CHECKING:
    from tenyson.config.schema import Config
    from tenyson.jobs.models.model import ModelSource

LEAST_PARAMETERS = 50_000_000
"""In smaller models the conversions cost more than the arithmetic saves."""


def has_instructions() -> bool:
    """Whether this processor multiplies in bfloat16."""
    import torch

    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def choose_precision(config: Config, arguments: Any, source: ModelSource, checkpoint: Path | None) -> str:
    """Set `bf16` of TRL's arguments, unless the configuration does; returns what to tell the user, empty for nothing."""
    decided = config.model.dtype != "auto" or {"bf16", "fp16"} & config.trl.keys()
    if decided or arguments.deepspeed or arguments.fsdp:
        return ""
    chosen = _worthwhile(arguments, source) if checkpoint is None else _recorded(checkpoint)
    if chosen is None or chosen == arguments.bf16:
        return ""
    arguments.bf16, arguments.mixed_precision = chosen, "bf16" if chosen else "no"
    kind, other = ("bfloat16", "false") if chosen else ("float32", "true")
    why = "for which this processor has instructions" if checkpoint is None else "as before this resume"
    accepted = "" if checkpoint is None else " and training.accept_changes: [trl.bf16]"
    return f"precision: forward passes compute in {kind}, {why}; trl.bf16: {other}{accepted} changes that"


def _worthwhile(arguments: Any, source: ModelSource) -> bool:
    if not arguments.use_cpu:
        return bool(arguments.bf16)
    dims = find_dims({"name": source.path})
    return dims is not None and dims.parameters >= LEAST_PARAMETERS and has_instructions()


def _recorded(checkpoint: Path) -> bool | None:
    """What the checkpoint's training did; None where an earlier version wrote it."""
    recorded = (read_about(checkpoint).get("training") or {}).get("bf16")
    return recorded["value"] if recorded else None
