"""A check of what a launch needs, as a doctor makes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Check:
    """What was tried, and what came of it."""

    level: Literal["ok", "warning", "error"]
    what: str
    said: str
