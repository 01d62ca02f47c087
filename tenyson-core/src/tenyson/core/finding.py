"""A finding: one thing that a check has to say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True)
class Finding:
    """What a check found."""

    check: str
    """Its name, such as "eos"; `run.allow` takes it."""
    severity: Severity
    """An error stops the job; a warning is kept with the results; an info is only shown."""
    cause: str
    next_step: str = ""

    def __str__(self) -> str:
        return f"{self.check}: {self.cause}" + (f"\n  {self.next_step}" if self.next_step else "")
