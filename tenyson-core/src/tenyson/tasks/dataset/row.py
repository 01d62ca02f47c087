"""A row of a data file, with where it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One row, as it was read."""

    place: str
    """File and line, or file and row, such as train.jsonl:12."""
    values: Mapping[str, Any]
    """By column."""
    source: str = ""
    """Which part of a mixture it comes from."""


class RowError(ValueError):
    """A row that cannot be used. The message says why, without the place."""

    def __init__(self, place: str, cause: str) -> None:
        super().__init__(cause)
        self.place = place
        self.cause = cause

    def __str__(self) -> str:
        return f"{self.place}: {self.cause}"
