"""A run on a rented machine, found again by its folder: its record there says which backend follows it, and how."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenyson.cloud.build import build_backend
from tenyson.cloud.remote.record import NAME
from tenyson.core.run_folder import CONTROLLER
from tenyson.jobs.spec import JobSpec

if TYPE_CHECKING:
    from tenyson.cloud.backend import Backend


@dataclass(frozen=True)
class Rented:
    """What another process needs to attach to the run."""

    folder: Path
    spec: JobSpec
    cwd: Path
    """What the job's paths are relative to."""
    name: str
    settings: Mapping[str, Any]

    def backend(self) -> Backend:
        """The backend, made again. Raises: UnknownPluginError, ConfigError."""
        return build_backend(self.name, self.settings)


def find_rented(run: str, outputs: Path = Path("outputs")) -> Rented | None:
    """The run of that id, or in that folder; None where none of a rented machine is there."""
    for folder in (Path(run), outputs / run):
        try:
            data = json.loads((folder / CONTROLLER / NAME).read_text(encoding="utf-8"))
            return Rented(
                folder, JobSpec(**data["spec"]), Path(data["cwd"]), str(data["backend"]), data["settings"]
            )
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None
