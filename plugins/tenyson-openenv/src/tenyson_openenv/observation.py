"""Observations: from the server's JSON to the text that the model reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

SILENT = frozenset({"metadata", "done", "reward"})
"""Fields that are not shown unless they are named."""


def shown(observation: Mapping[str, Any], fields: Sequence[str]) -> str:
    """The named fields, or all that are not empty: a single text as it is, else JSON."""
    if fields:
        found = {name: observation[name] for name in fields if name in observation}
    else:
        found = {
            name: value for name, value in observation.items() if name not in SILENT and value is not None
        }
    if len(found) == 1:
        (only,) = found.values()
        if isinstance(only, str):
            return only
    return json.dumps(found, ensure_ascii=False) if found else ""


def numbers(observation: Mapping[str, Any]) -> dict[str, float]:
    """The numbers and truth values of an observation and of its metadata, by name: what rewards and metrics may use."""
    metadata = observation.get("metadata")
    fields = {**(metadata if isinstance(metadata, Mapping) else {}), **observation}
    return {
        str(name): float(value)
        for name, value in fields.items()
        if isinstance(value, (bool, int, float)) and abs(value) < 1e18
    }
