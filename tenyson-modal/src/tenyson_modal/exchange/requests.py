"""Requests to a job: lines for its control file and the wish that it ends, as one entry of the Dict that only the controller writes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from tenyson_modal.api.plain import drop, get_text


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
        """From the Dict; nothing where nothing was asked, or where a container wrote something else over it."""
        try:
            text = get_text(entries, _name(key))
            found = json.loads(text) if text else {}
        except (ValueError, RecursionError):
            return cls()
        lines, cancel = (found.get("lines"), found.get("cancel")) if isinstance(found, dict) else (None, None)
        return cls(
            [line for line in lines if isinstance(line, str)] if isinstance(lines, list) else [],
            float(cancel) if isinstance(cancel, (int, float)) and 0 <= cancel < 1e9 else None,
        )


def forget(entries: Any, key: str) -> None:
    """The attempt is over."""
    drop(entries, _name(key))


def _name(key: str) -> str:
    return f"requests/{key}"
