"""The memory model of DPO: pairs, and the reference beside the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tenyson.jobs.models.dims import Dims
from tenyson.jobs.models.memory import Facts, MemoryEstimate, training_parts


def dpo_memory(dims: Dims, config: Mapping[str, Any], facts: Facts) -> MemoryEstimate:
    """Training on both answers of `training.batch_size` pairs at once, each of at most `training.max_length` tokens."""
    training = config["training"]
    longest = int(training["max_length"] or facts.row or 1024)
    row = min(longest, facts.row or longest)
    kept = not config["trl"].get("precompute_ref_log_probs")
    return MemoryEstimate(training_parts(dims, config, 2 * training["batch_size"] * row, reference=kept))
