"""The record of an attempt: `machine.json` in the run's folder `.controller`. What was asked for is in it before anything is asked.

It says which command reaches the machine, where its files go and what it may cost, so nothing that a machine sends can take its place: no
hidden name is taken from one (`tenyson.cloud.remote.outputs`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from tenyson.core.files.atomic import write_json
from tenyson.core.run_folder import CONTROLLER

NAME = "machine.json"


@dataclass
class Record:
    """One attempt on one machine. Written whole, in one move, after each change that matters. A backend adds its own fields."""

    backend: str
    token: str
    """Of the attempt."""
    spec: dict[str, Any]
    """The JobSpec, so that the job can be attached to from its folder alone."""
    settings: dict[str, Any]
    """What makes the backend again."""
    cwd: str
    """What the job's paths are relative to, here and there."""
    created_at: float
    log_start: int = 0
    """Where this attempt begins in the run's log.txt."""
    bases: dict[str, int] = field(default_factory=dict)
    """Where it begins in other files that only grow."""
    launched_at: float | None = None
    job: dict[str, Any] | None = None
    """The job's process there, once it began."""
    exit: dict[str, Any] | None = None
    """How it ended."""
    times: dict[str, float] = field(default_factory=dict)
    """When each stage was reached, by the clock here."""
    fetched: bool = False
    """Whether all outputs are here and have the right sums."""
    released: bool = False
    """Whether the provider says that nothing of it runs any more."""
    lost: dict[str, Any] | None = None
    """Why the machine is no more, if it ended before its job was fetched: reason, detail, preempted."""

    @property
    def machine(self) -> str | None:
        """What the provider calls it; None while there is none."""
        return None

    @property
    def begun(self) -> bool:
        """Whether the provider was asked for a machine, whatever it answered."""
        return self.machine is not None

    def save(self, folder: Path) -> None:
        """Raises: OSError."""
        write_json(own_folder(folder) / NAME, asdict(self), indent=1, durable=True)

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """None where there is none that can be read, or one of another backend."""
        try:
            data: Mapping[str, Any] = json.loads((folder / CONTROLLER / NAME).read_text(encoding="utf-8"))
            known = {one.name for one in fields(cls)}
            return cls(**{key: value for key, value in data.items() if key in known})
        except (OSError, ValueError, TypeError, AttributeError):
            return None


def own_folder(run_dir: Path) -> Path:
    """Of a run: for records of ours. Raises: OSError."""
    folder = run_dir / CONTROLLER
    folder.mkdir(parents=True, exist_ok=True)
    return folder
