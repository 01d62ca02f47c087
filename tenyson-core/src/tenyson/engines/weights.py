"""Weights: whether a model got all of them from its files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tenyson.errors import ModelError


def require_all_weights(report: Mapping[str, Any], place: str) -> None:
    """transformers fills what a file lacks with random numbers. Raises: ModelError: it did."""
    missing = sorted(report.get("missing_keys") or ())
    if missing:
        unknown = sorted(report.get("unexpected_keys") or ())
        found = f"; {unknown[0]} is there and belongs to no module" if unknown else ""
        raise ModelError(
            f"the weights lack {len(missing)} tensors of the model, such as {missing[0]}{found}",
            place=place,
            next_step="Fetch or write the model again; without them it would begin with random numbers there.",
        )
