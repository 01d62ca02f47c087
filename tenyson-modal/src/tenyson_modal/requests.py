"""Requests to a job: lines for its control file and the wish that it ends, as one entry of the Dict that only the controller writes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Requests:
    """All that was ever asked of one attempt."""

    lines: list[str] = field(default_factory=list)
    """For the job's control file, in order; the container knows how many it has taken."""
    cancel: float | None = None
    """Save and end within so many seconds."""

    def write(self, entries: Any, key: str) -> None:
        """Into the Dict."""
        entries.put(_name(key), json.dumps(asdict(self)))

    @classmethod
    def read(cls, entries: Any, key: str) -> Requests:
        """From the Dict; nothing where nothing was asked."""
        text = entries.get(_name(key))
        return cls(**json.loads(text)) if text else cls()


def forget(entries: Any, key: str) -> None:
    """The attempt is over."""
    entries.pop(_name(key), None)


def _name(key: str) -> str:
    return f"requests/{key}"
