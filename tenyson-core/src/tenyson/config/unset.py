"""Unset: `KEY: ${default}` takes a key away that `shared`, a file or a matrix has set; null is a value like any other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

UNSET = "${default}"
"""The value that removes its key, so that the key's default holds."""


def without_unset(value: Any) -> Any:
    """A copy of nested data without the keys whose value is `${default}`."""
    if isinstance(value, Mapping):
        return {key: without_unset(one) for key, one in value.items() if one != UNSET}
    if isinstance(value, list):
        return [without_unset(one) for one in value]
    return value
