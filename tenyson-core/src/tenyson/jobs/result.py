"""JobResult: what every job and every backend returns, in success and in failure."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from tenyson.errors import TenysonError
from tenyson.telemetry import strictjson

SCHEMA_VERSION = 1

Status = Literal["success", "stopped", "failed"]


@dataclass(frozen=True)
class JobResult:
    """The outcome of one job."""

    run_id: str
    """The run."""
    status: Status
    """`stopped`: interrupted by a signal after saving; it can be resumed. A manual stop is a `success`."""
    total_time_seconds: float
    """Wall time in seconds."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Values by name; results.json has them with counts and intervals."""
    hf_repo_id: str | None = None
    """Repository on the Hub, where results were pushed."""
    hf_revision: str | None = None
    """Commit there."""
    wandb_url: str | None = None
    """The run on W&B."""
    local_output_dir: str | None = None
    """The job's folder on this machine."""
    failure_reason: str | None = None
    """Why it failed, in words."""
    instance_id: str | None = None
    """The rented machine."""
    spot_interruption: bool | None = None
    """Whether the provider took the machine away; None where it had none."""
    stop_reason: str | None = None
    """What ended it before its time: manual stop, SIGTERM, SIGINT, spot notice, or a criterion such as early stopping."""
    schema_version: int = SCHEMA_VERSION
    """Of this format."""

    def save(self, path: str | Path) -> Path:
        """Write as strict JSON, replacing the file in one move: a metric that is not finite is null, and listed under
        `not_finite`."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        strictjson.write(path, asdict(self))
        return path

    @classmethod
    def load(cls, path: str | Path) -> JobResult:
        """Read what `save` wrote; metrics that are not finite are again. Fields of later versions are ignored.

        Raises:
            TenysonError: the file is missing, is not JSON, or lacks a field.
        """
        path = Path(path)
        try:
            data: dict[str, Any] = strictjson.restore(json.loads(path.read_text(encoding="utf-8")))
            known = {f.name for f in fields(cls)}
            return cls(**{key: value for key, value in data.items() if key in known})
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise TenysonError(f"not a job result: {error}", place=str(path)) from error
