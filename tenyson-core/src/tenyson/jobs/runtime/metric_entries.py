"""Metrics as entries of results.json and of a JobResult."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tenyson.tasks.metrics.metric import Metric


def metric_entry(metric: Metric | float) -> dict[str, Any]:
    """What was measured on nothing is null, and so is the interval of a plain number. A value that is not finite otherwise
    stays: the file lists it.
    """
    entry = (
        asdict(metric)
        if isinstance(metric, Metric)
        else {"value": float(metric), "n": 1, "low": None, "high": None}
    )
    return {
        key: None
        if isinstance(value, float) and not math.isfinite(value) and (key != "value" or not entry["n"])
        else value
        for key, value in entry.items()
    }


def finite_values(metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """The value of each entry, but for those that were measured on nothing."""
    return {name: entry["value"] for name, entry in metrics.items() if entry["value"] is not None}
